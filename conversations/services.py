"""What a user may do. Each function checks access itself, is one transaction, and may be called twice."""

import logging
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from accounts.models import User
from conversations import idempotency, leases, limits, queries, tasks
from conversations.errors import ConversationNotFound, MessageNotFound, ReplyFinished, ReplyRunning
from conversations.models import Author, Conversation, Message, State
from conversations.stream import frames
from conversations.stream import log as live_log
from conversations.stream.reading import build_end
from providers import queries as providers
from providers.errors import ModelUnavailable
from providers.models import ChatModel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sent:
    """A stored user's message and the empty reply that is queued for it."""

    message: Message
    reply: Message


def create_conversation(*, user: User, title: str = "", model_id: UUID | None = None) -> Conversation:
    model = _choose_model(model_id)
    return Conversation.objects.create(owner=user, title=limits.build_title(title), model=model)


@transaction.atomic
def start_conversation(*, user: User, text: str, model_id: UUID | None = None, idempotency_key: str = "") -> Sent:
    """A new conversation with its first message. Raises TextInvalid, KeyReused, ModelUnavailable."""
    text = limits.check_text(text)
    claim = idempotency.claim(user=user, key=idempotency_key, request=("start", text, model_id))
    if claim.stored:
        return Sent(*claim.stored)
    conversation = create_conversation(user=user, model_id=model_id)
    return _send_once(claim, conversation, text, parent_id=None, model=conversation.model)


@transaction.atomic
def send_message(
    *,
    user: User,
    conversation_id: UUID,
    text: str,
    model_id: UUID | None = None,
    parent_id: UUID | None = None,
    idempotency_key: str = "",
) -> Sent:
    """Store a message and queue its reply, below `parent_id` or at the end of the active path.

    Raises TextInvalid, ReplyRunning, KeyReused, ModelUnavailable, ConversationNotFound, MessageNotFound.
    """
    text = limits.check_text(text)
    claim = idempotency.claim(user=user, key=idempotency_key, request=(conversation_id, text, model_id, parent_id))
    if claim.stored:
        return Sent(*claim.stored)
    conversation = _lock(user, conversation_id)
    parent_id = _check_parent(conversation, parent_id) or conversation.active_leaf_id
    return _send_once(claim, conversation, text, parent_id=parent_id, model=_choose_model_for(conversation, model_id))


@transaction.atomic
def edit_message(*, user: User, message_id: UUID, text: str, model_id: UUID | None = None) -> Sent:
    """The same turn in other words: a sibling of the message, with a reply of its own. The old branch stays."""
    text = limits.check_text(text)
    message = _get_own(user, message_id, role=Author.USER)
    conversation = _lock(user, message.conversation_id)
    return _send(conversation, text, parent_id=message.parent_id, model=_choose_model_for(conversation, model_id))


@transaction.atomic
def regenerate_reply(*, user: User, message_id: UUID, model_id: UUID | None = None) -> Message:
    """Another reply to the same message: a sibling. Raises MessageNotFound, ReplyRunning, ModelUnavailable."""
    old = _get_own(user, message_id, role=Author.ASSISTANT)
    conversation = _lock(user, old.conversation_id)
    reply = _add_reply(conversation, parent_id=old.parent_id, model=_choose_model_for(conversation, model_id))
    _finish_send(conversation, reply)
    return reply


def stop_reply(*, user: User, message_id: UUID) -> None:
    """Ask the worker to stop. Returns at once; the text so far is kept.

    Raises MessageNotFound if the user may not see it, ReplyFinished if too late.
    """
    message = _get_own(user, message_id, role=Author.ASSISTANT)
    if not Message.objects.live().filter(id=message.id).update(stop_requested=True):
        raise ReplyFinished
    if leases.stop_queued(message):
        message.refresh_from_db()
        live_log.publish(message.conversation_id, build_end(message))
    else:
        live_log.publish_cancel(message.id)


def rename_conversation(*, user: User, conversation_id: UUID, title: str) -> None:
    title = limits.build_title(limits.check_text(title))
    if not Conversation.objects.visible_to(user).filter(id=conversation_id).update(title=title):
        raise ConversationNotFound
    live_log.publish(conversation_id, frames.build_changed(title=title))


def delete_conversation(*, user: User, conversation_id: UUID) -> None:
    """Gone with all its messages. A reply that runs is stopped first."""
    conversation = queries.get_conversation(user=user, conversation_id=conversation_id)
    for reply_id in Message.objects.live().filter(conversation=conversation).values_list("id", flat=True):
        live_log.publish_cancel(reply_id)
    conversation.delete()


def _lock(user: User, conversation_id: UUID) -> Conversation:
    """The conversation, held against other senders until the transaction ends."""
    conversation = Conversation.objects.visible_to(user).select_for_update().filter(id=conversation_id).first()
    if conversation is None:
        raise ConversationNotFound
    if Message.objects.live().filter(conversation=conversation).exists():
        raise ReplyRunning
    return conversation


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
    model = providers.get_model(model_id=model_id) if model_id else providers.find_default_model()
    if model is None:
        raise ModelUnavailable("There is no model yet. An administrator has to add a provider.")
    return model


def _choose_model_for(conversation: Conversation, model_id: UUID | None) -> ChatModel:
    """The model asked for becomes the conversation's; else the conversation's own is kept."""
    model = _choose_model(model_id or conversation.model_id)
    conversation.model = model
    return model


def _send_once(
    claim: idempotency.Claim, conversation: Conversation, text: str, *, parent_id: UUID | None, model: ChatModel | None
) -> Sent:
    sent = _send(conversation, text, parent_id=parent_id, model=model)
    claim.store(message=sent.message, reply=sent.reply)
    return sent


def _send(conversation: Conversation, text: str, *, parent_id: UUID | None, model: ChatModel | None) -> Sent:
    message = _add(conversation, parent_id=parent_id, role=Author.USER, text=text)
    reply = _add_reply(conversation, parent_id=message.id, model=model)
    conversation.title = conversation.title or limits.build_title(text)
    _finish_send(conversation, reply)
    return Sent(message, reply)


def _add(conversation: Conversation, **fields: object) -> Message:
    conversation.message_count += 1
    return Message.objects.create(conversation=conversation, sequence=conversation.message_count, **fields)


def _add_reply(conversation: Conversation, *, parent_id: UUID | None, model: ChatModel | None) -> Message:
    return _add(
        conversation,
        parent_id=parent_id,
        role=Author.ASSISTANT,
        state=State.QUEUED,
        model=model,
        model_label=model.display_name if model else "",
        enqueued_at=Now(),
    )


def _finish_send(conversation: Conversation, reply: Message) -> None:
    """Move the active path to the reply; tell worker and viewers once all of it is stored."""
    conversation.active_leaf = reply
    conversation.updated_at = timezone.now()
    conversation.save(update_fields=["active_leaf", "message_count", "model", "title", "updated_at"])
    transaction.on_commit(lambda: enqueue(reply.id))
    started = frames.build_started(reply_id=reply.id, parent_id=reply.parent_id, model=reply.model_label)
    transaction.on_commit(lambda: live_log.publish(conversation.id, started))


def enqueue(reply_id: UUID) -> None:
    """Hand a stored reply to the workers. With the broker away the sweeper does it later."""
    try:
        tasks.generate_reply.apply_async([str(reply_id)], retry=False)
    except BrokerError as error:
        log.warning("reply %s waits for the sweeper: %s", reply_id, error)
