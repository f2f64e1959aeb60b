"""The list of faults. A fault does its harm, waits for what a person should see, and says in a few words what it saw."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.rig import Rig

Play = Callable[[Rig], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Fault:
    code: str
    title: str
    play: Play


FAULTS: dict[str, Fault] = {}


def fault(code: str, title: str) -> Callable[[Play], Play]:
    """`code` is that of the list of faults; variants have a letter behind it."""

    def register(play: Play) -> Play:
        FAULTS[code] = Fault(code, title, play)
        return play

    return register
