"""Makers for conversation tests."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from accounts.models import User
from conversations import generation, services
from conversations.models import Message
from conversations.stream.feed import Feed
from conversations.stream.frames import Format
from providers import runtime
from tests.fake_provider import FakeProvider, make_model
from tests.people import make_user

PATIENCE_S = 10.0


def send(fake: FakeProvider, *, user: User | None = None, question: str = "What is a lease?", **script: Any) -> services.Sent:
    """A conversation with a message and its queued reply; the provider will answer as scripted."""
    user = user or make_user()
    model = make_model(fake)
    if script:
        fake.script(**script)
    return services.start_conversation(user=user, text=question, model_id=model.id)


def answer(fake: FakeProvider, **fields: Any) -> Message:
    """Send and generate; the ended reply."""
    sent = send(fake, **fields)
    generation.run(sent.reply.id)
    sent.reply.refresh_from_db()
    return sent.reply


def is_final(reply_id: UUID) -> bool:
    return not Message.objects.live().filter(id=reply_id).exists()


class Viewer:
    """Follows a feed: applies the text it is sent and complains about every hole or double."""

    def __init__(self, wanted: Format = "text") -> None:
        self.wanted: Format = wanted
        self.parts: dict[str, dict[str, str]] = {}
        self.frames: list[dict[str, Any]] = []
        self.finished: dict[str, dict[str, Any]] = {}

    def take(self, frame: str) -> None:
        event = json.loads(frame)
        self.frames.append(event)
        kind, reply = event["type"], event.get("reply", "")
        if kind == "reply.started":
            self.parts.setdefault(reply, {"text": "", "reasoning": ""})
        elif kind == "reply.snapshot":
            self.parts[reply] = dict(event["parts"])
        elif kind == "reply.delta" and "text" in event:
            parts = self.parts.setdefault(reply, {"text": "", "reasoning": ""})
            assert event["at"] == len(parts[event["part"]]), f"hole or double at {event['at']}"
            parts[event["part"]] += event["text"]
        elif kind == "reply.finished":
            if self.wanted == "text":
                assert event["length"] == sum(map(len, self.parts[reply].values()))
            self.finished[reply] = event

    async def follow(self, conversation_id: UUID, *, until: Callable[["Viewer"], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), Feed(conversation_id, wanted=self.wanted) as feed:
            async for frame in feed.listen():
                self.take(frame)
                if until(self):
                    return


def follow(conversation_id: UUID, *, until: Callable[[Viewer], bool], wanted: Format = "text") -> "Future[Viewer]":
    """Start following on the process's loop; `.result()` gives the Viewer."""

    async def run() -> Viewer:
        viewer = Viewer(wanted)
        await viewer.follow(conversation_id, until=until)
        return viewer

    return runtime.submit(run())


def has_finished(viewer: Viewer) -> bool:
    return bool(viewer.finished)
