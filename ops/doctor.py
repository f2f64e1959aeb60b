"""The invariants of the live data. Each floor registers its own; `manage.py doctor` checks them all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

Check = Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One rule that must always hold. `check` returns what breaks it, one sentence each; empty: it holds."""

    code: str
    title: str
    check: Check


@dataclass(frozen=True, slots=True)
class Verdict:
    code: str
    title: str
    findings: tuple[str, ...]


_invariants: dict[tuple[str, str], Invariant] = {}


def register(*, code: str, title: str, check: Check) -> None:
    """Several floors may guard one code; a second registration of the same title replaces the first."""
    _invariants[code, title] = Invariant(code, title, check)


def examine() -> Iterator[Verdict]:
    """Check every invariant, by code. A check that cannot run is a finding, not an excuse."""
    for _, invariant in sorted(_invariants.items()):
        yield Verdict(invariant.code, invariant.title, tuple(_find_faults(invariant)))


def _find_faults(invariant: Invariant) -> list[str]:
    try:
        return invariant.check()
    except Exception as error:  # one check that cannot run must not hide the others
        return [f"could not be checked: {type(error).__name__}: {error}"]
