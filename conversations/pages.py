"""What the chat pages show, gathered for the templates. Reads only; every list is already limited to the user's own."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from django.http import HttpRequest

from accounts.models import User
from conversations import drafts, queries
from conversations.models import Conversation, Message
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
class Thread:
    """A page of a conversation, oldest first. A turn is one message, or the replies that stand side by side."""

    turns: list[list[Message]]
    has_more: bool = False

    @property
    def first(self) -> Message | None:
        return self.turns[0][0] if self.turns else None

    @property
    def live(self) -> Message | None:
        """The reply being written; what waits for it comes after it."""
        return next((message for turn in self.turns for message in turn if message.is_live), None)


@dataclass(frozen=True, slots=True)
class Picker:
    """The models to choose from, by provider, and the one chosen now. `chosen` is None when there is none to use."""

    providers: list[tuple[str, list[ChatModel]]]
    chosen: ChatModel | None

    @property
    def has_choice(self) -> bool:
        return sum(len(models) for _, models in self.providers) > 1

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


def build_thread(*, conversation: Conversation, before: UUID | None = None) -> Thread:
    """The newest page of the active path, or the one above `before`."""
    path = queries.list_path(conversation=conversation, before=before)
    turns = [[message] for message in path.messages]
    if turns and before is None:
        turns[-1] = _build_last_turn(conversation, path.messages[-1])
    return Thread(turns, path.has_more)


def build_answered(*, reply: Message, with_message: bool = True) -> Thread:
    """A new reply, and the message it answers: what is added to a page that shows what came before."""
    conversation = reply.conversation
    path = queries.list_path(conversation=conversation, leaf_id=reply.id, limit=2)
    message, newest = path.messages
    return Thread([*([[message]] if with_message else []), _build_last_turn(conversation, newest)])


def find_started(*, conversation: Conversation, reply: Message) -> Thread | None:
    """A reply that was asked for elsewhere, with its message; None when the active path does not lead to it."""
    path = queries.list_path(conversation=conversation)
    thread = [message.id for message in path.messages]
    compared = queries.list_compared(conversation=conversation, reply=path.messages[-1]) if path.messages else []
    is_shown = reply.id in thread or reply in compared
    return build_answered(reply=compared[0] if reply in compared else reply) if is_shown else None


def _build_last_turn(conversation: Conversation, newest: Message) -> list[Message]:
    is_compared = conversation.is_comparing and newest.id == conversation.active_leaf_id
    return queries.list_compared(conversation=conversation, reply=newest) if is_compared else [newest]


def build_new_page(*, user: User, text: str = "", model_id: UUID | None = None) -> dict[str, object]:
    draft = drafts.find_draft(user=user, conversation_id=None)
    return {
        "sidebar": build_sidebar(user=user),
        "picker": build_picker(wanted_id=model_id),
        "starters": STARTERS,
        "text": text or draft.text,
        "draft": draft,
        "key": uuid4(),
    }


def build_conversation_page(
    *, user: User, conversation: Conversation, before: UUID | None = None, text: str = "", model_id: UUID | None = None
) -> dict[str, object]:
    thread = build_thread(conversation=conversation, before=before)
    draft = drafts.find_draft(user=user, conversation_id=conversation.id)
    return {
        "conversation": conversation,
        "thread": thread,
        "live": thread.live,
        "is_newest": before is None,
        "sidebar": build_sidebar(user=user),
        "picker": build_picker(wanted_id=model_id or conversation.model_id),
        "text": text or draft.text,
        "draft": draft,
        "key": uuid4(),
    }
