"""One reply while it is being written: its text, how much of it was flushed, and how it ends."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from conversations.rendering import LiveRenderer
from conversations.stream.frames import Doorbell, Part, build_delta

FLUSH_S = settings.REPLY_FLUSH_MS / 1000
RENDER_SHARE = 20  # the next flush waits for 20 times the last render, so no reply takes over 5 % of a core


@dataclass(frozen=True, slots=True)
class Entry:
    """One append to the stream and the doorbell that announces it. `total` is the reply's length with it."""

    is_first: bool
    total: int
    fields: dict[str, str]
    doorbell: Doorbell


@dataclass(slots=True, eq=False)
class LiveReply:
    """Text grows by `append`; `take` hands over what has not been flushed. Used on the worker's loop only."""

    id: UUID
    conversation_id: UUID
    epoch: int
    text: str = ""
    reasoning: str = ""
    flushed: dict[str, int] = field(default_factory=lambda: {"text": 0, "reasoning": 0})
    checkpointed_length: int = -1
    first_token_at: datetime | None = None
    next_flush: float = 0.0
    is_stop_requested: bool = False
    is_fenced: bool = False
    is_unrenderable: bool = False
    task: "asyncio.Task[Any] | None" = None
    renderer: LiveRenderer = field(default_factory=LiveRenderer)

    begun_length: int = field(init=False)

    def __post_init__(self) -> None:
        self.begun_length = self.length

    @property
    def written_length(self) -> int:
        """Characters the provider wrote: not those of a reply that this one continues."""
        return self.length - self.begun_length

    @property
    def length(self) -> int:
        return len(self.text) + len(self.reasoning)

    @property
    def flushed_length(self) -> int:
        return sum(self.flushed.values())

    @property
    def is_dirty(self) -> bool:
        return self.length > self.flushed_length

    def append(self, part: Part, chunk: str) -> None:
        if self.first_token_at is None:
            self.first_token_at = timezone.now()
        if part == "text":
            self.text += chunk
        else:
            self.reasoning += chunk

    def take(self) -> list[Entry]:
        """What came since the last call, as stream entries in order."""
        started = time.perf_counter()
        entries = [entry for part in ("reasoning", "text") if (entry := self._take_part(part))]
        self.next_flush = time.monotonic() + RENDER_SHARE * (time.perf_counter() - started)
        return entries

    def _take_part(self, part: Part) -> Entry | None:
        at = self.flushed[part]
        chunk = (self.text if part == "text" else self.reasoning)[at:]
        if not chunk:
            return None
        ops: Sequence[Any] = self.renderer.feed(chunk) if part == "text" else ()
        is_first = self.flushed_length == 0
        self.flushed[part] += len(chunk)
        doorbell = build_delta(reply_id=str(self.id), part=part, at=at, text=chunk, ops=ops)
        return Entry(is_first, self.flushed_length, {"p": part, "a": str(at), "d": chunk}, doorbell)

    def finish(self) -> Sequence[Any]:
        """The ops that lead to the final state."""
        return () if self.is_unrenderable else self.renderer.finish()

    def build_full_entry(self) -> dict[str, str]:
        """Everything flushed so far, for a bus that has lost it."""
        return {"t": self.text[: self.flushed["text"]], "r": self.reasoning[: self.flushed["reasoning"]]}

    def cancel(self) -> None:
        """Ends the provider's stream at once; the text so far is kept."""
        if self.task is not None:
            self.task.cancel()
