"""Reads. Everything a user may see comes from here and starts at `visible_to`."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef

from accounts.models import User
from conversations.errors import ConversationNotFound, MessageNotFound
from conversations.models import Conversation, Message

HISTORY_LIMIT = 200  # turns a prompt looks back; windows are smaller


@dataclass(frozen=True, slots=True)
class Path:
    """A page of the active path, oldest first. `has_more`: there are older ones."""

    messages: list[Message]
    has_more: bool


def list_conversations(*, user: User, before: datetime | None = None, limit: int = 40) -> list[Conversation]:
    """Newest first, each with `is_running`. One query."""
    conversations = Conversation.objects.visible_to(user)
    if before is not None:
        conversations = conversations.filter(updated_at__lt=before)
    running = Message.objects.live().filter(conversation=OuterRef("id"))
    return list(conversations.annotate(is_running=Exists(running)).order_by("-updated_at")[:limit])


def get_conversation(*, user: User, conversation_id: UUID) -> Conversation:
    """Raises ConversationNotFound."""
    conversation = Conversation.objects.visible_to(user).select_related("model").filter(id=conversation_id).first()
    if conversation is None:
        raise ConversationNotFound
    return conversation


def get_message(*, user: User, message_id: UUID) -> Message:
    """Raises MessageNotFound."""
    message = Message.objects.visible_to(user).select_related("conversation", "model").filter(id=message_id).first()
    if message is None:
        raise MessageNotFound
    return message


def list_path(*, conversation: Conversation, before: UUID | None = None, limit: int = 40) -> Path:
    """The active path, or what lies above `before`. One query, whose cost does not grow with the conversation."""
    messages = _climb(conversation_id=conversation.id, leaf_id=before or conversation.active_leaf_id, limit=limit + 2)
    if before is not None:
        messages = messages[:-1]
    return Path(messages[-limit:], has_more=len(messages) > limit)


def list_history(*, reply: Message) -> list[Message]:
    """What was said before this reply, oldest first, as far back as a prompt may look."""
    return _climb(conversation_id=reply.conversation_id, leaf_id=reply.parent_id, limit=HISTORY_LIMIT)


CLIMB_SQL = """
WITH RECURSIVE path AS (
    SELECT message.*, 1 AS depth
      FROM conversations_message AS message WHERE message.id = %(leaf)s AND message.conversation_id = %(conversation)s
    UNION ALL
    SELECT message.*, path.depth + 1
      FROM conversations_message AS message JOIN path ON message.id = path.parent_id
     WHERE path.depth < %(limit)s
)
SELECT * FROM path ORDER BY depth DESC
"""


def _climb(*, conversation_id: UUID, leaf_id: UUID | None, limit: int) -> list[Message]:
    """From a leaf towards the root, at most `limit` messages, oldest first."""
    if leaf_id is None:
        return []
    return list(Message.objects.raw(CLIMB_SQL, {"leaf": leaf_id, "conversation": conversation_id, "limit": limit}))
