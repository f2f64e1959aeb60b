"""What readers get for each kind of Markdown."""

import re
from html import unescape
from pathlib import Path

import pytest
from pygments.lexers import get_lexer_by_name

from conversations.rendering import render, render_blocks
from conversations.rendering.languages import LANGUAGES, find_lexer
from conversations.rendering.lexing import LineLexer, colour_whole
from conversations.rendering.markdown import render_markdown_block

from .markdown import CORPUS


def _squeeze(html: str) -> str:
    return re.sub(r"\s*(<[^>]*>)\s*", r"\1", html)


@pytest.mark.parametrize(
    "path", [path for path in CORPUS if path.name not in {"references.md", "lists.md"}], ids=lambda path: path.name
)
def test_blocks_joined_equal_the_whole_document(path: Path) -> None:
    text = path.read_text()
    assert _squeeze("".join(render_blocks(text))) == _squeeze(render_markdown_block(text))
    assert len(render_blocks(text)) > 5


def test_lists_are_cut_where_the_parser_cuts_them() -> None:
    text = next(path for path in CORPUS if path.name == "lists.md").read_text()
    assert _squeeze("".join(render_blocks(text))) == _squeeze(render_markdown_block(text))


def test_render_is_its_blocks_joined() -> None:
    text = CORPUS[0].read_text()
    assert render(text) == "".join(render_blocks(text))


@pytest.mark.parametrize("text", ["$20/month and $200/year", "$5-$10", "US$5 vs US$6"])
def test_prices_are_not_formulas(text: str) -> None:
    assert render(text) == f"<p>{text}</p>\n"


@pytest.mark.parametrize(
    "text", ["$x^2$", r"\(x^2\)", "$$x^2$$", r"\[x^2\]", "$$\nx^2\n$$", "\\[\nx^2\n\\]", "so $$x^2$$ here"]
)
def test_formulas_become_mathml(text: str) -> None:
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in render(text)


def test_display_formula_may_hold_lines_that_look_like_markdown() -> None:
    html = render("\\[\na\n= b\n+ c\n- d\n\\]")
    assert html.startswith('<p><math display="block">')
    assert "<li>" not in html
    assert "<h1>" not in html


@pytest.mark.parametrize("command", [r"\href{x}{y}", r"\ce{H2O}", r"\unicode{<img>}", "{" * 20_000, "x" * 3_000])
def test_unknown_or_monstrous_formula_is_shown_as_its_source(command: str) -> None:
    html = render(f"$${command}$$")
    assert '<code class="math-error">' in html
    assert "<img" not in html


def test_macros_cannot_deepen_a_formula() -> None:
    assert "math-error" in render(r"$$\newcommand{\a}{" + r"\sqrt" * 200 + r"}\a\a\a\a$$")


def test_formula_styles_become_classes() -> None:
    html = render(r"$$\begin{aligned}a&=b\end{aligned}\!\color{red}x$$")
    assert " style=" not in html
    assert 'class="math-right math-flush-right"' in html
    assert 'class="math-pull"' in html
    assert 'mathcolor="#FF0000"' in html


def test_formula_has_no_anchors() -> None:
    assert "href" not in render(r"$$\eqref{a}$$")
    assert "id=" not in render(r"$$\begin{equation}\label{eq}x\end{equation}$$")


def test_image_becomes_a_link_with_its_text() -> None:
    html = render("![a cat](https://cats.test/c.png)")
    assert html == (
        '<p><a href="https://cats.test/c.png" title="cats.test" target="_blank" '
        'rel="noopener noreferrer nofollow">a cat</a></p>\n'
    )


def test_image_inside_a_link_is_only_its_text() -> None:
    html = render("[![badge](https://a.test/b.svg)](https://c.test/)")
    assert html.count("<a ") == 1
    assert "a.test" not in html
    assert ">badge</a>" in html


def test_link_names_its_real_host() -> None:
    html = render('[bank](https://bank.test@evil.test/?q=1 "bank.test")')
    assert 'title="evil.test"' in html


def test_bare_addresses_are_links() -> None:
    assert 'href="https://a.test/b"' in render("see https://a.test/b.")
    assert 'href="mailto:me@a.test"' in render("write to me@a.test")


@pytest.mark.parametrize("target", ["/logout", "//evil.test/x", "", "javascript:alert(1)", "data:text/html,x"])
def test_other_links_are_their_text(target: str) -> None:
    assert render(f"[text]({target})") == "<p>text</p>\n"


def test_a_few_html_tags_work_outside_code() -> None:
    assert render("a<br>b<sub>2</sub> `<br>`") == "<p>a<br>b<sub>2</sub> <code>&lt;br&gt;</code></p>\n"


def test_open_html_tags_are_closed() -> None:
    assert render("a <mark>b") == "<p>a <mark>b</mark></p>\n"


def test_table_can_be_scrolled_by_keyboard() -> None:
    html = render("| a |\n|--:|\n| 1 |\n")
    assert html.startswith('<div class="table" tabindex="0" role="region" aria-label="Table"><table>')
    assert '<td align="right">1</td>' in html
    assert html.rstrip().endswith("</table></div>")


def test_task_list_boxes_are_disabled() -> None:
    html = render("- [x] done\n- [ ] open")
    assert html.count('disabled=""') == html.count('type="checkbox"') == 2
    assert html.count('checked=""') == 1


def test_alerts_keep_their_classes() -> None:
    assert 'class="markdown-alert markdown-alert-note"' in render("> [!NOTE]\n> Hi")


def test_code_block_markup() -> None:
    assert render("```python\nx = 1\n```") == (
        '<figure class="code"><figcaption><span>python</span><button type="button" class="copy">Copy</button>'
        '</figcaption><pre tabindex="0"><code>x = <span class="m">1</span>\n</code></pre></figure>\n'
    )


@pytest.mark.parametrize(
    ("info", "label"),
    [("", "text"), ("py title=x", "py"), ("c++", "c++"), ('html" onmouseover="P', "text"), ("{.js}", "text")],
)
def test_code_language_is_a_plain_word(info: str, label: str) -> None:
    html = render(f"```{info}\nx\n```")
    assert f"<figcaption><span>{label}</span>" in html
    assert "onmouseover" not in html


def test_code_inside_a_list_looks_like_other_code() -> None:
    inside = render("- a\n\n  ```py\n  def f(): pass\n  ```\n")
    assert '<figure class="code">' in inside
    assert '<span class="k">def</span>' in inside


SNIPPET = 'def f(x): return \'a\' # b\n<a href="x">&amp;</a>\n/* c */ {"k": [1, 2.5]} -- d\n$x = @y; %z `e`\n\\q{~}\n'


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_colours_change_no_character(language: str) -> None:
    lexer = find_lexer(language)
    assert lexer is not None
    line_lexer = LineLexer(lexer)
    assert _text_of(colour_whole(lexer, SNIPPET)) == SNIPPET
    assert "".join(_text_of(line_lexer.line(line)) for line in SNIPPET.splitlines(keepends=True)) == SNIPPET


def _text_of(html: str) -> str:
    return unescape(re.sub(r"</?span[^>]*>", "", html))


def test_lexer_that_fails_leaves_plain_text() -> None:
    assert LineLexer(get_lexer_by_name("postgresql")).line("DO $$ x < 1 $$ LANGUAGE") == "DO $$ x &lt; 1 $$ LANGUAGE"


def test_fence_loses_only_its_own_indentation() -> None:
    assert "<code>a\n b\nc\n</code>" in render("  ```\n  a\n   b\n c\n  ```")


def test_multi_line_comment_is_coloured_once_the_code_is_complete() -> None:
    assert '<span class="c">/* one\n two */</span>' in render("```c\n/* one\n two */\nint x;\n```")


def test_multi_line_comment_is_coloured_in_code_of_any_length() -> None:
    lines = LineLexer(find_lexer("java"))
    shown = [lines.line(line) for line in ("  /** One\n", " * two < 3\n", " */ int x;\n", "int y;\n")]
    assert shown[0] == '<span class="c">  /** One</span>\n'
    assert shown[1] == '<span class="c"> * two &lt; 3</span>\n'
    assert shown[2].startswith('<span class="c"> */</span>')
    assert shown[3].startswith('<span class="t">int</span>')


def test_very_long_block_is_shown_as_its_text() -> None:
    text = "**word** " * 8_000
    assert render(text) == f'<p class="plain">{text}</p>\n'


def test_long_code_is_still_coloured() -> None:
    assert render("```py\n" + "x = 1\n" * 5_000 + "```").count('<span class="m">1</span>') == 5_000


def test_emphasis_next_to_cjk_brackets() -> None:
    assert "<strong>「重要」</strong>" in render("**「重要」**です")


def test_references_reach_across_blocks() -> None:
    html = render("See [docs].\n\nNote[^1].\n\n[docs]: https://docs.test/\n\n[^1]: Text.\n")
    assert 'href="https://docs.test/"' in html
    assert '<sup class="footnote-ref">1</sup>' in html
    assert '<section class="footnotes">' in html
    assert "[^1]" not in html


@pytest.mark.parametrize("newline", ["\r\n", "\r"])
def test_all_newlines_are_the_same(newline: str) -> None:
    text = "# a\n\n- b\n- c\n\n```\nx\n```\n"
    assert render(text.replace("\n", newline)) == render(text)


def test_characters_that_cannot_be_encoded_are_replaced() -> None:
    assert render("a\ud83d\x00b") == "<p>a��b</p>\n"


def test_text_that_breaks_the_renderer_is_shown_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("conversations.rendering.live.LiveRenderer.feed", fail)
    assert render_blocks("<b>Hello") == ['<p class="plain">&lt;b&gt;Hello</p>']
