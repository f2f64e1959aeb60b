"""Log records as one line each: time, level, logger, request id, message. A record can never forge a second line."""

import logging
import re
from contextvars import ContextVar, Token
from datetime import UTC, datetime

_request_id: ContextVar[str] = ContextVar("request_id", default="")

# What must never reach a log file, wherever it came from: each pattern keeps group 1 and loses the rest.
_SECRETS = (
    re.compile(r"(?i)(\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}"),
    re.compile(r"(\bsk-)[\w-]{8,}"),
    re.compile(r"(/accounts/setup/)[\w-]+"),
    re.compile(
        r"(?i)((?:password|passwd|secret|token|api[_-]?key|sessionid|__Host-session)[\"']?\s*[=:]\s*[\"']?)[^\s\"',&;)}]+"
    ),
    re.compile(r"(\b\w+://[^\s/:@]*:)[^\s/@]+(?=@)"),
)


def get_request_id() -> str:
    """The id of the request (or task) this code runs for; empty outside of one."""
    return _request_id.get()


def set_request_id(value: str) -> Token[str]:
    """Returns the token for `reset_request_id`."""
    return _request_id.set(value)


def reset_request_id(token: Token[str]) -> None:
    _request_id.reset(token)


def redact(text: str) -> str:
    """The text without keys, tokens and passwords that are recognisable as such."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1[redacted]", text)
    return text


def escape(text: str) -> str:
    """The text with every character that could move a cursor or start a line written as `\\n`, `\\x1b`, `\\u2028`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO providers.chat [3f2a…] message`; a traceback follows on the same line."""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{self.formatTime(record)} {record.levelname} {record.name} [{get_request_id() or '-'}]"
        return f"{head} {escape(redact(self._build_text(record)))}"

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        moment = datetime.fromtimestamp(record.created, tz=UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _build_text(self, record: logging.LogRecord) -> str:
        parts = [record.getMessage()]
        if record.exc_info:
            parts.append(self.formatException(record.exc_info))
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return "\n".join(parts)
