"""The state a reader sees is a function of the text so far, and following it is cheap."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.rendering import LiveRenderer, Op, apply_ops, render, render_blocks

from .markdown import CORPUS

PIECES = [
    *("a", "b ", "word", "é", "😀", "👩‍👩‍👧", "\n", "\n\n", "\r", "\r\n", "\t", "  ", "   ", "    ", "\x00", "\ud83d", "\x0b"),
    *("`", "``", "```", "```py\n", "```\n", "~~~\n", "  ```c\n", "$", "$$", "$$\n", "\\[", "\\[\n", "\\]", "\\]\n"),
    *("- ", "* ", "1. ", "10. ", "2", ".", "# ", "#", "> ", "|", "| a | b |\n", "|---|---|\n", "---\n", "=", "-", "+ c\n"),
    *("**", "*", "_", "~~", "[", "](", "![", "http://x.y/z", "[x]: http://a.b\n", "[x]", "[^1]", "[^1]: note\n"),
    *("<b>", "<br>", "<!--", "&", "\\", "def f(): pass\n", '"""', "/*", "[ ] ", "x" * 501, "x" * 1_001, "long words " * 1_600),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def _cut(text: str, cuts: list[int]) -> list[str]:
    marks = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(marks)]


def _check_follows(chunks: list[str]) -> None:
    renderer, blocks, text = LiveRenderer(), list[str](), ""
    for chunk in chunks:
        text += chunk
        blocks = apply_ops(blocks, renderer.feed(chunk))
        assert blocks == render_blocks(text, final=False) == renderer.blocks
    blocks = apply_ops(blocks, renderer.finish())
    assert blocks == render_blocks(text) == renderer.blocks
    assert renderer.length == len(text)


@settings(max_examples=500, deadline=None)
@given(TEXTS, st.lists(st.integers(min_value=0), max_size=12))
def test_any_chunks_lead_to_the_same_states(text: str, cuts: list[int]) -> None:
    _check_follows(_cut(text, cuts))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([piece for piece in PIECES if len(piece) < 30]), max_size=12).map("".join))
def test_single_characters_lead_to_the_same_states(text: str) -> None:
    _check_follows(list(text))


def test_comment_that_becomes_a_long_line_leads_to_the_same_state() -> None:
    _check_follows(["```c\n/*" + "x" * 505, "xx\n", "still */ int x;\n", "```"])


@pytest.mark.parametrize("size", [1, 7, 23, 400])
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_corpus_arrives_at_its_whole_render(path: Path, size: int) -> None:
    text = path.read_text()
    renderer, blocks = LiveRenderer(), list[str]()
    for at in range(0, len(text), size):
        blocks = apply_ops(blocks, renderer.feed(text[at : at + size]))
    assert apply_ops(blocks, renderer.finish()) == render_blocks(text)


def test_finished_blocks_are_never_touched_again() -> None:
    text = next(path for path in CORPUS if path.name == "reply.md").read_text()
    renderer = LiveRenderer()
    for character in text:
        count = len(renderer.blocks)
        indexes = [op[1] for op in renderer.feed(character) if op[0] == "set"]
        assert all(index >= count - 1 for index in indexes)


def test_ops_survive_json() -> None:
    renderer, blocks = LiveRenderer(), list[str]()
    for chunk in ("# Hi 😀", " there\n\n", "[a]: http://b.c\n\n", "**x"):
        ops: list[Op] = json.loads(json.dumps(renderer.feed(chunk)))
        blocks = apply_ops(blocks, ops)
    assert blocks == renderer.blocks


def test_kept_length_counts_utf16_units() -> None:
    renderer = LiveRenderer()
    renderer.feed("😀 a")
    assert renderer.feed("b") == [("set", 0, len("<p>") + 2 + len(" a"), "b</p>\n")]


def test_unchanged_state_sends_nothing() -> None:
    renderer = LiveRenderer()
    renderer.feed("text\n")
    assert renderer.feed("``") == []


def test_references_replace_everything_at_the_end() -> None:
    renderer = LiveRenderer()
    renderer.feed("See [docs].\n\n[docs]: https://docs.test/\n")
    (op,) = renderer.finish()
    assert op[0] == "all"
    assert 'href="https://docs.test/"' in op[1][0]


def test_definition_serves_the_blocks_after_it_at_once() -> None:
    blocks = render_blocks("[docs]: https://docs.test/\n\nSee [docs] and", final=False)
    assert 'href="https://docs.test/"' in blocks[-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hello **wor", "<p>Hello <strong>wor</strong></p>\n"),
        ("Hello **", "<p>Hello</p>\n"),
        ("**wor*", "<p><strong>wor</strong></p>\n"),
        ("**a ~~b", "<p><strong>a <del>b</del></strong></p>\n"),
        ("run `ls -", "<p>run <code>ls -</code></p>\n"),
        ("run ``a`b", "<p>run <code>a`b</code></p>\n"),
        ("run `**", "<p>run <code>**</code></p>\n"),
        ("see [docs](htt", "<p>see docs</p>\n"),
        ("see ![cat](htt", "<p>see cat</p>\n"),
        ("see ![cat", "<p>see cat</p>\n"),
        ("- **a\n- b", "<ul>\n<li>**a</li>\n<li>b</li>\n</ul>\n"),
        ("- a\n- **b", "<ul>\n<li>a</li>\n<li><strong>b</strong></li>\n</ul>\n"),
        ("Title\n-", "<p>Title</p>\n"),
        ("Text\n```py", "<p>Text</p>\n"),
        ("| a | b |", ""),
        ("| a | b |\n|--", ""),
        ("Text\n| a | b |\n", "<p>Text</p>\n"),
        ("$$", ""),
        ("$$\nx + 1", '<p><code class="math-source">x + 1</code></p>\n'),
    ],
)
def test_unfinished_end_looks_finished(text: str, shown: str) -> None:
    assert render_blocks(text, final=False) == [shown]


def test_healing_is_never_stored() -> None:
    assert render("Hello **wor") == "<p>Hello **wor</p>\n"
    assert "<td>" not in render("| a | b |")


def test_possible_closing_fence_is_held_back() -> None:
    assert "`" not in render_blocks("```py\nx = 1\n``", final=False)[0]


def test_paragraph_starts_its_block_at_its_first_letter() -> None:
    assert render_blocks("one\n\nt", final=False) == ["<p>one</p>\n", "<p>t</p>\n"]


def test_number_after_a_list_waits_until_it_is_no_marker() -> None:
    assert len(render_blocks("- a\n\n2", final=False)) == 1
    assert len(render_blocks("- a\n\n2 apples", final=False)) == 2


def test_code_inside_an_open_list_is_coloured_when_it_ends() -> None:
    text = "1. a\n   ```py\n   def f(): pass\n"
    assert '<span class="k">' not in render_blocks(text, final=False)[0]
    assert '<span class="k">' in render_blocks(text + "   ```\n2. next", final=False)[0]


def _wire(text: str, step: int) -> int:
    renderer = LiveRenderer()
    ops = [op for at in range(0, len(text), step) for op in renderer.feed(text[at : at + step])]
    return sum(len(op[3]) for op in ops + renderer.finish() if op[0] == "set")


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("```python\n" + "for i in range(10): print(i)\n" * 7_000 + "```\n", 60),
        ("```js\n" + "var a=1;function b(c){return c+a};" * 1_400 + "\n```\n", 60),
        ("```json\n" + '{"a":1},' * 12_000 + "\n```\n", 60),
        ("x" * 100_000, 200),
        ("word and " * 5_000, 60),
    ],
)
def test_long_texts_are_sent_a_few_times_at_most(text: str, step: int) -> None:
    assert _wire(text, step) <= 8 * len(text)
