r"""Cutting a growing text into blocks that can be rendered one by one.

Line based, each character is looked at once. A cut is made only where no later character can undo it: complete
lines decide, and of an unfinished line only what is already certain. Cutting too rarely is always safe, for
the Markdown parser sees the whole block; cutting inside a list or a fence would not be.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto


class Kind(Enum):
    TEXT = auto()
    LIST = auto()
    HEADING = auto()
    FENCE = auto()
    MATH = auto()


_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$")
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_HEADING_CERTAIN = re.compile(r" {0,3}#{1,6}[ \t]")
_MATH = re.compile(r" {0,3}(\$\$|\\\[)(.*)$")
_MARKER = re.compile(r" {0,3}(?:[-+*]|\d{1,9}[.)])(?:( {1,4})(?! )|[ \t]|$)")
_MARKER_POSSIBLE = re.compile(r"(?:[-+*]|\d{1,9}[.)]?)$")
_CLOSERS = {"$$": "$$", "\\[": "\\]"}
LONG_LINE = 1_000  # characters; a longer line is never taken for a fence, a closer or a formula


@dataclass(slots=True)
class Block:
    """Complete lines without their newlines. `indent`, `closer` and `info` belong to fences and formulas."""

    kind: Kind = Kind.TEXT
    lines: list[str] = field(default_factory=list)
    indent: int = 0
    closer: str = ""
    info: str = ""
    is_blank_last: bool = False
    is_done: bool = False

    @property
    def source(self) -> str:
        return "\n".join(self.lines)


class Splitter:
    """Feed characters, receive the blocks that can no longer change. `open` and `partial` are what is left."""

    def __init__(self) -> None:
        self.open: Block | None = None
        self.partial = ""
        self._closed: list[Block] = []
        self._is_placed = False  # the partial line already belongs to `open`, whatever follows

    def feed(self, text: str) -> list[Block]:
        """Take normalised text (newlines are "\\n") and return the newly finished blocks in order."""
        *lines, rest = text.split("\n")
        for line in lines:
            self._end_line(self.partial + line)
        self.partial += rest
        if self.partial and not self._is_placed:
            self._place_partial()
        return self._take_closed()

    def finish(self) -> list[Block]:
        """Take the unfinished line as complete and return all that is left."""
        if self.partial:
            self._end_line(self.partial)
        self._close()
        return self._take_closed()

    def _take_closed(self) -> list[Block]:
        closed, self._closed = self._closed, []
        return closed

    def _close(self) -> None:
        if self.open is not None:
            self._closed.append(self.open)
        self.open = None

    def _start(self, block: Block) -> Block:
        self._close()
        self.open = block
        return block

    def _place_partial(self) -> None:
        if self.partial.isspace():
            return
        block = self.open
        if block is None or _is_cut_certain(block, self.partial):
            self._start(Block())
            self._is_placed = True

    def _end_line(self, line: str) -> None:
        was_placed, self._is_placed, self.partial = self._is_placed, False, ""
        block = self.open
        if block is not None and block.kind is Kind.FENCE:
            self._add_code(block, line)
        elif block is not None and block.kind is Kind.MATH:
            self._add_formula(block, line)
        elif not line.strip(" \t"):
            self._add_blank(block, line)
        else:
            self._add_text(block, line, was_placed=was_placed)

    def _add_code(self, block: Block, line: str) -> None:
        if _closes_fence(block, line):
            block.is_done = True
            self._close()
        else:
            block.lines.append(strip_indent(line, block.indent))

    def _add_formula(self, block: Block, line: str) -> None:
        end = line.find(block.closer) if len(line) <= LONG_LINE else -1
        if not line.strip():
            self._close()
            return
        block.lines.append(line)
        if end >= 0:
            self._end_formula(block, is_clean=not line[end + 2 :].strip())

    def _end_formula(self, block: Block, *, is_clean: bool) -> None:
        """Text after the closer makes it an ordinary paragraph with a formula in it."""
        if is_clean:
            block.is_done = True
            self._close()
        else:
            block.kind = Kind.TEXT

    def _add_blank(self, block: Block | None, line: str) -> None:
        if block is not None:
            block.lines.append(line)
            block.is_blank_last = True

    def _add_text(self, block: Block | None, line: str, *, was_placed: bool) -> None:
        if block is None or (not was_placed and _ends_before(block, line)):
            block = self._start(Block())
        if starter := _find_starter(block, line):
            # An empty block was made for this very line; otherwise the line interrupts a paragraph.
            self.open = None if not block.lines else self.open
            self._start(starter)
            self._after_start(starter)
            return
        block.lines.append(line)
        block.is_blank_last = False
        _note_marker(block, line)

    def _after_start(self, block: Block) -> None:
        if block.kind is Kind.HEADING or block.is_done:
            self._close()


def strip_indent(line: str, width: int) -> str:
    """Remove up to `width` leading spaces, as a fence's own indentation is not part of the code."""
    return line[min(width, len(line) - len(line.lstrip(" "))) :] if width else line


def _closes_fence(block: Block, line: str) -> bool:
    if len(line) > LONG_LINE:
        return False
    bare = line.strip(" \t")
    is_run = len(bare) >= len(block.closer) and not bare.strip(block.closer[0])
    return is_run and len(line) - len(line.lstrip(" ")) <= 3


def _is_cut_certain(block: Block, partial: str) -> bool:
    """Can this unfinished line only begin a new block, however it goes on?"""
    if block.kind is Kind.FENCE or block.kind is Kind.MATH:
        return False
    if block.is_blank_last and block.kind is Kind.LIST and _MARKER_POSSIBLE.match(partial):
        return False
    return _ends_before(block, partial) or _is_heading(block, partial, _HEADING_CERTAIN)


def _ends_before(block: Block, line: str) -> bool:
    """After a blank line an unindented line starts a new block, unless a list goes on."""
    if not block.is_blank_last or line[0] in " \t":
        return False
    return block.kind is not Kind.LIST or _MARKER.match(line) is None


def _is_heading(block: Block, line: str, pattern: re.Pattern[str]) -> bool:
    return pattern.match(line) is not None and not _is_inside_item(block, line)


def _is_inside_item(block: Block, line: str) -> bool:
    """Is the line indented enough to belong to the list item above it?"""
    return block.kind is Kind.LIST and len(line) - len(line.lstrip(" ")) >= block.indent


def _find_starter(block: Block, line: str) -> Block | None:
    """A heading, fence or formula that begins with this line, even in the middle of a paragraph."""
    if _is_heading(block, line, _HEADING):
        return Block(Kind.HEADING, [line])
    if len(line) > LONG_LINE or _is_inside_item(block, line):
        return None
    if fence := _FENCE.match(line):
        return Block(Kind.FENCE, indent=fence.start(1), closer=fence[1], info=fence[2])
    return _find_formula(line)


def _find_formula(line: str) -> Block | None:
    match = _MATH.match(line)
    if match is None:
        return None
    closer, rest = _CLOSERS[match[1]], match[2].rstrip()
    end = rest.find(closer)
    if end < 0:
        return Block(Kind.MATH, [line], closer=closer)
    is_alone = end == len(rest) - 2 and rest[:end].strip() != ""
    return Block(Kind.MATH, [line], closer=closer, is_done=True) if is_alone else None


def _note_marker(block: Block, line: str) -> None:
    """Remember where the text of the newest top-level list item begins."""
    match = _MARKER.match(line)
    if match is None or _is_inside_item(block, line):
        return
    block.kind = Kind.LIST
    block.indent = match.end() if match[1] else len(line[: match.end()].rstrip()) + 1
