"""What crosses the floor between conversations and providers: one request down, a stream of events up."""

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the history, oldest first."""

    role: Literal["system", "user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call of a model. `model_id` is the `ChatModel` row, which knows the provider, its key and the parameters."""

    model_id: UUID
    turns: tuple[Turn, ...]
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `is_estimated`: the provider sent no count."""

    prompt_tokens: int
    completion_tokens: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The provider said it has finished. A stream that ends without it was cut off.

    reason: "stop", "length", "content_filter", "tool_calls" or what the provider calls it.
    """

    reason: str


Event = TextDelta | ReasoningDelta | Usage | Done


@dataclass(frozen=True, slots=True)
class ModelListing:
    """A model as a provider lists it."""

    name: str
    label: str = ""
    context_tokens: int | None = None
    details: dict[str, str] = field(default_factory=dict)
