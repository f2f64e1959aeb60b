"""What can go wrong with an engine. Every message is one sentence for the operator.

EngineError
├── EngineMissing    not available on this platform: set the variable it names
├── EngineFailed     it was started and did not become ready, or its data cannot be used
├── AlreadyRunning   this home is in use by another `up`
└── StopRequested    the operator asked to stop while something was starting
"""

from pathlib import Path


class EngineError(Exception):
    """Base of everything an embedded engine raises."""


class EngineMissing(EngineError):
    """The engine is not installed; the message names the setting to use instead."""


class EngineFailed(EngineError):
    """The engine does not run; `log` is the file that says why, if there is one."""

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


class AlreadyRunning(EngineError):
    """Another live `up` holds this home."""


class StopRequested(EngineError):
    """Not a failure: somebody pressed Ctrl-C before we were ready."""


def read_tail(log: Path, *, lines: int = 12, size_bytes: int = 16_384) -> str:
    """Return the last lines of a log file, "" if it does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size_bytes))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
