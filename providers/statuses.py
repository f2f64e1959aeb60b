"""What an HTTP status of a provider means to us."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from providers.errors import (
    ProviderBusy,
    ProviderError,
    ProviderFailed,
    ProviderMoved,
    ProviderRefused,
    ProviderTimedOut,
    RequestRejected,
)

BUSY = frozenset({429, 503, 529})
BAD_KEY = frozenset({401, 403})


def build_error(status: int, *, detail: str, said: str = "", retry_after_s: float | None = None) -> ProviderError:
    """The error a status stands for. `detail` is for the log, `said` (see `ProviderError`) is not."""
    detail = f"HTTP {status}: {detail}"
    if status in BUSY:
        return ProviderBusy(detail=detail, said=said, retry_after_s=retry_after_s)
    return _choose_class(status)(detail=detail, said=said)


def _choose_class(status: int) -> type[ProviderError]:
    if status in BAD_KEY:
        return ProviderRefused
    if 300 <= status < 400:
        return ProviderMoved
    if status == 408:
        return ProviderTimedOut
    return RequestRejected if 400 <= status < 500 else ProviderFailed


def parse_retry_after(value: str) -> float | None:
    """Seconds from now, from seconds or an HTTP date (RFC 9110, 10.2.3); None when it is neither."""
    try:
        seconds = float(value)
    except ValueError:
        return _parse_retry_date(value)
    return seconds if 0 <= seconds < math.inf else None


def _parse_retry_date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
