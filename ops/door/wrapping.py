"""How the door gets hold of what it wraps."""

from typing import Any


def find_methods(owner: Any, *names: str) -> list[Any]:
    """Ends the process, with a sentence, where Daphne is not as we know it: a limit that silently does nothing is none."""
    if missing := [name for name in names if not hasattr(owner, name)]:
        raise SystemExit(f"ops.door cannot limit requests with this Daphne: {owner.__name__} has no {', '.join(missing)}.")
    return [getattr(owner, name) for name in names]
