"""No text of a model or a user becomes markup of its own, at any moment of its arrival."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.rendering import LiveRenderer, apply_ops, render, render_blocks
from conversations.rendering.sanitising import sanitise

from .markdown import find_dangers

P = "window.__p=1"
PAYLOADS = [
    f'<img src=x onerror="{P}">',
    f"<svg onload={P}>",
    f"<details open ontoggle={P}>",
    f"<script>{P}</script>",
    f"[a](javascript:{P})",
    f"[a](&#106;avascript:{P})",
    f"[a](JaVaScRiPt:{P})",
    f"[a](java&#x09;script:{P})",
    f"[a](%6aavascript:{P})",
    f"[a](vbscript:{P})",
    f"[a](feed:javascript:{P})",
    f"[a](view-source:javascript:{P})",
    f"<javascript:{P}>",
    f"[a]\n\n[a]: javascript:{P}",
    f'![a" onerror="{P}" x="](/static/logo.png)',
    f'![a" onerror="{P}" x="](https://a.test/logo.png "t\\" onload=\\"{P}")',
    f'<https://a.test"onmouseover="{P}>',
    f'https://a.test/"onmouseover="{P}',
    f'```html" onmouseover="{P}\nx\n```',
    f'```mermaid\ngraph TD; A["<img src=x onerror={P}>"]\n```',
    f"```svg\n<svg onload={P}>\n```",
    f"```html\n<script>{P}</script>\n```",
    f"$\\unicode{{<img src=x onerror={P}>}}$",
    f"$$\\text{{<img src=x onerror={P}>}}$$",
    f"$$\n\\href{{javascript:{P}}}{{x}}\n$$",
    f"| a |\n|---|\n| <img src=x onerror={P}> |\n",
    f"- ```js\n  <script>{P}</script>",
    f"[^<b onclick={P}>]: x\n\n[^<b onclick={P}>]",
    f"> [!NOTE] <img src=x onerror={P}>\n> x",
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={P}&gt;">',
    f'<svg></p><style><a id="</style><img src=1 onerror={P}>">',
    f'<noscript><p title="</noscript><img src=x onerror={P}>">',
    f'<sub><sup><kbd><mark onclick="{P}"><br onclick="{P}">',
    f"`<br>` **<b onclick={P}",
    "<link rel=prefetch href=https://sink.test/>",
    "![x](https://sink.test/?q=1) ![y](//sink.test/x.png) ![z][r] ![d](data:image/png;base64,AAAA)\n\n[r]: //sink.test/",
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_is_harmless_when_finished(payload: str) -> None:
    assert find_dangers(render(payload)) == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payload_is_harmless_at_every_character(payload: str) -> None:
    renderer, blocks = LiveRenderer(), list[str]()
    for character in payload:
        blocks = apply_ops(blocks, renderer.feed(character))
        assert [find_dangers(block) for block in blocks] == [[]] * len(blocks)


@pytest.mark.parametrize("at", range(1, 40))
def test_payload_split_in_two_is_harmless(at: int) -> None:
    payload = f'<img src=x onerror="{P}">'
    renderer = LiveRenderer()
    blocks = apply_ops([], renderer.feed(payload[:at]))
    assert find_dangers("".join(blocks)) == []
    blocks = apply_ops(blocks, renderer.feed(payload[at:]) + renderer.finish())
    assert find_dangers("".join(blocks)) == []


def test_the_check_itself_sees_dangers() -> None:
    assert find_dangers('<img src="x">') == ["<img>", "img src"]
    assert find_dangers('<a href="javascript:x" onclick="y">') == ["a onclick", "href javascript:x"]
    assert find_dangers('<p style="x"><script>y</script>') == ["p style", "<script>"]


def test_raw_markup_is_shown_as_text() -> None:
    assert render("<script>x</script>") == "&lt;script&gt;x&lt;/script&gt;\n"
    assert "&lt;img src=x" in render("a <img src=x onerror=y>")


def test_links_leave_no_referrer() -> None:
    assert 'rel="noopener noreferrer nofollow"' in render("[a](https://sink.test/?q=secret)")


def test_nothing_is_fetched() -> None:
    html = render("![x](https://sink.test/?q=1) ![y](//sink.test/x.png) ![d](data:image/png;base64,AAAA)")
    assert "src" not in html
    assert "<img" not in html


def test_text_cannot_name_a_place_for_trusted_markup() -> None:
    html = render("`x` $y$ hold0n0; hold" + "0" * 32 + "n0;")
    assert "hold0n0; hold" + "0" * 32 + "n0;" in html
    assert html.count("<math") == 1


MARKUP_PIECES = [
    *("<", ">", '"', "'", "=", "/", " ", "a", "b", "<a ", "<p>", "</p>", "<svg>", "<math>", "<style>", "</style>"),
    *("<!--", "-->", "<img ", "onerror=", "href=", "javascript:", "<table>", "<td>", "<mtext>", "<mglyph>"),
    *("<noscript>", "<title>", "<textarea>", "<![CDATA[", "]]>", "&lt;", "&#106;", "\x00", "<input ", "<div class="),
]
MARKUP = st.lists(st.sampled_from(MARKUP_PIECES), max_size=30).map("".join)


@settings(max_examples=1_000, deadline=None)
@given(MARKUP)
def test_sanitiser_leaves_no_danger_however_often_it_is_read_again(html: str) -> None:
    once = sanitise(html)
    assert find_dangers(once) == []
    assert find_dangers(sanitise(once)) == []


@settings(max_examples=1_000, deadline=None)
@given(MARKUP)
def test_sanitising_a_rendered_text_again_changes_nothing(text: str) -> None:
    html = render(f"text {text}")
    assert sanitise(html) == html


@pytest.mark.parametrize("html", [payload for payload in PAYLOADS if payload.startswith("<")])
def test_sanitising_twice_changes_nothing(html: str) -> None:
    assert sanitise(sanitise(html)) == sanitise(html)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*PAYLOADS, "\n", "\n\n", "- ", "> ", "`", "```", "$", "|", "[", "]("]), max_size=5))
def test_any_mixture_is_harmless_while_open_and_when_finished(parts: list[str]) -> None:
    text = "".join(parts)
    assert [find_dangers(block) for block in render_blocks(text, final=False) if find_dangers(block)] == []
    assert find_dangers(render(text)) == []


SIZE = 65_536
HOSTILE = {
    name: (name * SIZE)[:SIZE]
    for name in ("[", "![", "a**b", "*a_ ", "](", "<!--", "~~a~~", "> ", "<$", "- ", "`a", "$x$", "\\(", "|a\n|-\n")
} | {
    "wide table": f"|{'a|' * 1000}\n|{'-|' * 1000}\n" + "|a|\n" * 15_000,
    "full table": (f"|{'a|' * 1000}\n|{'-|' * 1000}\n" + f"|{'a|' * 1000}\n" * 30)[:SIZE],
    "quoted table": f"> |{'a|' * 1000}\n> |{'-|' * 1000}\n" + "> |a|\n" * 10_000,
    "deep list": "".join("  " * depth + "- a\n" for depth in range(250)),
    "deep list on a line": "- " * 2_000 + "a",
    "growing backticks": "".join("`" * (n % 90 + 1) + "a" for n in range(1_500)),
    "one long definition": f"[a]: http://x/{'y' * 280}\n\n" + "[a]\n\n" * 12_000,
    "empty C": "```c\n" + "\n" * 19_000 + "```",
    "C without end": "```c\n" + "{" * 19_000 + "```",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_at_most_a_second_and_eight_times_its_size(name: str) -> None:
    text = HOSTILE[name]
    started = time.process_time()
    html = render(text)
    assert time.process_time() - started <= 1
    assert len(html) <= 8 * len(text)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_never_stops_the_stream(name: str) -> None:
    text, renderer, slowest = HOSTILE[name], LiveRenderer(), 0.0
    for at in range(0, len(text), 400):
        started = time.process_time()
        renderer.feed(text[at : at + 400])
        slowest = max(slowest, time.process_time() - started)
    assert slowest <= 0.25
