"""What the chat pages show, gathered for the templates. Reads only; every list is already limited to the user's own."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from django.http import HttpRequest

from accounts.models import User
from conversations import queries
from conversations.models import Conversation
from providers import queries as providers
from providers.models import ChatModel

SIDEBAR_PAGE = 40
# Icon, title, purpose, and what the composer is filled with.
STARTERS = (
    (
        "code",
        "Review some code",
        "Paste it, get the risks first",
        "Review this code. Name the risks first, then the fixes:\n\n",
    ),
    (
        "pencil-line",
        "Draft a difficult email",
        "Firm, kind, four sentences",
        "Draft an email, firm and kind, in four sentences. It is about ",
    ),
    (
        "graduation-cap",
        "Teach me a topic",
        "Start from what I already know",
        "Teach me a topic step by step. Ask first what I already know. The topic: ",
    ),
    (
        "list-checks",
        "Plan a project",
        "Steps, owners and what may go wrong",
        "Make a plan with steps, owners and what may go wrong. The project: ",
    ),
)


@dataclass(frozen=True, slots=True)
class Sidebar:
    """One page of the list of chats, newest first."""

    conversations: list[Conversation]
    has_more: bool

    @property
    def next_before(self) -> str:
        return self.conversations[-1].updated_at.isoformat()


@dataclass(frozen=True, slots=True)
class Picker:
    """The models to choose from, by provider, and the one chosen now. `chosen` is None when there is none to use."""

    providers: list[tuple[str, list[ChatModel]]]
    chosen: ChatModel | None

    @property
    def is_demo_only(self) -> bool:
        return bool(self.providers) and all(model.is_demo for _, models in self.providers for model in models)


def get_zone(request: HttpRequest) -> tzinfo:
    """The reader's time zone as the page told it in a cookie; UTC if it did not, or this machine does not know it."""
    try:
        return ZoneInfo(request.COOKIES["tz"])
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        return UTC


def build_sidebar(*, user: User, before: datetime | None = None) -> Sidebar:
    found = queries.list_conversations(user=user, before=before, limit=SIDEBAR_PAGE + 1)
    return Sidebar(found[:SIDEBAR_PAGE], has_more=len(found) > SIDEBAR_PAGE)


def build_picker(*, wanted_id: UUID | None = None) -> Picker:
    """The wanted model if it is usable, else the default one."""
    models = providers.list_models()
    chosen = next((model for model in models if model.id == wanted_id), None) or providers.find_default_model()
    return Picker(providers=_group_by_provider(models), chosen=chosen)


def _group_by_provider(models: Iterable[ChatModel]) -> list[tuple[str, list[ChatModel]]]:
    ordered = sorted(models, key=lambda model: (model.is_demo, model.provider.name))
    return [(name, list(group)) for name, group in groupby(ordered, key=lambda model: model.provider.name)]


def build_new_page(*, user: User, text: str = "", model_id: UUID | None = None) -> dict[str, object]:
    return {
        "sidebar": build_sidebar(user=user),
        "picker": build_picker(wanted_id=model_id),
        "starters": STARTERS,
        "text": text,
        "key": uuid4(),
    }


def build_conversation_page(
    *, user: User, conversation: Conversation, before: UUID | None = None, text: str = "", model_id: UUID | None = None
) -> dict[str, object]:
    path = queries.list_path(conversation=conversation, before=before)
    return {
        "conversation": conversation,
        "path": path,
        "live": next((message for message in reversed(path.messages) if message.is_live), None),
        "is_newest": before is None,
        "sidebar": build_sidebar(user=user),
        "picker": build_picker(wanted_id=model_id or conversation.model_id),
        "text": text,
        "key": uuid4(),
    }
