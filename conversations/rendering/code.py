"""Fenced code: the figure around it, colours, and a code block that is still growing."""

import re
from collections.abc import Sequence
from functools import lru_cache
from html import escape

from .languages import find_lexer, is_slow
from .lexing import MAX_LINE, LineLexer, colour_whole

# One pass over the whole text sees constructs that span lines and costs about 20 ms for 12,000 characters. But some
# lexers are quadratic in the length of a line or of a run of empty lines (C: 20,000 newlines took over 20 s), a few
# in that of the whole text (C#: 10 s for 20,000 characters). What is above is coloured line by line.
MAX_WHOLE = 12_000
MAX_WHOLE_LINE = 500
MAX_EMPTY_LINES = 40

END = "</code></pre></figure>\n"
_INFO = re.compile(r"[ \t]*([A-Za-z0-9_+#.-]{1,20})(?![^\s,{:])")


def language_of(info: str) -> str:
    """The language named by a fence's info string, or "" when it is not a plain word."""
    match = _INFO.match(info)
    return match[1] if match else ""


def begin(language: str) -> str:
    """Everything before the code itself."""
    return (
        f'<figure class="code"><figcaption><span>{escape(language or "text", quote=False)}</span>'
        '<button type="button" class="copy">Copy</button></figcaption><pre tabindex="0"><code>'
    )


def figure(text: str, language: str) -> str:
    """The finished block. Equal to what a GrowingCode of the same lines comes to when the text is long."""
    return begin(language) + _colour(text, language) + END


def plain_figure(text: str, language: str) -> str:
    """The block without colours, for code that is still being written inside another block."""
    return begin(language) + escape(text, quote=False) + END


@lru_cache(maxsize=128)
def _colour(text: str, language: str) -> str:
    lexer = find_lexer(language)
    if lexer is None:
        return escape(text, quote=False)
    lines = text.removesuffix("\n").split("\n")
    if is_short(lines, language):
        return colour_whole(lexer, text)
    line_lexer = LineLexer(lexer)
    return "".join(line_lexer.line(line + "\n") for line in lines)


def is_short(lines: Sequence[str], language: str) -> bool:
    """True when one pass over the whole text is affordable."""
    if is_slow(language) or sum(map(len, lines)) + len(lines) > MAX_WHOLE:
        return False
    empty = 0
    for line in lines:
        empty = 0 if line and not line.isspace() else empty + 1
        if empty > MAX_EMPTY_LINES or len(line) > MAX_WHOLE_LINE:
            return False
    return True


class GrowingCode:
    """An open fence: HTML of complete lines is given out once, the partial line again each time."""

    def __init__(self, language: str) -> None:
        self._lexer = LineLexer(find_lexer(language))
        self._begun = begin(language)
        self._lines = 0
        self._shown = 0

    def advance(self, lines: list[str], partial: str) -> tuple[str, str]:
        """Return (HTML to add for good, HTML that stands after it for now)."""
        added, self._begun = [self._begun], ""
        for line in lines[self._lines :]:
            added.append(self._complete(line))
        self._lines = len(lines)
        if len(partial) <= MAX_LINE:
            return "".join(added), self._lexer.partial(partial) + END
        added.append(escape(partial[self._shown :], quote=False))
        self._shown = len(partial)
        return "".join(added), END

    def _complete(self, line: str) -> str:
        shown, self._shown = self._shown, 0
        html = self._lexer.line(line + "\n")
        return escape(line[shown:] + "\n", quote=False) if shown else html
