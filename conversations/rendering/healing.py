"""Making the unfinished end of a text look finished. For the open block only, never stored."""

import re

_STRUCTURE_ONLY = re.compile(r"[ \t]*(?:[-+*=_#>|~`$\\:!\[]+|\d{1,9}[.)]?)[ \t]*")
_OPENING_FENCE = re.compile(r"[ \t>]*(?:[-+*][ \t]+|\d{1,9}[.)][ \t]+)?(?:```[^`]*|~~~.*)")
_NESTED_FENCE = re.compile(r"^[ \t>]*(?:[-+*][ \t]+|\d{1,9}[.)][ \t]+)?(?:```|~~~)", re.MULTILINE)
_DELIMITER_START = re.compile(r"[ \t>]*\|?[|:\- \t]*")
_TABLE_LINE = re.compile(r"[ \t>]*\|")
_OPEN_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\n]*$")
_OPEN_IMAGE = re.compile(r"!\[([^\[\]\n]*)\]?$")
_NEW_SEGMENT = re.compile(r"[ \t>]*(?:[-+*][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]|$)")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_ESCAPED = re.compile(r"\\[^\n]")
_MAX_SEGMENT = 2_000  # characters of the last paragraph that are looked at


def heal(text: str) -> str:
    """Return the open block's Markdown with its loose end tied up or held back for now."""
    start = text.rfind("\n") + 1
    last = text[start:]
    if text.count("```") + text.count("~~~") and len(_NESTED_FENCE.findall(text)) % 2:
        return text[:start] if _OPENING_FENCE.fullmatch(last) or _STRUCTURE_ONLY.fullmatch(last) else text
    if _STRUCTURE_ONLY.fullmatch(last) or _OPENING_FENCE.fullmatch(last):
        last = ""
    head = _hold_table(text[:start], last)
    if head is not None:
        return head
    return _close_marks(text[:start], last) if last else text[:start]


def _hold_table(head: str, last: str) -> str | None:
    """Without its delimiter row a table's first row is only pipes: leave it out until the row is there."""
    lines = head.rstrip("\n").rsplit("\n", 2)
    above, before = lines[-1], lines[-2] if len(lines) > 1 else ""
    if head.endswith("\n\n") or not _TABLE_LINE.match(above):
        return head if _TABLE_LINE.match(last) else None
    if _TABLE_LINE.match(before) or not _DELIMITER_START.fullmatch(last):
        return None
    return head[: len(head.rstrip("\n")) - len(above)]


def _close_marks(head: str, last: str) -> str:
    last = _OPEN_IMAGE.sub(r"\1", _OPEN_LINK.sub(r"\1", last)) if "[" in last else last
    if "*" not in last and "`" not in last and "~" not in last and "*" not in head and "`" not in head:
        return head + last
    is_start = _NEW_SEGMENT.match(last) or _TABLE_LINE.match(last)
    start = len(head) if is_start else _segment_start(head)
    if len(head) - start + len(last) > _MAX_SEGMENT:
        return head + last
    return head[:start] + _balance(head[start:] + last)


def _segment_start(head: str) -> int:
    """Where the paragraph, list item or row that holds the end begins: marks never close across it."""
    at = len(head)
    while at > 0 and len(head) - at < _MAX_SEGMENT:
        line_at = head.rfind("\n", 0, at - 1) + 1
        line = head[line_at : at - 1]
        if not line.strip():
            return at
        at = line_at
        if _NEW_SEGMENT.match(line) or _TABLE_LINE.match(line):
            return at
    return at


def _balance(segment: str) -> str:
    bare = _CODE_SPAN.sub("", _ESCAPED.sub("", segment))
    if "`" in bare:
        return _close_code(segment, bare)
    pending = sorted((at, mark) for mark in ("**", "~~") if (at := _find_unpaired(bare, mark)) >= 0)
    for _at, mark in reversed(pending):
        segment = _close(segment.rstrip(" \t"), mark)
    return segment


def _close_code(segment: str, bare: str) -> str:
    rest = bare[bare.index("`") :]
    run = "`" * (len(rest) - len(rest.lstrip("`")))
    if segment.endswith(run):
        return segment[: -len(run)]
    return segment + run


def _find_unpaired(text: str, mark: str) -> int:
    return text.rfind(mark) if text.count(mark) % 2 else -1


def _close(segment: str, mark: str) -> str:
    """Add the closing mark, or drop an opening one that has nothing behind it yet."""
    if segment.endswith(mark):
        return segment[: -len(mark)]
    return segment.removesuffix(mark[0]) + mark
