"""What must always hold for conversations. `manage.py doctor` checks it, and so does every fault test."""

from datetime import timedelta

from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from conversations import leases
from conversations.models import Author, Conversation, Message, State
from ops import doctor

QUEUE_PATIENCE = timedelta(minutes=5)
LISTED = 20


def register() -> None:
    doctor.register(code="INV1", title="Every user's message exists once and was answered", check=find_unanswered)
    doctor.register(code="INV2", title="Every reply has ended, waits in the queue, or has a lease", check=find_stuck)
    doctor.register(code="INV3", title="An ended reply is whole: it has an end, and a failed one says why", check=find_unended)
    doctor.register(code="INV4", title="The messages of a conversation form one tree", check=find_broken_trees)


def find_unanswered() -> list[str]:
    """A message and its reply are stored in one transaction, so one without the other was lost."""
    lonely = Message.objects.filter(role=Author.USER, children=None).values_list("id", flat=True)[:LISTED]
    return [f"message {message_id} has no reply" for message_id in lonely]


def find_stuck() -> list[str]:
    dead = [
        f"reply {reply_id} streams without a lease" for reply_id in leases.list_expired().values_list("id", flat=True)[:LISTED]
    ]
    before = Message.objects.live().filter(children__children=OuterRef("id"))
    waiting = Message.objects.filter(~Exists(before), state=State.QUEUED, created_at__lt=Now() - QUEUE_PATIENCE)
    return dead + [
        f"reply {reply_id} has waited for over 5 minutes" for reply_id in waiting.values_list("id", flat=True)[:LISTED]
    ]


def find_unended() -> list[str]:
    ended = Message.objects.filter(role=Author.ASSISTANT).exclude(state__in=[State.QUEUED, State.STREAMING])
    silent = Q(finished_at=None) | Q(state__in=[State.FAILED, State.INTERRUPTED], error_code="") | Q(finished_at__gt=Now())
    return [
        f"reply {reply_id} ended without saying how" for reply_id in ended.filter(silent).values_list("id", flat=True)[:LISTED]
    ]


def find_broken_trees() -> list[str]:
    """A parent of another conversation, one that came later (no circle without that), the wrong author, or a lost leaf."""
    strays = Message.objects.filter(
        Q(parent__isnull=False)
        & (~Q(parent__conversation=F("conversation")) | Q(parent__sequence__gte=F("sequence")) | Q(parent__role=F("role")))
        | Q(parent=None, role=Author.ASSISTANT)
    )
    leaves = Conversation.objects.filter(active_leaf__isnull=False).exclude(active_leaf__conversation=F("id"))
    leafless = Conversation.objects.filter(active_leaf=None, message_count__gt=0, messages__isnull=False).distinct()
    return [
        *(f"message {message_id} hangs in the wrong place" for message_id in strays.values_list("id", flat=True)[:LISTED]),
        *(f"conversation {c} points to a message that is not its own" for c in leaves.values_list("id", flat=True)[:LISTED]),
        *(f"conversation {c} has messages and no active path" for c in leafless.values_list("id", flat=True)[:LISTED]),
    ]
