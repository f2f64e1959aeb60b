"""The six stages, run directly against a real provider on loopback, PostgreSQL and Valkey."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from conversations import generation, leases, services, tasks
from conversations.models import Author, Message, State
from conversations.stream import log as live_log
from ops import doctor
from tests.conversations.chats import answer, follow, has_finished, send
from tests.fake_provider import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def run_in_thread(reply_id: object) -> threading.Thread:
    def work() -> None:
        try:
            generation.run(reply_id)  # type: ignore[arg-type]
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_reply_is_written_whole(fake: FakeProvider) -> None:
    reply = answer(fake)
    assert reply.state == State.DONE
    assert "What is a lease?" in reply.text
    assert reply.finish_reason == "stop"
    assert reply.completion_tokens
    assert reply.lease_until is None
    assert reply.first_token_at is not None
    assert reply.finished_at is not None


def test_second_delivery_of_a_task_does_nothing(fake: FakeProvider) -> None:
    reply = answer(fake)
    generation.run(reply.id)
    generation.run(uuid4())
    assert len(fake.calls) == 1


def test_viewer_has_every_character_once(fake: FakeProvider) -> None:
    sent = send(fake, reasoning="Let me think 🤔. " * 10, chunk=5, delay_s=0.002)
    viewer = follow(sent.reply.conversation_id, until=has_finished)
    generation.run(sent.reply.id)
    parts = viewer.result().parts[str(sent.reply.id)]
    sent.reply.refresh_from_db()
    assert parts == {"text": sent.reply.text, "reasoning": sent.reply.reasoning}
    assert sent.reply.reasoning


def test_late_viewer_gets_the_whole_reply(fake: FakeProvider) -> None:
    sent = send(fake, chunk=5, delay_s=0.01, hang_after=20)
    worker = run_in_thread(sent.reply.id)
    early = follow(sent.reply.conversation_id, until=lambda viewer: len(viewer.frames) > 3).result()
    late = follow(sent.reply.conversation_id, until=has_finished)
    services.stop_reply(user=sent.message.conversation.owner, message_id=sent.reply.id)
    worker.join()
    sent.reply.refresh_from_db()
    assert early.parts[str(sent.reply.id)]["text"]
    assert late.result().parts[str(sent.reply.id)]["text"] == sent.reply.text


def test_stop_keeps_the_text_and_closes_the_provider(fake: FakeProvider) -> None:
    sent = send(fake, chunk=5, delay_s=0.01, hang_after=12)
    worker = run_in_thread(sent.reply.id)
    follow(sent.reply.conversation_id, until=lambda viewer: any(viewer.parts.values()) and len(viewer.frames) > 2).result()
    services.stop_reply(user=sent.message.conversation.owner, message_id=sent.reply.id)
    worker.join(5)
    sent.reply.refresh_from_db()
    assert sent.reply.state == State.STOPPED
    assert sent.reply.text.startswith("You asked")
    fake.calls[0].wait_closed()
    assert fake.calls[0].is_cut


def test_stop_before_the_first_token(fake: FakeProvider) -> None:
    sent = send(fake, hang=True)
    worker = run_in_thread(sent.reply.id)
    fake.wait_for_calls(1)
    services.stop_reply(user=sent.message.conversation.owner, message_id=sent.reply.id)
    worker.join(5)
    sent.reply.refresh_from_db()
    assert (sent.reply.state, sent.reply.text) == (State.STOPPED, "")


def test_stop_while_queued_never_calls_the_provider(fake: FakeProvider) -> None:
    sent = send(fake)
    viewer = follow(sent.reply.conversation_id, until=has_finished)
    services.stop_reply(user=sent.message.conversation.owner, message_id=sent.reply.id)
    generation.run(sent.reply.id)
    sent.reply.refresh_from_db()
    assert sent.reply.state == State.STOPPED
    assert viewer.result().finished
    assert not fake.calls


def test_broken_stream_keeps_its_text(fake: FakeProvider) -> None:
    reply = answer(fake, cut_after=900, chunk=5)
    assert reply.state == State.INTERRUPTED
    assert reply.text
    assert reply.error_code
    assert reply.is_error_retryable


def test_failure_before_the_first_token(fake: FakeProvider) -> None:
    reply = answer(fake, status=401)
    assert (reply.state, reply.error_code, reply.is_error_retryable) == (State.FAILED, "provider_refused", False)


def test_continued_reply_starts_with_its_text(fake: FakeProvider) -> None:
    sent = send(fake, text="time.")
    Message.objects.filter(id=sent.reply.id).update(text="Once upon a ")
    viewer = follow(sent.reply.conversation_id, until=has_finished)
    generation.run(sent.reply.id)
    sent.reply.refresh_from_db()
    assert sent.reply.text == "Once upon a time."
    assert viewer.result().parts[str(sent.reply.id)]["text"] == "Once upon a time."
    assert fake.calls[0].json["messages"][-2] == {"role": "assistant", "content": "Once upon a "}


def test_continued_reply_that_fails_at_once_costs_nothing(fake: FakeProvider) -> None:
    sent = send(fake, status=401)
    Message.objects.filter(id=sent.reply.id).update(text="Once upon a ")
    generation.run(sent.reply.id)
    sent.reply.refresh_from_db()
    assert (sent.reply.state, sent.reply.text, sent.reply.usage) == (State.INTERRUPTED, "Once upon a ", None)


def test_reply_waits_for_the_one_before_it(fake: FakeProvider) -> None:
    sent = send(fake)
    question = Message.objects.create(
        conversation=sent.reply.conversation, parent=sent.reply, sequence=3, role=Author.USER, text="And then?"
    )
    second = Message.objects.create(
        conversation=sent.reply.conversation,
        parent=question,
        sequence=4,
        role=Author.ASSISTANT,
        state=State.QUEUED,
        model=sent.reply.model,
    )
    generation.run(second.id)
    assert not fake.calls
    generation.run(sent.reply.id)
    assert leases.list_waiting(sent.reply.id) == [second.id]
    generation.run(second.id)
    second.refresh_from_db()
    assert second.state == State.DONE
    assert [turn["role"] for turn in fake.calls[1].json["messages"]] == ["user", "assistant", "user"]


def test_what_no_database_can_hold_is_replaced(fake: FakeProvider) -> None:
    reply = answer(fake, text="a\x00b")
    assert reply.text == "a\ufffdb"


def test_database_that_has_just_started_is_given_time(settings: Settings) -> None:
    settings.REPLY_LEASE_S = 3600
    assert not leases.has_database_settled()
    settings.REPLY_LEASE_S = 0
    assert leases.has_database_settled()


def test_dead_reply_is_interrupted_with_the_text_of_the_bus(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "has_database_settled", lambda: True)
    sent = send(fake, chunk=5, delay_s=0.01, hang_after=30)
    worker = run_in_thread(sent.reply.id)
    seen = follow(sent.reply.conversation_id, until=lambda viewer: len(viewer.frames) > 4).result()
    # The worker is thought dead: its lease is in the past and its last checkpoint is lost.
    Message.objects.filter(id=sent.reply.id).update(lease_until=Now() - timedelta(seconds=1), text="")
    tasks.end_dead_replies()
    sent.reply.refresh_from_db()
    assert sent.reply.state == State.INTERRUPTED
    assert sent.reply.text.startswith(seen.parts[str(sent.reply.id)]["text"])
    interrupted = sent.reply.text
    # It was only asleep: the checkpoint finds another epoch, and nothing of it is written.
    worker.join(10)
    sent.reply.refresh_from_db()
    assert (sent.reply.state, sent.reply.text) == (State.INTERRUPTED, interrupted)
    fake.calls[0].wait_closed()


def test_running_reply_is_not_called_dead(fake: FakeProvider) -> None:
    sent = send(fake)
    leases.claim(sent.reply.id)
    tasks.end_dead_replies()
    sent.reply.refresh_from_db()
    assert sent.reply.state == State.STREAMING


def test_lost_task_is_queued_again_once(fake: FakeProvider) -> None:
    sent = send(fake)
    Message.objects.filter(id=sent.reply.id).update(enqueued_at=Now() - timedelta(minutes=1))
    tasks.requeue_lost_replies()
    sent.reply.refresh_from_db()
    assert sent.reply.enqueued_at is not None
    assert not Message.objects.filter(id=sent.reply.id, enqueued_at__lt=Now() - timedelta(seconds=15)).exists()


def test_stream_of_an_ended_reply_equals_its_row(fake: FakeProvider) -> None:
    reply = answer(fake, reasoning="Hm.")
    live = live_log.read(reply.id)
    assert live is not None
    assert (live.text, live.reasoning) == (reply.text, reply.reasoning)


def test_doctor_finds_nothing_and_then_something(fake: FakeProvider) -> None:
    reply = answer(fake)
    assert [verdict for verdict in doctor.examine() if verdict.findings] == []
    Message.objects.filter(id=reply.id).update(state=State.STREAMING, lease_until=None)
    assert any(str(reply.id) in finding for verdict in doctor.examine() for finding in verdict.findings)


def test_text_that_breaks_the_renderer_ends_its_own_reply_only(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as broken:
        broken.setattr("conversations.rendering.LiveRenderer.feed", fail)
        reply = answer(fake, chunk=5, delay_s=0.02)
    assert (reply.state, reply.error_code) == (State.INTERRUPTED, "reply_broke")
    assert reply.text
    again = services.regenerate_reply(user=reply.conversation.owner, message_id=reply.id)
    generation.run(again.id)
    again.refresh_from_db()
    assert again.state == State.DONE


def test_a_reply_that_was_withdrawn_half_way_ends(fake: FakeProvider) -> None:
    reply = send(fake).reply
    Message.objects.filter(id=reply.id).update(stop_requested=True)
    tasks.requeue_lost_replies()
    reply.refresh_from_db()
    assert reply.state == State.QUEUED
    Message.objects.filter(id=reply.id).update(enqueued_at=Now() - tasks.LOST_AFTER * 2)
    tasks.requeue_lost_replies()
    reply.refresh_from_db()
    assert reply.state == State.STOPPED
