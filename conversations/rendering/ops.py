"""The operations that carry a changing reply to a reader, and the reference client for them."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

SetBlock: TypeAlias = tuple[Literal["set"], int, int, str]
"""`["set", i, keep, html]`: block i becomes its first `keep` UTF-16 units plus `html`; i may be the next new one."""

SetAll: TypeAlias = tuple[Literal["all"], list[str]]
"""`["all", [html, …]]`: these blocks replace all others."""

Op: TypeAlias = SetBlock | SetAll


def utf16_length(text: str) -> int:
    """Count as JavaScript counts: characters beyond the basic plane are two units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def common_prefix(old: str, new: str) -> int:
    """Length in characters of the longest common prefix, by bisection on slices."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def apply_ops(blocks: Iterable[str], ops: Iterable[Op]) -> list[str]:
    """Return the blocks after the ops, as every client must compute them."""
    result = list(blocks)
    for op in ops:
        if op[0] == "all":
            result = list(op[1])
            continue
        _name, index, keep, html = op
        if index == len(result):
            result.append("")
        result[index] = _take_units(result[index], keep) + html
    return result


def _take_units(text: str, count: int) -> str:
    return text.encode("utf-16-le")[: count * 2].decode("utf-16-le")
