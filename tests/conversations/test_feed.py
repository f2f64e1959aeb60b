"""What viewers get while connections break, the bus is flushed, and readers are slow. Old state + frames = fresh state."""

import asyncio
import json
import threading
from typing import Any

import pytest
from django.db import connection, transaction

from conversations import generation, leases, services
from conversations.errors import ConversationNotFound
from conversations.models import Message
from conversations.rendering import LiveRenderer, apply_ops, render_blocks
from conversations.stream import feed as feeds
from conversations.stream import frames
from conversations.stream.feed import Feed
from conversations.stream.hub import get_hub
from conversations.stream.live import LiveReply
from ops import bus
from providers import runtime
from tests.conversations.chats import Viewer, answer, follow, has_finished, send
from tests.fake_provider import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)
ANSWER = "# Leases\n\nA *lease* is a lock that ends by itself 🔒:\n\n```python\nlease = take()\n```\n\n- renew\n- fence\n\n" * 6


def generate(reply_id: Any) -> threading.Thread:
    def work() -> None:
        try:
            generation.run(reply_id)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_doorbell_survives_packing() -> None:
    doorbell = frames.build_delta(reply_id="r", part="text", at=3, text="a\nb 🔒", ops=[["set", 0, 1, "<p>x\n</p>"]])
    assert frames.Doorbell.unpack(doorbell.pack()) == doorbell
    assert (doorbell.at, doorbell.length) == (3, 8)


def test_doorbell_of_another_version_is_skipped_or_read_as_far_as_it_is_known() -> None:
    doorbell = frames.build_delta(reply_id="r", part="text", at=3, text="a", ops=[])
    header, bodies = doorbell.pack().split("\n", 1)
    assert frames.Doorbell.unpack(f"{header} 7 more\n{bodies}") == doorbell
    assert frames.Doorbell.unpack("annotated r text 3 4 7\n{}\n{}") is None


def test_viewer_does_not_notice_doorbells_of_a_newer_version(fake: FakeProvider) -> None:
    sent = send(fake, text=ANSWER, chunk=40, delay_s=0.01)
    viewer = follow(sent.reply.conversation_id, until=has_finished)
    worker = generate(sent.reply.id)
    follow(sent.reply.conversation_id, until=lambda it: len(it.frames) > 3).result()
    bus.get_client().publish(frames.get_channel(sent.reply.conversation_id), f"annotated {sent.reply.id} text 0 9\nx\ny")
    worker.join(20)
    seen = viewer.result()
    assert seen.parts[str(sent.reply.id)]["text"] == ANSWER
    assert [frame["type"] for frame in seen.frames].count("reply.snapshot") <= 1, "the line was lost and all was read afresh"


def test_html_viewer_ends_with_the_html_of_the_page(fake: FakeProvider) -> None:
    sent = send(fake, text=ANSWER, chunk=7, delay_s=0.001)
    viewer = follow(sent.reply.conversation_id, until=has_finished, wanted="html")
    generation.run(sent.reply.id)
    blocks: list[str] = []
    for event in viewer.result().frames:
        blocks = list(event["html"]) if event["type"] == "reply.snapshot" else blocks
        blocks = apply_ops(blocks, event.get("ops", []))
    assert blocks == render_blocks(ANSWER)


def test_state_of_any_prefix_takes_the_ops_that_follow() -> None:
    """Why a snapshot may be rendered by a web process while the worker goes on with its own renderer."""
    for cut in range(0, len(ANSWER), 37):
        renderer = LiveRenderer()
        renderer.feed(ANSWER[:cut])
        blocks = render_blocks(ANSWER[:cut], final=False)
        blocks = apply_ops(blocks, renderer.feed(ANSWER[cut:]))
        assert apply_ops(blocks, renderer.finish()) == render_blocks(ANSWER)


@pytest.mark.parametrize("trouble", ["flush", "kill"])
def test_bus_in_trouble_costs_no_character(fake: FakeProvider, trouble: str) -> None:
    sent = send(fake, text=ANSWER, chunk=4, delay_s=0.012)
    viewers = [follow(sent.reply.conversation_id, until=has_finished) for _ in range(3)]
    worker = generate(sent.reply.id)
    follow(sent.reply.conversation_id, until=lambda viewer: len(viewer.frames) > 6).result()
    if trouble == "flush":
        bus.get_client().flushdb()
    else:
        for kind in ("normal", "pubsub"):
            bus.get_client().client_kill_filter(_type=kind, skipme=True)
    worker.join(20)
    for viewer in viewers:
        assert viewer.result().parts[str(sent.reply.id)]["text"] == ANSWER
    assert Message.objects.get(id=sent.reply.id).text == ANSWER


def test_reconnecting_viewers_miss_nothing(fake: FakeProvider) -> None:
    sent = send(fake, text=ANSWER, chunk=4, delay_s=0.02)
    worker = generate(sent.reply.id)
    for _ in range(10):
        follow(sent.reply.conversation_id, until=lambda viewer: len(viewer.frames) >= 2).result()
    last = follow(sent.reply.conversation_id, until=has_finished)
    worker.join(20)
    assert last.result().parts[str(sent.reply.id)]["text"] == ANSWER


def test_slow_reader_is_told_afresh(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "MAX_WAITING", 3)
    sent = send(fake, text=ANSWER, chunk=4, delay_s=0.005)

    async def read_slowly() -> Viewer:
        viewer = Viewer()
        async with Feed(sent.reply.conversation_id, wanted="text") as feed:
            async for frame in feed.listen():
                viewer.take(frame)
                if viewer.finished:
                    break
                await asyncio.sleep(0.2)
        return viewer

    worker = generate(sent.reply.id)
    viewer = runtime.run(read_slowly())
    worker.join(20)
    assert viewer.parts[str(sent.reply.id)]["text"] == ANSWER
    # Some 60 flushes were rung; whoever reads five times a second gets the gist of them in one.
    assert len(viewer.frames) < 20


def test_resume_gives_the_rest(fake: FakeProvider) -> None:
    reply = answer(fake)

    async def resume(at: int) -> list[dict[str, Any]]:
        async with Feed(reply.conversation_id, wanted="text") as feed:
            feed.resume(reply.id, at=at)
            events = []
            async for frame in feed.listen():
                events.append(json.loads(frame))
                if events[-1]["type"] == "reply.finished":
                    return events
        return events

    rest, _ = runtime.run(resume(5))
    assert (rest["at"], rest["text"]) == (5, reply.text[5:])
    snapshot, _ = runtime.run(resume(10**6))
    assert snapshot["parts"]["text"] == reply.text


def test_reply_of_another_conversation_is_not_told(fake: FakeProvider) -> None:
    mine = answer(fake)
    other = services.create_conversation(user=mine.conversation.owner, model_id=mine.model_id)

    async def ask() -> list[str]:
        async with Feed(other.id, wanted="text") as feed:
            feed.resume(mine.id, at=0)
            return await feed._collect()

    assert runtime.run(ask()) == []


def test_viewer_who_leaves_while_joining_leaves_nothing(fake: FakeProvider) -> None:
    reply = answer(fake)

    async def come_and_go() -> int:
        feed = Feed(reply.conversation_id, wanted="text")
        joining = asyncio.create_task(feed.__aenter__())
        await asyncio.sleep(0)
        joining.cancel()
        await asyncio.gather(joining, return_exceptions=True)
        return len(get_hub()._listeners.get(frames.get_channel(reply.conversation_id), ()))

    assert runtime.run(come_and_go()) == 0


def test_ended_reply_is_not_told_again(fake: FakeProvider) -> None:
    sent = send(fake)
    viewer = follow(sent.reply.conversation_id, until=has_finished)
    generation.run(sent.reply.id)
    viewer.result()

    async def ring_late() -> list[str]:
        async with Feed(sent.reply.conversation_id, wanted="text") as feed:
            feed.resume(sent.reply.id, at=0)
            await feed._collect()
            feed.hear(frames.build_started(reply_id=sent.reply.id, parent_id=None, model="Fake"))
            feed.hear(frames.build_delta(reply_id=str(sent.reply.id), part="text", at=0, text="zombie", ops=()))
            return await feed._collect()

    assert runtime.run(ring_late()) == []


def test_deleted_conversation_ends_its_viewers(fake: FakeProvider) -> None:
    sent = send(fake, chunk=5, delay_s=0.01, hang_after=20)
    worker = generate(sent.reply.id)
    follow(sent.reply.conversation_id, until=lambda viewer: len(viewer.frames) > 2).result()
    viewer = follow(sent.reply.conversation_id, until=has_finished)
    follow(sent.reply.conversation_id, until=lambda viewer: len(viewer.frames) > 0).result()
    services.delete_conversation(user=sent.message.conversation.owner, conversation_id=sent.reply.conversation_id)
    with pytest.raises(ConversationNotFound):
        viewer.result()
    worker.join(10)
    fake.calls[0].wait_closed()


def test_locked_row_does_not_stop_the_leases_of_others(fake: FakeProvider) -> None:
    sent = send(fake)
    mine = leases.claim(sent.reply.id)
    assert mine is not None
    live = LiveReply(id=mine.id, conversation_id=mine.conversation_id, epoch=mine.lease_epoch, text="Hello")
    with transaction.atomic():
        Message.objects.select_for_update().get(id=mine.id)
        locked = runtime.run(asyncio.to_thread(leases.checkpoint, [live]))
    assert locked == {mine.id: False}
    assert leases.checkpoint([live]) == {mine.id: False}
    assert Message.objects.get(id=mine.id).text == "Hello"
    live.epoch -= 1
    assert leases.checkpoint([live]) == {}
