"""What a user may do with conversations, and what a stranger may not."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from conversations import errors, generation, queries, services
from conversations.models import Author, Conversation, IdempotencyKey, Message, State
from providers.errors import ModelUnavailable
from tests.conversations.chats import answer, send
from tests.fake_provider import FakeProvider, make_model
from tests.people import make_bob, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def test_first_message_gives_the_title_and_queues_a_reply(fake: FakeProvider) -> None:
    sent = send(fake, question="How do leases work,\nand who renews them?")
    conversation = Conversation.objects.get()
    assert conversation.title == "How do leases work, and who renews them?"
    assert conversation.active_leaf == sent.reply
    assert (sent.reply.state, sent.reply.parent, sent.reply.model_label) == (State.QUEUED, sent.message, "Fake")


def test_history_goes_to_the_model(fake: FakeProvider) -> None:
    reply = answer(fake, question="First question")
    user = reply.conversation.owner
    second = services.send_message(user=user, conversation_id=reply.conversation_id, text="Second question")
    generation.run(second.reply.id)
    turns = [(turn["role"], turn["content"]) for turn in fake.calls[1].json["messages"]]
    assert turns == [("user", "First question"), ("assistant", reply.text), ("user", "Second question")]


def test_one_reply_at_a_time(fake: FakeProvider) -> None:
    sent = send(fake)
    with pytest.raises(errors.ReplyRunning):
        services.send_message(user=sent.message.conversation.owner, conversation_id=sent.message.conversation_id, text="More")
    assert Message.objects.count() == 2


def test_retry_makes_a_sibling(fake: FakeProvider) -> None:
    first = answer(fake)
    again = services.regenerate_reply(user=first.conversation.owner, message_id=first.id)
    generation.run(again.id)
    assert again.parent_id == first.parent_id
    first.refresh_from_db()
    assert first.text
    path = queries.list_path(conversation=Conversation.objects.get())
    assert [message.id for message in path.messages] == [first.parent_id, again.id]


def test_edit_keeps_the_old_branch(fake: FakeProvider) -> None:
    first = answer(fake)
    assert first.parent is not None
    sent = services.edit_message(user=first.conversation.owner, message_id=first.parent.id, text="In other words")
    assert sent.message.parent_id == first.parent.parent_id
    assert Message.objects.filter(id=first.parent.id, text="What is a lease?").exists()
    assert len(queries.list_path(conversation=Conversation.objects.get()).messages) == 2


@pytest.mark.parametrize("text", ["", "   \n", "x" * 64_001, "a\x00b", "\ud800"])
def test_unusable_text_is_refused_and_nothing_is_stored(fake: FakeProvider, text: str) -> None:
    model = make_model(fake)
    with pytest.raises(errors.TextInvalid):
        services.start_conversation(user=make_user(), text=text, model_id=model.id)
    assert not Conversation.objects.exists()


def test_model_that_is_switched_off_is_refused(fake: FakeProvider) -> None:
    model = make_model(fake, is_enabled=False)
    with pytest.raises(ModelUnavailable):
        services.start_conversation(user=make_user(), text="Hello", model_id=model.id)


def test_model_switched_off_while_queued_fails_the_reply(fake: FakeProvider) -> None:
    sent = send(fake)
    assert sent.reply.model is not None
    sent.reply.model.is_enabled = False
    sent.reply.model.save(update_fields=["is_enabled"])
    generation.run(sent.reply.id)
    sent.reply.refresh_from_db()
    assert (sent.reply.state, sent.reply.error_code) == (State.FAILED, "model_unavailable")
    assert not fake.calls


def test_parent_of_another_conversation_is_refused(fake: FakeProvider) -> None:
    mine = answer(fake)
    user = mine.conversation.owner
    other = services.create_conversation(user=user, model_id=mine.model_id)
    with pytest.raises(errors.MessageNotFound):
        services.send_message(user=user, conversation_id=other.id, text="Hello", parent_id=mine.id)
    assert other.messages.count() == 0


def test_same_key_is_answered_with_the_stored_result(fake: FakeProvider) -> None:
    model, user = make_model(fake), make_user()
    first = services.start_conversation(user=user, text="Hello", model_id=model.id, idempotency_key="k1")
    again = services.start_conversation(user=user, text="Hello", model_id=model.id, idempotency_key="k1")
    assert (again.message, again.reply) == (first.message, first.reply)
    assert Conversation.objects.count() == 1


def test_same_key_with_another_text_is_refused(fake: FakeProvider) -> None:
    model, user = make_model(fake), make_user()
    services.start_conversation(user=user, text="Hello", model_id=model.id, idempotency_key="k1")
    with pytest.raises(errors.KeyReused):
        services.start_conversation(user=user, text="Other", model_id=model.id, idempotency_key="k1")


def test_same_key_of_two_people_is_two_keys(fake: FakeProvider) -> None:
    model = make_model(fake)
    for user in (make_user(), make_bob()):
        services.start_conversation(user=user, text="Hello", model_id=model.id, idempotency_key="k1")
    assert Conversation.objects.count() == 2


def test_twenty_parallel_sends_with_one_key_make_one_message(fake: FakeProvider) -> None:
    reply = answer(fake)
    user, conversation_id = reply.conversation.owner, reply.conversation_id

    def work(_: int) -> Any:
        try:
            return services.send_message(user=user, conversation_id=conversation_id, text="Once", idempotency_key="k").reply.id
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as threads:
        replies = set(threads.map(work, range(20)))
    assert len(replies) == 1
    assert Message.objects.filter(text="Once").count() == 1
    assert IdempotencyKey.objects.count() == 1


def test_two_tabs_at_once_make_one_message(fake: FakeProvider) -> None:
    reply = answer(fake)
    user, conversation_id = reply.conversation.owner, reply.conversation_id

    def work(number: int) -> str:
        try:
            services.send_message(user=user, conversation_id=conversation_id, text=f"Tab {number}")
        except errors.ReplyRunning:
            return "refused"
        finally:
            connection.close()
        return "sent"

    with ThreadPoolExecutor(4) as threads:
        outcomes = sorted(threads.map(work, range(4)))
    assert outcomes == ["refused", "refused", "refused", "sent"]
    sequences = list(Message.objects.order_by("sequence").values_list("sequence", flat=True))
    assert sequences == [1, 2, 3, 4]


@pytest.mark.parametrize("action", ["stop", "retry", "edit", "send", "rename", "delete", "read"])
def test_stranger_finds_nothing_and_changes_nothing(fake: FakeProvider, action: str) -> None:
    sent = send(fake)
    bob = make_bob()
    conversation_id, message_id, reply_id = sent.message.conversation_id, sent.message.id, sent.reply.id
    before = list(Message.objects.values()), list(Conversation.objects.values())
    actions: dict[str, Any] = {
        "stop": lambda: services.stop_reply(user=bob, message_id=reply_id),
        "retry": lambda: services.regenerate_reply(user=bob, message_id=reply_id),
        "edit": lambda: services.edit_message(user=bob, message_id=message_id, text="Mine"),
        "send": lambda: services.send_message(user=bob, conversation_id=conversation_id, text="Mine"),
        "rename": lambda: services.rename_conversation(user=bob, conversation_id=conversation_id, title="Mine"),
        "delete": lambda: services.delete_conversation(user=bob, conversation_id=conversation_id),
        "read": lambda: queries.get_message(user=bob, message_id=message_id),
    }
    with pytest.raises((errors.ConversationNotFound, errors.MessageNotFound)):
        actions[action]()
    assert (list(Message.objects.values()), list(Conversation.objects.values())) == before


def test_stop_of_an_ended_reply_says_so(fake: FakeProvider) -> None:
    reply = answer(fake)
    with pytest.raises(errors.ReplyFinished):
        services.stop_reply(user=reply.conversation.owner, message_id=reply.id)
    with pytest.raises(errors.MessageNotFound):
        services.stop_reply(user=reply.conversation.owner, message_id=uuid4())


def test_deleting_takes_all_messages(fake: FakeProvider) -> None:
    reply = answer(fake)
    services.delete_conversation(user=reply.conversation.owner, conversation_id=reply.conversation_id)
    assert not Message.objects.exists()


def test_path_comes_in_pages(fake: FakeProvider) -> None:
    model, user = make_model(fake), make_user()
    conversation = services.create_conversation(user=user, model_id=model.id)
    parent = None
    for number in range(1, 11):
        parent = Message.objects.create(
            conversation=conversation,
            parent=parent,
            sequence=number,
            role=Author.USER if number % 2 else Author.ASSISTANT,
            text=str(number),
        )
    conversation.active_leaf = parent
    newest = queries.list_path(conversation=conversation, limit=4)
    older = queries.list_path(conversation=conversation, before=newest.messages[0].id, limit=4)
    oldest = queries.list_path(conversation=conversation, before=older.messages[0].id, limit=4)
    assert [[message.text for message in page.messages] for page in (newest, older, oldest)] == [
        ["7", "8", "9", "10"],
        ["3", "4", "5", "6"],
        ["1", "2"],
    ]
    assert [page.has_more for page in (newest, older, oldest)] == [True, True, False]
