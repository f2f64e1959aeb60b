"""What an adapter is: it turns a `Call` into one wire protocol, and that protocol's answer into our events."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Protocol

from providers.endpoints import Endpoint
from providers.types import Event, ModelListing, Turn


@dataclass(frozen=True, slots=True)
class Call:
    """Everything one call needs. `parameters` go into the request as they are; None takes one out."""

    endpoint: Endpoint
    model: str
    turns: tuple[Turn, ...]
    max_output_tokens: int
    parameters: dict[str, Any] = field(default_factory=dict)


class WireProtocol(Protocol):
    """One module or object per protocol, without state of a call. Neither method retries."""

    def stream(self, call: Call, *, deadline_at: float) -> AsyncGenerator[Event, None]:
        """Events until Done. `deadline_at` is the running loop's time. Raises ProviderError.

        At most one Usage, and Done last; it raises ProviderBroke when the provider did not say that it had finished.
        """

    async def list_models(self, endpoint: Endpoint) -> list[ModelListing]:
        """What this key may use, as the provider calls it, by name. Raises ProviderError."""
