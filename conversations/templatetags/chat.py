"""What the templates of the chat ask for: rendered markdown, names of days, short numbers."""

from collections.abc import Iterable
from itertools import groupby

from django import template
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe

from conversations.models import Conversation, Message
from conversations.rendering import render_blocks

register = template.Library()


@register.filter
def blocks(text: str) -> list[SafeString]:
    """Markdown as safe HTML, one string a block: the same blocks that live text is patched into."""
    return [mark_safe(html) for html in render_blocks(text)]  # noqa: S308  the sanitiser has spoken


@register.filter
def by_age(conversations: Iterable[Conversation]) -> list[tuple[str, list[Conversation]]]:
    """Groups for the sidebar, newest first, in the reader's time zone; asks nothing of the database."""
    return [(label, list(group)) for label, group in groupby(conversations, key=get_age_label)]


def get_age_label(conversation: Conversation) -> str:
    """Today, Yesterday, Previous 7 days, or the month: "October", with its year unless it is this one."""
    today, day = timezone.localdate(), timezone.localdate(conversation.updated_at)
    age_days = (today - day).days
    if age_days <= 0:
        return "Today"
    if age_days == 1:
        return "Yesterday"
    if age_days <= 7:
        return "Previous 7 days"
    return f"{day:%B}" if day.year == today.year else f"{day:%B %Y}"


@register.filter
def seconds(message: Message) -> str:
    """How long the reply took, "4.8 s"; empty while it is not known."""
    if not (message.started_at and message.finished_at):
        return ""
    taken = (message.finished_at - message.started_at).total_seconds()
    return f"{taken:.1f} s" if taken < 10 else f"{taken:,.0f} s"


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"
