"""An open block too large to be parsed at every flush: its text, given out once."""

from html import escape

from .blocks import LONG_LINE
from .markdown import PLAIN_BEGIN, PLAIN_END


class GrowingText:
    """Hands out each complete line once; a long partial line too, for it cannot move to another block."""

    def __init__(self) -> None:
        self._begun = PLAIN_BEGIN
        self._lines = 0
        self._shown = 0

    def advance(self, lines: list[str], partial: str) -> tuple[str, str]:
        """Return (HTML to add for good, HTML that stands after it for now)."""
        added, self._begun = [self._begun], ""
        for line in lines[self._lines :]:
            added.append(escape(line[self._shown :] + "\n", quote=False))
            self._shown = 0
        self._lines = len(lines)
        if len(partial) <= LONG_LINE:
            return "".join(added), escape(partial, quote=False) + PLAIN_END
        added.append(escape(partial[self._shown :], quote=False))
        self._shown = len(partial)
        return "".join(added), PLAIN_END
