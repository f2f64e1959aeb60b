"""Link definitions and footnotes, the two things that reach across blocks."""

import re

_MAX_DEFINITIONS = 32
_MAX_DEFINITION = 300
_MAX_SPENT = 100_000  # characters of definitions appended to blocks of one reply, as comrak limits itself

_DEFINITION = re.compile(r" {0,3}\[([^\[\]\n]{1,200})\]:[ \t]*\S+(?:[ \t]+[\"'(][^\n]*)?[ \t]*")
_BEGINNING = re.compile(r"^ {0,3}\[[^\[\]]{1,200}\]:", re.MULTILINE)
_LABEL = re.compile(r"\[([^\[\]\n]{1,200})\]")


class References:
    """Definitions seen so far; later blocks may use them at once, earlier ones after the final render."""

    def __init__(self) -> None:
        self.is_needed = False
        self._definitions: dict[str, str] = {}
        self._spent = 0

    def collect(self, source: str) -> None:
        """Look for definitions in a block that can no longer change."""
        if "]:" not in source:
            return
        self.is_needed = self.is_needed or _BEGINNING.search(source) is not None
        for line in source.split("\n"):
            match = _DEFINITION.fullmatch(line)
            if match is None or line.lstrip().startswith("[^"):
                return
            if len(line) <= _MAX_DEFINITION and len(self._definitions) < _MAX_DEFINITIONS:
                self._definitions.setdefault(_key(match[1]), line)

    def complete(self, source: str) -> str:
        """The block's Markdown with the definitions it uses appended."""
        used = self._used(source)
        return f"{source}\n\n{used}" if used else source

    def spend(self, source: str) -> None:
        """Count a finished block's use, so that a small text cannot repeat a long address without end."""
        self._spent += len(self._used(source)) * source.count("[")

    def _used(self, source: str) -> str:
        if not self._definitions or "[" not in source or self._spent > _MAX_SPENT:
            return ""
        keys = dict.fromkeys(_key(label) for label in _LABEL.findall(source))
        return "\n".join(self._definitions[key] for key in keys if key in self._definitions)


def _key(label: str) -> str:
    return " ".join(label.split()).casefold()
