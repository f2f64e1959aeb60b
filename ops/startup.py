"""What apps do once the database is ready, before the first request: a registry.

An app registers in `AppConfig.ready`; `manage.py prepare` runs the steps in order on every
start. A step must be safe to run again, and by two machines one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StartupContext:
    """`address` is where people will find this installation: scheme, host and port, no slash at the end."""

    address: str


@dataclass(frozen=True, slots=True)
class StepResult:
    """`line` is what the operator should read, for example the link of the first account."""

    name: str
    line: str | None


Step = Callable[[StartupContext], str | None]
_steps: dict[str, tuple[int, Step]] = {}


def register(name: str, step: Step, *, order: int = 100) -> None:
    """Add a step; a lower `order` runs earlier. Registering a name again replaces it."""
    _steps[name] = (order, step)


def run_steps(context: StartupContext) -> list[StepResult]:
    """Run all steps in order and return what they say. The first error ends it."""
    ordered = sorted(_steps.items(), key=lambda item: (item[1][0], item[0]))
    return [StepResult(name=name, line=step(context)) for name, (_, step) in ordered]
