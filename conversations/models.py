"""Conversations and their trees of messages. The row of a reply is the truth about it; Redis only makes it quick."""

import uuid
from dataclasses import dataclass

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from providers.models import ChatModel


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def visible_to(self, user: User) -> "ConversationQuerySet":
        """The only access filter: what somebody else owns does not exist."""
        return self.filter(owner=user)


class Conversation(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=200, blank=True)
    model = models.ForeignKey(ChatModel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    active_leaf = models.ForeignKey("Message", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    is_comparing = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Several models were asked at once, and none of their replies has been chosen yet.",
    )
    message_count = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ConversationQuerySet.as_manager()

    class Meta:
        ordering = ["-updated_at"]
        indexes = [models.Index(fields=["owner", "-updated_at"], name="conversation_newest")]

    def __str__(self) -> str:
        return f"conversation {self.id}"

    @property
    def display_title(self) -> str:
        return self.title or "New chat"


class Author(models.TextChoices):
    USER = "user", "User"
    ASSISTANT = "assistant", "Assistant"


class State(models.TextChoices):
    """A reply goes queued → streaming → one of the others, and never back. What a user wrote is done from the start."""

    QUEUED = "queued", "Queued"
    STREAMING = "streaming", "Streaming"
    DONE = "done", "Done"
    STOPPED = "stopped", "Stopped"
    INTERRUPTED = "interrupted", "Interrupted"
    FAILED = "failed", "Failed"


LIVE_STATES = (State.QUEUED, State.STREAMING)


LENGTH_REASONS = ("length", "max_tokens")  # as OpenAI and Anthropic say that the model had to stop


@dataclass(frozen=True, slots=True)
class Siblings:
    """Where a message stands among those that say the same turn in other words: `position` of `count`, from 1."""

    position: int
    count: int
    previous_id: uuid.UUID | None
    next_id: uuid.UUID | None


class MessageQuerySet(models.QuerySet["Message"]):
    def visible_to(self, user: User) -> "MessageQuerySet":
        return self.filter(conversation__owner=user)

    def live(self) -> "MessageQuerySet":
        return self.filter(state__in=LIVE_STATES)


class Message(models.Model):
    """One node of a conversation's tree. Editing and retrying make siblings; nothing is overwritten."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.CASCADE, related_name="children")
    sequence = models.PositiveIntegerField(help_text="Order of arrival within the conversation, from 1.")
    role = models.CharField(max_length=16, choices=Author)
    state = models.CharField(max_length=16, choices=State, default=State.DONE)
    text = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)
    model = models.ForeignKey(ChatModel, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    model_label = models.CharField(max_length=200, blank=True, help_text="The model's name when it answered.")

    # The life of a reply
    lease_epoch = models.PositiveIntegerField(
        default=0, help_text="Named by every write of a worker; an older one writes nothing."
    )
    lease_until = models.DateTimeField(null=True, blank=True)
    stop_requested = models.BooleanField(default=False)
    enqueued_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    first_token_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    prompt_tokens = models.PositiveIntegerField(null=True, blank=True)
    completion_tokens = models.PositiveIntegerField(null=True, blank=True)
    is_usage_estimated = models.BooleanField(default=False)
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=300, blank=True)
    is_error_retryable = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MessageQuerySet.as_manager()

    # Told by `queries`, not stored
    siblings: Siblings | None = None
    waits_for: uuid.UUID | None = None  # the reply that has to end before this one begins

    class Meta:
        ordering = ["sequence"]
        constraints = [
            models.UniqueConstraint(fields=["conversation", "sequence"], name="message_sequence_unique"),
            models.CheckConstraint(condition=~Q(id=models.F("parent")), name="message_not_own_parent"),
            models.CheckConstraint(condition=Q(role=Author.ASSISTANT) | Q(state=State.DONE), name="message_user_is_done"),
        ]
        indexes = [
            # Small and rarely touched: checkpoints then stay heap-only updates.
            models.Index(fields=["state", "enqueued_at"], condition=Q(state__in=LIVE_STATES), name="message_live"),
            models.Index(fields=["parent"], name="message_children"),
            models.Index(fields=["conversation"], condition=Q(parent=None), name="message_roots"),
        ]

    def __str__(self) -> str:
        return f"{self.role} message {self.id}"

    @property
    def is_live(self) -> bool:
        return self.state in LIVE_STATES

    @property
    def is_continuable(self) -> bool:
        """It has a beginning and no end: stopped, broken off, or cut at the model's limit."""
        is_cut = self.state == State.DONE and self.finish_reason in LENGTH_REASONS
        return bool(self.text) and (is_cut or self.state in (State.STOPPED, State.INTERRUPTED))

    @property
    def usage(self) -> dict[str, int | bool] | None:
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "is_estimated": self.is_usage_estimated,
        }

    @property
    def error(self) -> dict[str, str | bool] | None:
        if not self.error_code:
            return None
        return {"code": self.error_code, "message": self.error_message, "retryable": self.is_error_retryable}

    @property
    def length(self) -> int:
        """Characters of both parts together: the cursor of a viewer."""
        return len(self.reasoning) + len(self.text)


class IdempotencyKey(models.Model):
    """What a client's `Idempotency-Key` was answered with. The same key with another body is refused."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of the request.")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    reply = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_unique")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age")]

    def __str__(self) -> str:
        return self.key


class Draft(models.Model):
    """What a user has typed and not sent; without a conversation, for a new one. An empty text stays as a row: its revision
    keeps a late save from bringing back what was sent.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    conversation = models.ForeignKey(Conversation, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    text = models.TextField(blank=True)
    revision = models.PositiveBigIntegerField(default=0, help_text="Grows with every write; a lower one is too late.")
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "conversation"], nulls_distinct=False, name="draft_unique"),
        ]

    def __str__(self) -> str:
        return f"draft {self.pk}"
