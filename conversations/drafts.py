"""Drafts: what somebody has typed and not sent yet, on whichever device.

The last write wins. A writer names a revision above the one it knows; a write that does not exceed the stored one comes too
late and changes nothing. Sending empties the draft and raises its revision, so that no save under way brings it back.
"""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db.models import F, Value
from django.db.models.functions import Greatest
from django.utils import timezone

from accounts.models import User
from conversations import limits, queries
from conversations.models import Draft

MAX_REVISION = 2**53 - 1  # the largest whole number a browser counts to


@dataclass(frozen=True, slots=True)
class Saved:
    """`revision`: the stored draft's now. Not `is_kept`: the save came too late, and another text is stored."""

    revision: int
    is_kept: bool


def find_draft(*, user: User, conversation_id: UUID | None) -> Draft:
    """The stored one, or an empty one of revision 0. One query; access to the conversation is the caller's to check."""
    return Draft.objects.filter(user=user, conversation=conversation_id).first() or Draft(user=user)


def save_draft(*, user: User, conversation_id: UUID | None, text: str, revision: int) -> Saved:
    """Keep the text, unless the stored draft has this revision already or a higher one.

    Raises TextInvalid, ConversationNotFound.
    """
    text = limits.check_draft(text)
    if conversation_id is not None:
        queries.get_conversation(user=user, conversation_id=conversation_id)
    _ensure(user, conversation_id)
    older = Draft.objects.filter(user=user, conversation=conversation_id, revision__lt=revision)
    is_kept = bool(older.update(text=text, revision=revision, updated_at=timezone.now()))
    return Saved(find_draft(user=user, conversation_id=conversation_id).revision, is_kept)


def give_back(*, user: User, conversation_id: UUID, text: str) -> None:
    """A message that was taken back is a draft again, above what has been typed meanwhile as far as there is room."""
    draft = find_draft(user=user, conversation_id=conversation_id)
    joined = "\n\n".join(filter(None, [text, draft.text]))[: settings.MESSAGE_MAX_CHARACTERS]
    save_draft(user=user, conversation_id=conversation_id, text=joined, revision=draft.revision + 1)


def clear_draft(*, user: User, conversation_id: UUID | None, revision: int) -> None:
    """To be called in the transaction that sends the text. `revision`: the highest one the sender has named so far."""
    _ensure(user, conversation_id)
    raised = Greatest(F("revision"), Value(revision)) + 1
    Draft.objects.filter(user=user, conversation=conversation_id).update(text="", revision=raised, updated_at=timezone.now())


def _ensure(user: User, conversation_id: UUID | None) -> None:
    """A row to compare revisions with; one that exists is left alone."""
    Draft.objects.bulk_create([Draft(user=user, conversation_id=conversation_id)], ignore_conflicts=True)
