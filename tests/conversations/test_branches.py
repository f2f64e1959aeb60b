"""The tree of a conversation: branches, continuing, several models at once, and messages that wait for their turn."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from conversations import errors, generation, queries, services
from conversations.models import Author, Conversation, IdempotencyKey, Message, State
from providers import catalog
from providers.errors import ModelUnavailable
from providers.models import ChatModel
from tests.conversations.chats import answer, send
from tests.fake_provider import FakeProvider, make_model, make_provider
from tests.people import make_bob, make_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def models(fake: FakeProvider) -> list[ChatModel]:
    provider = make_provider(fake)
    return [make_model(fake, provider=provider, name=name, label=name) for name in ("one", "two", "three", "four", "five")]


def list_texts(conversation_id: UUID) -> list[str]:
    conversation = Conversation.objects.get(id=conversation_id)
    return [message.text for message in queries.list_path(conversation=conversation).messages]


def list_places(conversation_id: UUID) -> list[tuple[int, int]]:
    path = queries.list_path(conversation=Conversation.objects.get(id=conversation_id))
    return [(message.siblings.position, message.siblings.count) for message in path.messages if message.siblings]


def end(reply: Message, text: str = "Ended.", state: State = State.DONE, **fields: Any) -> None:
    Message.objects.filter(id=reply.id).update(state=state, text=text, finished_at=timezone.now(), **fields)


def make_chain(user: User, length: int) -> Conversation:
    """A conversation of so many messages, one below the other."""
    conversation = services.create_conversation(user=user)
    chain = [
        Message(
            conversation=conversation,
            sequence=number,
            role=Author.USER if number % 2 else Author.ASSISTANT,
            text=str(number),
            finished_at=timezone.now(),
        )
        for number in range(1, length + 1)
    ]
    for message, parent in zip(chain[1:], chain, strict=False):
        message.parent = parent
    Message.objects.bulk_create(chain)
    conversation.active_leaf, conversation.message_count = chain[-1], length
    conversation.save()
    return conversation


def count_queries(function: Callable[[], Any]) -> int:
    catalog.forget()
    with CaptureQueriesContext(connection) as captured:
        function()
    return len(captured)


class TestBranches:
    @pytest.fixture
    def first(self, fake: FakeProvider) -> Message:
        """Two turns, and the first message in other words with a turn of its own."""
        old = answer(fake, question="Old question")
        user, conversation_id = old.conversation.owner, old.conversation_id
        end(services.send_message(user=user, conversation_id=conversation_id, text="Old follow-up").reply, "Old end")
        assert old.parent
        end(services.edit_message(user=user, message_id=old.parent.id, text="New question").reply, "New end")
        return old

    def test_edit_opens_a_branch_and_counts_both(self, first: Message) -> None:
        assert list_texts(first.conversation_id) == ["New question", "New end"]
        assert list_places(first.conversation_id) == [(2, 2), (1, 1)]

    def test_select_leads_to_the_newest_leaf_and_is_remembered(self, first: Message) -> None:
        assert first.parent_id
        services.select_branch(user=first.conversation.owner, message_id=first.parent_id)
        assert list_texts(first.conversation_id) == ["Old question", first.text, "Old follow-up", "Old end"]
        assert list_places(first.conversation_id)[0] == (1, 2)

    def test_select_twice_is_select_once(self, first: Message) -> None:
        for _ in range(2):
            services.select_branch(user=first.conversation.owner, message_id=first.id)
        assert list_texts(first.conversation_id)[0] == "Old question"

    def test_siblings_name_their_neighbours(self, first: Message) -> None:
        newest = queries.list_path(conversation=Conversation.objects.get()).messages[0]
        assert newest.siblings
        assert (newest.siblings.previous_id, newest.siblings.next_id) == (first.parent_id, None)

    def test_next_message_goes_below_the_chosen_branch(self, first: Message) -> None:
        user = first.conversation.owner
        services.select_branch(user=user, message_id=first.id)
        sent = services.send_message(user=user, conversation_id=first.conversation_id, text="More")
        assert Message.objects.get(children=sent.message).text == "Old end"

    def test_select_works_while_a_reply_runs(self, first: Message) -> None:
        user = first.conversation.owner
        running = services.send_message(user=user, conversation_id=first.conversation_id, text="More").reply
        services.select_branch(user=user, message_id=first.id)
        assert list_texts(first.conversation_id)[-1] == "Old end"
        assert Message.objects.live().get() == running

    @pytest.mark.parametrize("action", [services.select_branch, services.continue_reply])
    def test_stranger_finds_nothing_and_changes_nothing(self, first: Message, action: Callable[..., Any]) -> None:
        before = list(Message.objects.values()), list(Conversation.objects.values())
        bob = make_bob()
        for message_id in (first.id, uuid4()):
            with pytest.raises(errors.MessageNotFound):
                action(user=bob, message_id=message_id)
        assert (list(Message.objects.values()), list(Conversation.objects.values())) == before


class TestContinue:
    @pytest.mark.parametrize(
        "fields",
        [
            {"state": State.STOPPED},
            {"state": State.INTERRUPTED, "error_code": "interrupted"},
            {"state": State.DONE, "finish_reason": "length"},
        ],
    )
    def test_sibling_begins_with_the_old_text(self, fake: FakeProvider, fields: dict[str, Any]) -> None:
        old = answer(fake)
        end(old, "A lease is", reasoning="Hm.", **fields)
        new = services.continue_reply(user=old.conversation.owner, message_id=old.id)
        assert (new.parent_id, new.text, new.reasoning, new.state) == (old.parent_id, "A lease is", "Hm.", State.QUEUED)
        fake.script(text=" a promise.")
        generation.run(new.id)
        new.refresh_from_db()
        assert new.text == "A lease is a promise."
        assert list_places(old.conversation_id)[-1] == (2, 2)

    @pytest.mark.parametrize(
        ("text", "fields"),
        [
            ("Whole.", {"state": State.DONE, "finish_reason": "stop"}),
            ("", {"state": State.STOPPED}),
            ("", {"state": State.FAILED, "error_code": "provider_busy"}),
        ],
    )
    def test_what_has_an_end_or_no_beginning_is_refused(self, fake: FakeProvider, text: str, fields: dict[str, Any]) -> None:
        old = answer(fake)
        end(old, text, **fields)
        with pytest.raises(errors.ReplyComplete):
            services.continue_reply(user=old.conversation.owner, message_id=old.id)
        assert Message.objects.count() == 2

    def test_while_another_reply_runs_it_is_refused(self, fake: FakeProvider) -> None:
        old = answer(fake)
        end(old, "A lease is", State.STOPPED)
        services.send_message(user=old.conversation.owner, conversation_id=old.conversation_id, text="More")
        with pytest.raises(errors.ReplyRunning):
            services.continue_reply(user=old.conversation.owner, message_id=old.id)

    def test_regenerate_keeps_the_model_unless_told(self, models: list[ChatModel]) -> None:
        sent = services.start_conversation(user=make_user(), text="Hello", model_id=models[1].id)
        end(sent.reply)
        user = sent.message.conversation.owner
        Conversation.objects.update(model=models[0])
        same = services.regenerate_reply(user=user, message_id=sent.reply.id)
        end(same)
        other = services.regenerate_reply(user=user, message_id=sent.reply.id, model_id=models[2].id)
        assert (same.model, other.model) == (models[1], models[2])


class TestSeveralModels:
    def test_each_gets_a_reply_and_all_are_queued(self, models: list[ChatModel]) -> None:
        ids = [model.id for model in models[:3]]
        sent = services.start_conversation(user=make_user(), text="Hello", model_ids=ids)
        assert [reply.model_id for reply in sent.replies] == ids
        assert {(reply.parent_id, reply.state) for reply in sent.replies} == {(sent.message.id, State.QUEUED)}
        conversation = Conversation.objects.get()
        assert (conversation.active_leaf, conversation.is_comparing) == (sent.reply, True)

    def test_model_is_the_first_and_nothing_is_asked_twice(self, models: list[ChatModel]) -> None:
        one, two, *_ = (model.id for model in models)
        sent = services.start_conversation(user=make_user(), text="Hello", model_id=two, model_ids=[one, two, one])
        assert [reply.model_id for reply in sent.replies] == [two, one]

    def test_all_are_generated_side_by_side_and_stay_compared_until_one_is_chosen(
        self, fake: FakeProvider, models: list[ChatModel]
    ) -> None:
        sent = services.start_conversation(user=make_user(), text="Hello", model_ids=[model.id for model in models[:2]])
        for reply in sent.replies:
            generation.run(reply.id)
        conversation = Conversation.objects.get()
        assert queries.list_compared(conversation=conversation, reply=sent.reply) == list(sent.replies)
        chosen = services.select_branch(user=conversation.owner, message_id=sent.replies[1].id)
        assert (chosen.active_leaf_id, chosen.is_comparing) == (sent.replies[1].id, False)
        assert queries.list_compared(conversation=chosen, reply=sent.replies[1]) == []

    def test_regenerating_ends_the_comparison(self, models: list[ChatModel]) -> None:
        sent = services.start_conversation(user=make_user(), text="Hello", model_ids=[model.id for model in models[:2]])
        for reply in sent.replies:
            end(reply)
        services.regenerate_reply(user=sent.message.conversation.owner, message_id=sent.reply.id)
        assert not Conversation.objects.get().is_comparing

    def test_too_many_or_one_switched_off_store_nothing(self, models: list[ChatModel]) -> None:
        user = make_user()
        with pytest.raises(errors.TooManyModels):
            services.start_conversation(user=user, text="Hello", model_ids=[model.id for model in models])
        models[1].is_enabled = False
        models[1].save()
        with pytest.raises(ModelUnavailable):
            services.start_conversation(user=user, text="Hello", model_ids=[model.id for model in models[:3]])
        assert not Conversation.objects.exists()

    def test_same_key_is_answered_with_all_replies_and_only_those(self, models: list[ChatModel]) -> None:
        ids = [model.id for model in models[:3]]
        user = make_user()
        first = services.start_conversation(user=user, text="Hello", model_ids=ids, idempotency_key="k")
        for reply in first.replies:
            end(reply)
        services.regenerate_reply(user=user, message_id=first.reply.id)
        again = services.start_conversation(user=user, text="Hello", model_ids=ids, idempotency_key="k")
        assert again.replies == first.replies
        with pytest.raises(errors.KeyReused):
            services.start_conversation(user=user, text="Hello", model_ids=ids[:2], idempotency_key="k")

    def test_twenty_parallel_sends_with_one_key_make_one_message(self, models: list[ChatModel]) -> None:
        user, ids = make_user(), [model.id for model in models[:3]]
        conversation_id = services.create_conversation(user=user).id

        def work(_: int) -> tuple[UUID, ...]:
            try:
                sent = services.send_message(
                    user=user, conversation_id=conversation_id, text="Once", model_ids=ids, idempotency_key="k"
                )
            finally:
                connection.close()
            return tuple(reply.id for reply in sent.replies)

        with ThreadPoolExecutor(10) as threads:
            assert len(set(threads.map(work, range(20)))) == 1
        assert (Message.objects.count(), IdempotencyKey.objects.count()) == (4, 1)


class TestQueue:
    @pytest.fixture
    def running(self, fake: FakeProvider) -> Message:
        return send(fake, question="First").reply

    def queue(self, running: Message, text: str = "Second", **options: Any) -> services.Sent:
        conversation = running.conversation
        options = {"when_running": "queue", **options}
        return services.send_message(user=conversation.owner, conversation_id=conversation.id, text=text, **options)

    def test_message_hangs_below_the_running_reply_and_waits(self, running: Message) -> None:
        sent = self.queue(running)
        assert (sent.message.parent_id, sent.reply.state) == (running.id, State.QUEUED)
        path = queries.list_path(conversation=Conversation.objects.get()).messages
        assert [message.waits_for for message in path] == [None, None, None, running.id]

    def test_it_is_answered_after_the_reply_before_it(self, fake: FakeProvider, running: Message) -> None:
        waiting = self.queue(running).reply
        generation.run(waiting.id)
        assert not fake.calls
        generation.run(running.id)
        generation.run(waiting.id)
        running.refresh_from_db()
        assert [turn["content"] for turn in fake.calls[1].json["messages"]] == ["First", running.text, "Second"]

    def test_refused_by_default_and_when_switched_off(self, running: Message, settings: Settings) -> None:
        with pytest.raises(errors.ReplyRunning):
            self.queue(running, when_running="refuse")
        settings.QUEUE_WHILE_RUNNING = False
        with pytest.raises(errors.ReplyRunning):
            self.queue(running)
        assert Message.objects.count() == 2

    def test_stop_withdraws_it_and_what_waits_behind_it(self, fake: FakeProvider, running: Message) -> None:
        second = self.queue(running)
        third = self.queue(running, "Third")
        assert third.message.parent_id == second.reply.id
        assert services.stop_reply(user=running.conversation.owner, message_id=second.reply.id)
        states = set(Message.objects.filter(id__in=[second.reply.id, third.reply.id]).values_list("state", flat=True))
        assert states == {State.STOPPED}
        assert Conversation.objects.get().active_leaf_id == running.id
        for reply in (second.reply, third.reply):
            generation.run(reply.id)
        assert not fake.calls

    def test_stop_of_the_running_one_leaves_the_next_its_turn(self, fake: FakeProvider, running: Message) -> None:
        waiting = self.queue(running).reply
        assert not services.stop_reply(user=running.conversation.owner, message_id=running.id)
        generation.run(waiting.id)
        waiting.refresh_from_db()
        assert waiting.state == State.DONE

    def test_stop_when_its_turn_has_come_is_a_stop(self, running: Message) -> None:
        sent = self.queue(running)
        end(running)
        assert not services.stop_reply(user=running.conversation.owner, message_id=sent.reply.id)
        assert Conversation.objects.get().active_leaf_id == sent.reply.id

    def test_parallel_messages_make_one_chain(self, running: Message) -> None:
        def work(number: int) -> None:
            try:
                self.queue(running, f"Tab {number}")
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(work, range(4)))
        path = queries.list_path(conversation=Conversation.objects.get()).messages
        assert [message.sequence for message in path] == list(range(1, 11))


class TestCost:
    def test_path_takes_two_queries_whatever_the_length(self, fake: FakeProvider) -> None:
        make_model(fake)
        user = make_user()
        for length in (10, 1_000):
            conversation = make_chain(user, length)
            assert count_queries(lambda: queries.list_path(conversation=conversation)) == 2  # noqa: B023  called at once

    def test_send_costs_the_same_at_10_and_at_1000_messages(self, fake: FakeProvider) -> None:
        make_model(fake)
        user = make_user()
        counts = [
            count_queries(
                lambda: services.send_message(
                    user=user,
                    conversation_id=conversation.id,  # noqa: B023  called at once
                    text="More",
                    when_running="queue",
                    draft_revision=3,
                )
            )
            for conversation in (make_chain(user, 10), make_chain(user, 1_000))
        ]
        assert counts[0] == counts[1] <= 10

    def test_select_costs_the_same_at_10_and_at_1000_messages(self, fake: FakeProvider) -> None:
        make_model(fake)
        user = make_user()
        counts = []
        for length in (10, 1_000):
            root = make_chain(user, length).messages.order_by("sequence")[0]
            counts.append(count_queries(lambda: services.select_branch(user=user, message_id=root.id)))  # noqa: B023
        assert counts[0] == counts[1] <= 7
