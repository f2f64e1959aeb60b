"""The renderer that follows a reply while it is written, and the whole render built on it."""

import logging
import re
from html import escape
from typing import TypeAlias

from . import code, markdown
from .blocks import Block, Kind, Splitter, strip_indent
from .growing import GrowingText
from .healing import heal
from .ops import Op, common_prefix, utf16_length
from .references import References

log = logging.getLogger(__name__)

MAX_OPEN = 16_000  # characters of an open block that are rendered at each flush; above, it is shown as text

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_OPENERS = {"$$": "$$", "\\]": "\\["}
_CLOSERS = {opener: closer for closer, opener in _OPENERS.items()}
_FORMULA_START = re.compile(r" {0,3}(\$\$|\\\[)")
_CLOSER_START = re.compile(r" {0,3}([`~])\1*[ \t]*")


def render(text: str) -> str:
    """Safe HTML of a finished text."""
    return "".join(render_blocks(text))


def render_blocks(text: str, *, final: bool = True) -> list[str]:
    """Safe HTML block by block. With `final=False`, what a reader sees who got the text so far.

    A text that breaks the renderer is shown as it was written: a fault of ours must not take the page away.
    """
    try:
        return _render_blocks(text, final=final)
    except Exception:
        log.exception("a text of %d characters cannot be rendered", len(text))
        return [f'<p class="plain">{escape(text)}</p>']


def _render_blocks(text: str, *, final: bool) -> list[str]:
    renderer = LiveRenderer()
    renderer.feed(text)
    if final:
        renderer.finish()
    return renderer.blocks


class _Shown:
    """HTML of one block as the reader has it: `parts` stand for good, `tail` may still be replaced."""

    __slots__ = ("parts", "tail", "units")

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.units = 0
        self.tail = ""

    @property
    def html(self) -> str:
        return "".join(self.parts) + self.tail

    def show(self, index: int, added: str, tail: str, *, is_new: bool = False) -> list[Op]:
        """Put `added` for good and `tail` for now after the parts. Costs only the old and the new tail."""
        html = added + tail
        keep = common_prefix(self.tail, html)
        is_same = keep == len(html) == len(self.tail)
        op: Op = ("set", index, self.units + utf16_length(html[:keep]), html[keep:])
        if added:
            self.parts.append(added)
            self.units += utf16_length(added)
        self.tail = tail
        return [] if is_same and not is_new else [op]

    def unfix(self) -> None:
        """Let the whole block be replaced."""
        self.tail, self.parts, self.units = self.html, [], 0


_Growing: TypeAlias = code.GrowingCode | GrowingText | None


class LiveRenderer:
    """Feed characters, send the ops. The state after any chunks is that of their concatenation."""

    def __init__(self) -> None:
        self.length = 0
        self._text: list[str] = []
        self._after_return = False
        self._splitter = Splitter()
        self._references = References()
        self._shown: list[_Shown] = []
        self._closed = 0
        self._growing: _Growing = None
        self._last_source: str | None = None

    @property
    def blocks(self) -> list[str]:
        """HTML of all blocks now; joins all text, so not for every flush."""
        return [shown.html for shown in self._shown]

    def feed(self, chunk: str) -> list[Op]:
        """Take the next characters and return the ops they cause, possibly none."""
        self.length += len(chunk)
        text = self._normalise(chunk)
        self._text.append(text)
        ops: list[Op] = []
        for block in self._splitter.feed(text):
            ops += self._close(block)
        return ops + self._show_open()

    def finish(self) -> list[Op]:
        """Return the ops to the final state. Nothing may be fed afterwards.

        References reach across blocks, so a text that has any becomes one block; a very long one keeps its blocks.
        """
        ops: list[Op] = []
        for block in self._splitter.finish():
            ops += self._close(block)
        if self._references.is_needed and sum(map(len, self._text)) <= markdown.MAX_BLOCK:
            ops = [self._replace_all()]
        return ops

    def _normalise(self, chunk: str) -> str:
        """Newlines of all kinds to "\\n", and no character that cannot be encoded."""
        if not chunk:
            return chunk
        starts_in_pair = self._after_return and chunk[0] == "\n"
        self._after_return = chunk[-1] == "\r"
        text = chunk[1:] if starts_in_pair else chunk
        return _UNUSABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))

    def _replace_all(self) -> Op:
        shown = _Shown()
        shown.tail = markdown.render_markdown_block("".join(self._text))
        self._shown = [shown]
        return ("all", [shown.tail])

    def _close(self, block: Block) -> list[Op]:
        shown, is_new = self._take_shown()
        growing, self._growing, self._last_source = self._growing, None, None
        index, self._closed = self._closed, self._closed + 1
        if block.kind is Kind.FENCE and not code.is_short(block.lines, code.language_of(block.info)):
            added = _finish_code(growing, block)
            return shown.show(index, added, code.END, is_new=is_new)
        shown.unfix()
        return shown.show(index, "", self._render_closed(block), is_new=is_new)

    def _render_closed(self, block: Block) -> str:
        if block.kind is Kind.FENCE:
            text = "".join(line + "\n" for line in block.lines)
            return code.figure(text, code.language_of(block.info))
        if block.kind is Kind.MATH and block.is_done:
            return markdown.formula(block.lines, _OPENERS[block.closer], block.closer)
        self._references.collect(block.source)
        html = markdown.render_markdown_block(self._references.complete(block.source))
        self._references.spend(block.source)
        return html

    def _take_shown(self) -> tuple[_Shown, bool]:
        """The first block that may still change, and whether the reader has not heard of it."""
        is_new = self._closed == len(self._shown)
        if is_new:
            self._shown.append(_Shown())
        return self._shown[self._closed], is_new

    def _show_open(self) -> list[Op]:
        block = self._splitter.open
        if block is None:
            return []
        shown, is_new = self._take_shown()
        added, tail = self._render_open(block, self._splitter.partial, shown)
        return shown.show(self._closed, added, tail, is_new=is_new)

    def _render_open(self, block: Block, partial: str, shown: _Shown) -> tuple[str, str]:
        if block.kind is Kind.FENCE:
            return self._grow_code(block, partial)
        if isinstance(self._growing, GrowingText) or _size(block) + len(partial) > MAX_OPEN:
            if not isinstance(self._growing, GrowingText):
                self._growing = GrowingText()
            return self._growing.advance(block.lines, partial)
        return "", self._render_unfinished(block, partial, shown)

    def _grow_code(self, block: Block, partial: str) -> tuple[str, str]:
        is_closer = _CLOSER_START.fullmatch(partial) and partial.lstrip(" ")[0] == block.closer[0]
        if not isinstance(self._growing, code.GrowingCode):
            self._growing = code.GrowingCode(code.language_of(block.info))
        return self._growing.advance(block.lines, "" if is_closer else strip_indent(partial, block.indent))

    def _render_unfinished(self, block: Block, partial: str, shown: _Shown) -> str:
        source = "\n".join([*block.lines, partial])
        if block.kind is Kind.MATH or (not block.lines and _is_open_formula(partial)):
            self._last_source = None
            return markdown.open_formula(source)
        source = self._references.complete(heal(source))
        if source == self._last_source:
            return shown.tail
        self._last_source = source
        return markdown.render_markdown_block(source, is_open=True)


def _finish_code(growing: _Growing, block: Block) -> str:
    """Long code keeps the colours it got line by line, so nothing of it is sent twice."""
    if not isinstance(growing, code.GrowingCode):
        growing = code.GrowingCode(code.language_of(block.info))
    return growing.advance(block.lines, "")[0]


def _size(block: Block) -> int:
    return sum(map(len, block.lines)) + len(block.lines)


def _is_open_formula(partial: str) -> bool:
    match = _FORMULA_START.match(partial)
    return match is not None and _CLOSERS[match[1]] not in partial[match.end() :]
