"""What a user may do. Each function checks access itself, is one transaction, and may be called twice."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import User
from conversations import drafts, idempotency, leases, limits, queries, tasks
from conversations.errors import (
    ConversationNotFound,
    MessageNotFound,
    ReplyComplete,
    ReplyFinished,
    ReplyRunning,
    TooManyReplies,
)
from conversations.models import Author, Conversation, Message, State
from conversations.stream import frames
from conversations.stream import log as live_log
from conversations.stream.reading import build_end
from providers import catalog
from providers import queries as providers
from providers.errors import ModelUnavailable
from providers.models import ChatModel

WhenRunning = Literal["refuse", "queue"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A stored user's message and the empty replies that are queued for it: one for each model asked, in their order."""

    message: Message
    replies: tuple[Message, ...]

    @property
    def reply(self) -> Message:
        """The first, which the active path leads to."""
        return self.replies[0]


def create_conversation(*, user: User, title: str = "", model_id: UUID | None = None) -> Conversation:
    model = _choose_model(model_id)
    return Conversation.objects.create(owner=user, title=limits.build_title(title), model=model)


@transaction.atomic
def start_conversation(
    *,
    user: User,
    text: str,
    model_id: UUID | None = None,
    model_ids: Sequence[UUID] = (),
    idempotency_key: str = "",
    draft_revision: int | None = None,
) -> Sent:
    """A new conversation with its first message. Models and draft as in `send_message`.

    Raises TextInvalid, KeyReused, ModelUnavailable, TooManyModels, TooManyReplies, TooManyReplies.
    """
    text = limits.check_text(text)
    claim = idempotency.claim(user=user, key=idempotency_key, request=("start", text, model_id, *model_ids))
    if claim.stored:
        return _recall(*claim.stored)
    models = _choose_models(model_id, model_ids)
    conversation = Conversation.objects.create(owner=user, model=models[0])
    _check_room(conversation, asked=len(models), may_queue=False)
    if draft_revision is not None:
        drafts.clear_draft(user=user, conversation_id=None, revision=draft_revision)
    return _send_once(claim, conversation, text, parent_id=None, models=models)


@transaction.atomic
def send_message(
    *,
    user: User,
    conversation_id: UUID,
    text: str,
    model_id: UUID | None = None,
    model_ids: Sequence[UUID] = (),
    parent_id: UUID | None = None,
    idempotency_key: str = "",
    when_running: WhenRunning = "refuse",
    draft_revision: int | None = None,
) -> Sent:
    """Store a message and queue its reply, below `parent_id` or at the end of the active path.

    Several models: `model_id`, if given, then each of `model_ids`, all asked at once for sibling replies. `when_running`: with
    "queue" a message may be sent while a reply is written; one sent below that reply is answered when it has ended.
    `draft_revision`: what was sent is this user's draft, which is emptied (see `drafts`).

    Raises TextInvalid, ReplyRunning, KeyReused, ModelUnavailable, TooManyModels, ConversationNotFound, MessageNotFound.
    """
    text = limits.check_text(text)
    request = (conversation_id, text, model_id, parent_id, *model_ids)  # as it was before there were several models
    claim = idempotency.claim(user=user, key=idempotency_key, request=request)
    if claim.stored:
        return _recall(*claim.stored)
    conversation = _lock(user, conversation_id)
    parent_id = _check_parent(conversation, parent_id) or conversation.active_leaf_id
    models = _choose_models(model_id or (None if model_ids else conversation.model_id), model_ids)
    may_queue = when_running == "queue" and settings.QUEUE_WHILE_RUNNING
    _check_room(conversation, asked=len(models), may_queue=may_queue)
    if draft_revision is not None:
        drafts.clear_draft(user=user, conversation_id=conversation_id, revision=draft_revision)
    return _send_once(claim, conversation, text, parent_id=parent_id, models=models)


@transaction.atomic
def edit_message(*, user: User, message_id: UUID, text: str, model_id: UUID | None = None, idempotency_key: str = "") -> Sent:
    """The same turn in other words: a sibling of the message, with a reply of its own. The old branch stays."""
    text = limits.check_text(text)
    claim = idempotency.claim(user=user, key=idempotency_key, request=("edit", message_id, text, model_id))
    if claim.stored:
        return _recall(*claim.stored)
    message = _get_own(user, message_id, role=Author.USER)
    conversation = _lock_idle(user, message.conversation_id)
    models = [_choose_model(model_id or conversation.model_id)]
    return _send_once(claim, conversation, text, parent_id=message.parent_id, models=models)


@transaction.atomic
def regenerate_reply(*, user: User, message_id: UUID, model_id: UUID | None = None, idempotency_key: str = "") -> Message:
    """Another reply to the same message, by the same model unless another is named: a sibling.

    Raises MessageNotFound, ReplyRunning, KeyReused, ModelUnavailable.
    """
    claim = idempotency.claim(user=user, key=idempotency_key, request=("regenerate", message_id, model_id))
    if claim.stored:
        return claim.stored[1]
    old = _get_own(user, message_id, role=Author.ASSISTANT)
    conversation = _lock_idle(user, old.conversation_id)
    model = _choose_model(model_id or old.model_id or conversation.model_id)
    return _answer_once(claim, conversation, model, parent_id=old.parent_id)


@transaction.atomic
def continue_reply(*, user: User, message_id: UUID, idempotency_key: str = "") -> Message:
    """A sibling that begins with the text of a reply that has no end, to be written on from there. The old one stays.

    Raises MessageNotFound, ReplyRunning, KeyReused, ReplyComplete, ModelUnavailable.
    """
    claim = idempotency.claim(user=user, key=idempotency_key, request=("continue", message_id))
    if claim.stored:
        return claim.stored[1]
    old = _get_own(user, message_id, role=Author.ASSISTANT)
    conversation = _lock_idle(user, old.conversation_id)
    old.refresh_from_db()
    if not old.is_continuable:
        raise ReplyComplete
    model = _choose_model(old.model_id or conversation.model_id)
    return _answer_once(claim, conversation, model, parent_id=old.parent_id, text=old.text, reasoning=old.reasoning)


@transaction.atomic
def select_branch(*, user: User, message_id: UUID) -> Conversation:
    """Lead the active path through this message, to the newest leaf below it. Nothing else changes, so it may be repeated.

    Raises MessageNotFound.
    """
    message = queries.get_message(user=user, message_id=message_id)
    conversation = _lock(user, message.conversation_id)
    conversation.active_leaf_id = queries.list_below(message_id=message.id, limit=1)[0]
    conversation.is_comparing = False
    conversation.save(update_fields=["active_leaf", "is_comparing"])
    return conversation


def stop_reply(*, user: User, message_id: UUID) -> bool:
    """Ask the worker to stop. Returns at once; the text so far is kept.

    True: the reply had not begun since it waited for another one, so its message is withdrawn: it and what was queued behind
    it leave the active path. Raises MessageNotFound if the user may not see it, ReplyFinished if too late.
    """
    message = _get_own(user, message_id, role=Author.ASSISTANT)
    if queries.is_waiting(message) and _withdraw(user, message):
        return True
    _stop(message)
    return False


def _stop(message: Message) -> None:
    """End what nobody has begun, else tell its worker. Raises ReplyFinished."""
    if leases.stop_queued(message):
        message.refresh_from_db()
        live_log.publish(message.conversation_id, build_end(message))
        tasks.enqueue_waiting(message.id)
        return
    if not Message.objects.live().filter(id=message.id).update(stop_requested=True):
        raise ReplyFinished
    live_log.publish_cancel(message.id)


def _withdraw(user: User, reply: Message) -> bool:
    """Take the message of a waiting reply off the active path, with what is queued behind it. False: its turn has come."""
    with transaction.atomic():
        conversation = _lock(user, reply.conversation_id)
        below = queries.list_below(message_id=cast(UUID, reply.parent_id))
        queued = list(Message.objects.select_for_update().filter(id__in=below, state=State.QUEUED))
        if reply not in queued:
            return False
        Message.objects.filter(id__in=below, state=State.QUEUED).update(stop_requested=True)  # nobody begins them now
        if conversation.active_leaf_id in below:
            conversation.active_leaf_id = Message.objects.get(id=cast(UUID, reply.parent_id)).parent_id
            conversation.is_comparing = False
            conversation.save(update_fields=["active_leaf", "is_comparing"])
    for waiting in queued:
        with contextlib.suppress(ReplyFinished):  # somebody else has stopped it meanwhile
            _stop(waiting)
    return True


def rename_conversation(*, user: User, conversation_id: UUID, title: str) -> None:
    title = limits.build_title(limits.check_text(title))
    if not Conversation.objects.visible_to(user).filter(id=conversation_id).update(title=title):
        raise ConversationNotFound
    live_log.publish(conversation_id, frames.build_changed(title=title))


@transaction.atomic
def delete_conversation(*, user: User, conversation_id: UUID) -> None:
    """Gone with all its messages, on the bus too. A reply that runs is stopped; who looks at it is sent away."""
    conversation = _lock(user, conversation_id)
    reply_ids = list(conversation.messages.filter(role=Author.ASSISTANT).values_list("id", flat=True))
    conversation.delete()
    transaction.on_commit(lambda: live_log.forget(conversation_id, reply_ids))


def _lock(user: User, conversation_id: UUID) -> Conversation:
    """The conversation, held against other senders until the transaction ends."""
    try:
        return Conversation.objects.visible_to(user).select_for_update().get(id=conversation_id)
    except Conversation.DoesNotExist:
        raise ConversationNotFound from None


def _lock_idle(user: User, conversation_id: UUID) -> Conversation:
    conversation = _lock(user, conversation_id)
    _check_room(conversation, asked=1, may_queue=False)
    return conversation


def _check_room(conversation: Conversation, *, asked: int, may_queue: bool) -> None:
    """Raises ReplyRunning, and TooManyReplies: one person's replies must not take the places of everybody else's.

    A statement of its own behind the lock, since only then it sees what the last holder of the lock has written.
    """
    here, everywhere = queries.count_live(owner_id=conversation.owner_id, conversation_id=conversation.id)
    if here and not may_queue:
        raise ReplyRunning
    if everywhere + asked > settings.REPLIES_AT_ONCE:
        raise TooManyReplies


def _get_own(user: User, message_id: UUID, *, role: Author) -> Message:
    message = queries.get_message(user=user, message_id=message_id)
    if message.role != role:
        raise MessageNotFound
    return message


def _check_parent(conversation: Conversation, parent_id: UUID | None) -> UUID | None:
    """A message continues one of the same conversation's replies, or nothing."""
    if parent_id is None:
        return None
    if not Message.objects.filter(id=parent_id, conversation=conversation, role=Author.ASSISTANT).exists():
        raise MessageNotFound
    return parent_id


def _choose_model(model_id: UUID | None) -> ChatModel:
    model = catalog.get_model(model_id) if model_id else providers.find_default_model()
    if model is None:
        raise ModelUnavailable("There is no model yet. An administrator has to add a provider.")
    return model


def _choose_models(model_id: UUID | None, model_ids: Sequence[UUID]) -> list[ChatModel]:
    """At least one: without any id, the default."""
    chosen = limits.check_models([*([model_id] if model_id else []), *model_ids])
    return [_choose_model(chosen_id) for chosen_id in chosen] or [_choose_model(None)]


def _send_once(
    claim: idempotency.Claim, conversation: Conversation, text: str, *, parent_id: UUID | None, models: list[ChatModel]
) -> Sent:
    sent = _send(conversation, text, parent_id=parent_id, models=models)
    claim.store(message_id=sent.message.id, reply_id=sent.reply.id)
    return sent


def _answer_once(
    claim: idempotency.Claim, conversation: Conversation, model: ChatModel, *, parent_id: UUID | None, **begun: Any
) -> Message:
    reply = _answer(conversation, [model], parent_id=parent_id, **begun)[0]
    claim.store(message_id=cast(UUID, parent_id), reply_id=reply.id)
    return reply


def _recall(message: Message, reply: Message) -> Sent:
    """What a repeated request is answered with: replies of one moment were asked for together."""
    together = Message.objects.filter(parent=message, created_at=reply.created_at).order_by("sequence")
    return Sent(message, tuple(together))


def _send(conversation: Conversation, text: str, *, parent_id: UUID | None, models: list[ChatModel]) -> Sent:
    message = _build(conversation, parent_id=parent_id, role=Author.USER, text=text)
    conversation.title = conversation.title or limits.build_title(text)
    return Sent(message, tuple(_answer(conversation, models, parent_id=message.id, question=message)))


def _answer(
    conversation: Conversation,
    models: list[ChatModel],
    *,
    parent_id: UUID | None,
    question: Message | None = None,
    **begun: str,
) -> list[Message]:
    """Queue a reply of each model, behind the question if it is new, and move the active path to the first.

    The models' first becomes the conversation's.
    """
    moment = timezone.now()
    replies = [_build_reply(conversation, parent_id=parent_id, model=model, created_at=moment, **begun) for model in models]
    Message.objects.bulk_create([*([question] if question else []), *replies])
    conversation.active_leaf = replies[0]
    conversation.is_comparing = len(replies) > 1
    conversation.model = models[0]
    conversation.updated_at = moment
    conversation.save(update_fields=["active_leaf", "is_comparing", "message_count", "model", "title", "updated_at"])
    for reply in replies:
        _announce(reply)
    return replies


def _build(conversation: Conversation, **fields: Any) -> Message:
    conversation.message_count += 1
    return Message(conversation=conversation, sequence=conversation.message_count, **fields)


def _build_reply(conversation: Conversation, *, model: ChatModel, **fields: Any) -> Message:
    return _build(
        conversation,
        role=Author.ASSISTANT,
        state=State.QUEUED,
        model=model,
        model_label=model.display_name,
        enqueued_at=Now(),
        **fields,
    )


def _announce(reply: Message) -> None:
    """Tell worker and viewers once all of it is stored."""
    started = frames.build_started(reply_id=reply.id, parent_id=reply.parent_id, model=reply.model_label)
    # In this order: viewers hear that a reply begins before they can hear what it says.
    transaction.on_commit(lambda: live_log.publish(reply.conversation_id, started))
    transaction.on_commit(lambda: tasks.enqueue(reply.id))
