"""What the upstream writes: Markdown as models write it, with the moment of sending inside every token.

A stamp is `Q` and four characters: tenths of a millisecond of the monotonic clock, which all processes of a machine share,
in base 61. It is a word of ordinary length, survives rendering, and `Q` appears nowhere else in a frame.
"""

import random
import re
import string
import time
from collections.abc import Iterator

DIGITS = (string.digits + string.ascii_letters).replace("Q", "")
VALUES = {digit: value for value, digit in enumerate(DIGITS)}
CYCLE = len(DIGITS) ** 4  # 23 minutes; a token that is later than half of that is not measured
UNIT_NS = 100_000
find_stamps = re.compile("Q([0-9A-PR-Za-z]{4})").findall


def read_clock() -> int:
    """Now, in units of a stamp."""
    return time.monotonic_ns() // UNIT_NS


def build_stamp(moment: int) -> str:
    digits = ""
    for _ in range(4):
        moment, digit = divmod(moment, len(DIGITS))
        digits = DIGITS[digit] + digits
    return "Q" + digits


def read_stamp(digits: str, *, now: int) -> int:
    """The moment, in units, that these four digits name: the last one before `now`."""
    value = 0
    for digit in digits:
        value = value * len(DIGITS) + VALUES[digit]
    return now - (now - value) % CYCLE


def build_filler(characters: int) -> str:
    """A paragraph of about that length, without a stamp."""
    return f"\n\n{'and many more words ' * (characters // 20)}\n\n" if characters else ""


def build_templates(seed: str) -> Iterator[str]:
    """Tokens without end, each with one `{}` for its stamp: headings, paragraphs, lists and code."""
    chance = random.Random(seed)
    break_ = ""
    while True:
        for section in (_write_heading, _write_paragraph, _write_list, _write_paragraph, _write_code):
            first, *rest = section(chance)
            yield break_ + first
            yield from rest
            break_ = "\n\n"


def _write_heading(chance: random.Random) -> list[str]:
    return ["## {}", *_write_words(chance, 4)]


def _write_paragraph(chance: random.Random) -> list[str]:
    words = _write_words(chance, chance.randint(40, 90))
    words[0] = "The {}"
    words[10] = " **{}"
    words[12] = " {}**"
    words[20] = " `{}`"
    words[-1] = " {}."
    return words


def _write_list(chance: random.Random) -> list[str]:
    items = [[f"{number}. {{}}", *_write_words(chance, 9)] for number in range(1, chance.randint(4, 8))]
    return [
        ("\n" if number and not place else "") + word for number, item in enumerate(items) for place, word in enumerate(item)
    ]


def _write_code(chance: random.Random) -> list[str]:
    lines = [["\n    {}", " = {}", "({},", " {})"] for _ in range(chance.randint(4, 12))]
    return ["```python\ndef {}", "({}):", *(word for line in lines for word in line), "\n    return {}\n```"]


def _write_words(chance: random.Random, count: int) -> list[str]:
    return [chance.choice((" {}", " {}", " of {}", " {},", " and {}", " the {}")) for _ in range(count)]
