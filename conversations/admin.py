"""The back office of conversations: who, when, which model, how it ended. What was written is not shown."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from conversations.models import Conversation, Message


class HistoryMixin:
    """History is looked at, not made or edited."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """What is not shown cannot be guessed by filters in the address either."""
        is_hidden = bool({"text", "reasoning", "title", "drafts", "messages"} & set(lookup.split("__")))
        return not is_hidden and bool(super().lookup_allowed(lookup, value, request))  # type: ignore[misc]


class MessageInline(HistoryMixin, admin.TabularInline[Message, Conversation]):
    model = Message
    fields = ("sequence", "role", "state", "model_label", "completion_tokens", "error_code", "created_at")
    readonly_fields = fields
    extra = 0
    max_num = 0
    can_delete = False
    ordering = ("sequence",)
    verbose_name_plural = "Messages (without their text)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        return super().get_queryset(request).defer("text", "reasoning")


@admin.register(Conversation)
class ConversationAdmin(HistoryMixin, admin.ModelAdmin[Conversation]):
    """Titles are a user's words too, so they are not listed."""

    list_display = ("id", "owner", "model", "message_count", "created_at", "updated_at")
    list_filter = ("updated_at", "model")
    list_select_related = ("owner", "model")
    search_fields = ("id", "owner__email")
    search_help_text = "An id or the owner's e-mail address"
    date_hierarchy = "created_at"
    fields = ("id", "owner", "model", "message_count", "created_at", "updated_at")
    readonly_fields = fields
    inlines = [MessageInline]
    show_full_result_count = False


@admin.register(Message)
class MessageAdmin(HistoryMixin, admin.ModelAdmin[Message]):
    list_display = ("id", "owner", "role", "state", "model_label", "completion_tokens", "error_code", "created_at")
    list_filter = ("state", "role", "error_code", "created_at")
    list_select_related = ("conversation__owner",)
    search_fields = ("id", "conversation__owner__email")
    date_hierarchy = "created_at"
    fields = (
        "id", "conversation", "role", "state", "model_label", "prompt_tokens", "completion_tokens", "finish_reason",
        "error_code", "error_message", "created_at", "started_at", "first_token_at", "finished_at", "lease_until",
    )  # fmt: skip
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        return super().get_queryset(request).defer("text", "reasoning")

    @admin.display(ordering="conversation__owner__email")
    def owner(self, message: Message) -> str:
        return message.conversation.owner.email

    def has_delete_permission(self, request: HttpRequest, obj: Message | None = None) -> bool:
        """Deleting one would tear the tree; its conversation can be deleted whole."""
        return False
