"""Reads. Everything a user may see comes from here and starts at `visible_to`."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q

from accounts.models import User
from conversations.errors import ConversationNotFound, MessageNotFound
from conversations.models import Conversation, Message, Siblings, State

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


def list_path(*, conversation: Conversation, before: UUID | None = None, leaf_id: UUID | None = None, limit: int = 40) -> Path:
    """The active path, what lies above `before`, or the path to another leaf; each message with its `siblings` and, where it is
    so, what it `waits_for`. Two queries, whose cost does not grow with the conversation.
    """
    leaf_id = before or leaf_id or conversation.active_leaf_id
    messages = _climb(conversation_id=conversation.id, leaf_id=leaf_id, limit=limit + 2)
    attach_waiting(messages)
    if before is not None:
        messages = messages[:-1]
    return Path(attach_siblings(messages[-limit:]), has_more=len(messages) > limit)


def list_compared(*, conversation: Conversation, reply: Message) -> list[Message]:
    """The replies asked for together with this one, while they stand side by side; else none. At most one query."""
    if not conversation.is_comparing:
        return []
    together = Message.objects.filter(parent_id=reply.parent_id, created_at=reply.created_at)
    compared = list(together.select_related("model").order_by("sequence"))
    for message in compared:
        message.waits_for = reply.waits_for if message.state == State.QUEUED else None
    return compared


def attach_waiting(messages: list[Message]) -> None:
    """Tell queued replies of one path what they wait for: the reply before them, while it is live. Asks nothing."""
    known = {message.id: message for message in messages}
    for message in messages:
        asked = known.get(message.parent_id) if message.parent_id else None
        before = known.get(asked.parent_id) if asked and asked.parent_id else None
        message.waits_for = before.id if before and before.is_live and message.state == State.QUEUED else None


def attach_siblings(messages: list[Message]) -> list[Message]:
    """Tell messages of one conversation where they stand among their siblings. One query for all of them."""
    parents = {message.parent_id for message in messages}
    siblings = Q(parent__in=parents - {None})
    if None in parents:
        siblings |= Q(parent=None, conversation=messages[0].conversation_id)
    families: defaultdict[UUID | None, list[UUID]] = defaultdict(list)
    if messages:
        for parent_id, message_id in Message.objects.filter(siblings).order_by("sequence").values_list("parent_id", "id"):
            families[parent_id].append(message_id)
    for message in messages:
        message.siblings = _place_among(message.id, families[message.parent_id])
    return messages


def _place_among(message_id: UUID, family: list[UUID]) -> Siblings | None:
    """None: the conversation was deleted between the two queries."""
    if message_id not in family:
        return None
    index = family.index(message_id)
    before, after = family[index - 1 : index], family[index + 1 : index + 2]
    return Siblings(
        position=index + 1,
        count=len(family),
        previous_id=before[0] if before else None,
        next_id=after[0] if after else None,
    )


def is_waiting(reply: Message) -> bool:
    """Whether the reply before this one still has to end."""
    return Message.objects.live().filter(children__children=reply).exists()


LIVE_SQL = """
SELECT count(*) FILTER (WHERE message.conversation_id = %s), count(*)
  FROM conversations_message AS message
  JOIN conversations_conversation AS conversation ON conversation.id = message.conversation_id
 WHERE message.state IN ('queued', 'streaming') AND conversation.owner_id = %s
"""


def count_live(*, owner_id: int, conversation_id: UUID) -> tuple[int, int]:
    """Replies that are queued or written: in this conversation, and in all of its owner's."""
    with connection.cursor() as cursor:
        cursor.execute(LIVE_SQL, [conversation_id, owner_id])
        here, everywhere = cursor.fetchone()
    return here, everywhere


def list_history(*, reply: Message) -> list[Message]:
    """What was said before this reply, oldest first, as far back as a prompt may look."""
    return _climb(conversation_id=reply.conversation_id, leaf_id=reply.parent_id, limit=HISTORY_LIMIT)


BELOW_SQL = """
WITH RECURSIVE below AS (
    SELECT id, sequence FROM conversations_message WHERE id = %s
    UNION ALL
    SELECT child.id, child.sequence FROM conversations_message AS child JOIN below ON child.parent_id = below.id
)
SELECT id FROM below ORDER BY sequence DESC LIMIT %s
"""


def list_below(*, message_id: UUID, limit: int | None = None) -> list[UUID]:
    """This message and all that hangs below it, newest first; the first is a leaf, since children come after their parents."""
    with connection.cursor() as cursor:
        cursor.execute(BELOW_SQL, [message_id, limit])
        return [row[0] for row in cursor.fetchall()]


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
