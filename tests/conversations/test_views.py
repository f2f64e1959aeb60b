"""The pages: who may open which door, what a person sees, what a script gets."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import html5lib
import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from conversations import drafts, services, urls
from conversations.models import Author, Conversation, Draft, Message, State
from conversations.templatetags.chat import get_age_label
from providers.models import ChatModel
from tests.fake_provider import FakeProvider, make_model
from tests.people import make_ada, make_bob, make_user

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}
NASTY = '"><script>alert(1)</script><img src=x onerror=alert(1)>'


@pytest.fixture
def model(fake: FakeProvider) -> ChatModel:
    return make_model(fake)


@pytest.fixture
def alice() -> User:
    return make_user(name="Alice Liddell")


@pytest.fixture
def chat(alice: User, model: ChatModel) -> Conversation:
    """A message of alice's and its reply, cut at the model's limit."""
    sent = services.start_conversation(user=alice, text="What is a lease?", model_id=model.id)
    end(sent.reply, finish_reason="length")
    return Conversation.objects.get()


def end(reply: Message, *, state: State = State.DONE, text: str = "A lease is a **promise**.", **fields: Any) -> None:
    Message.objects.filter(id=reply.id).update(state=state, text=text, finished_at=timezone.now(), **fields)


def get_reply() -> Message:
    return Message.objects.filter(role=Author.ASSISTANT).latest("sequence")


def sign_in(user: User, **options: Any) -> Client:
    client = Client(**options)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@dataclass(frozen=True, slots=True)
class Door:
    """`status`: what its owner gets. `own`: the address names something of somebody's; `of_user`: a message a user wrote."""

    method: str
    status: int
    own: bool = True
    data: dict[str, str] = field(default_factory=dict)
    other_method: str = ""
    of_user: bool = False


DOORS: dict[str, Door] = {
    "new": Door("post", 302, own=False, data={"text": "Hello"}, other_method="delete"),
    "list": Door("get", 200, own=False, other_method="post"),
    "theme": Door("post", 302, own=False, data={"theme": "dark"}, other_method="get"),
    "footer": Door("get", 200, other_method="post"),
    "stop": Door("post", 302, other_method="get"),
    "retry": Door("post", 302, other_method="put"),
    "edit": Door("post", 302, data={"text": "In other words"}, other_method="put", of_user=True),
    "continue": Door("post", 302, other_method="get"),
    "select": Door("post", 302, other_method="get"),
    "draft": Door("post", 302, data={"text": "Not yet", "revision": "1"}, other_method="get"),
    "draft_new": Door("post", 302, own=False, data={"text": "Not yet", "revision": "1"}, other_method="get"),
    "detail": Door("get", 200, other_method="post"),
    "send": Door("post", 302, data={"text": "And then?"}, other_method="get"),
    "earlier": Door("get", 200, other_method="post"),
    "turn": Door("get", 200, other_method="post"),
    "rename": Door("post", 302, data={"title": "Leases"}, other_method="put"),
    "delete": Door("post", 302, other_method="put"),
}


def get_url(name: str) -> str:
    reply = get_reply()
    known = {"conversation_id": reply.conversation_id, "message_id": reply.parent_id if DOORS[name].of_user else reply.id}
    pattern = next(pattern for pattern in urls.urlpatterns if pattern.name == name)
    return reverse(f"conversations:{name}", kwargs={key: known[key] for key in pattern.pattern.converters})


def open_door(client: Client, name: str, *, method: str = "") -> HttpResponse:
    door = DOORS[name]
    response: HttpResponse = getattr(client, method or door.method)(get_url(name), door.data)
    return response


class Page(Protocol):
    @property
    def content(self) -> bytes: ...


def read(response: Page) -> str:
    return response.content.decode()


def take_state() -> list[Any]:
    """Everything of conversations that somebody could have changed."""
    return [list(kind.objects.order_by("pk").values()) for kind in (Conversation, Message, Draft)]


def test_every_door_is_in_the_table() -> None:
    assert {pattern.name for pattern in urls.urlpatterns if isinstance(pattern, URLPattern)} == set(DOORS)


@pytest.mark.parametrize("name", DOORS)
def test_owner_opens_the_door(name: str, alice: User, chat: Conversation) -> None:
    response = open_door(sign_in(alice), name)

    assert response.status_code == DOORS[name].status, read(response)


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.own])
def test_stranger_gets_404_and_nothing_changes(name: str, chat: Conversation) -> None:
    before = take_state()
    client = sign_in(make_bob())

    response = open_door(client, name)

    assert response.status_code == 404
    assert take_state() == before
    missing = client.get(reverse("conversations:detail", args=[uuid4()]))
    assert read(response).split("Reference")[0] == read(missing).split("Reference")[0]


@pytest.mark.parametrize("name", [name for name in DOORS if name != "theme"])
def test_anonymous_is_sent_to_sign_in(name: str, client: Client, chat: Conversation) -> None:
    before = take_state()

    response = open_door(client, name)

    assert (response.status_code, response["Location"].split("?")[0]) == (302, "/accounts/login/")
    assert take_state() == before


@pytest.mark.parametrize("name", DOORS)
def test_wrong_method_gets_405(name: str, alice: User, chat: Conversation) -> None:
    before = take_state()

    assert open_door(sign_in(alice), name, method=DOORS[name].other_method).status_code == 405
    assert take_state() == before


@pytest.mark.parametrize("name", [name for name, door in DOORS.items() if door.method == "post"])
def test_post_without_token_is_refused(name: str, alice: User, chat: Conversation) -> None:
    before = take_state()

    assert open_door(sign_in(alice, enforce_csrf_checks=True), name).status_code == 403
    assert take_state() == before


def test_reply_of_another_conversation_is_no_turn_of_this_one(alice: User, chat: Conversation, model: ChatModel) -> None:
    other = services.start_conversation(user=alice, text="Other", model_id=model.id)

    url = reverse("conversations:turn", args=[chat.id, other.reply.id])

    assert sign_in(alice).get(url).status_code == 404


class TestSend:
    def test_script_gets_both_turns(self, alice: User, chat: Conversation) -> None:
        url = reverse("conversations:send", args=[chat.id])

        response = sign_in(alice).post(url, {"text": "And\r\nthen?"}, headers=JSON)

        answer = response.json()
        reply = get_reply()
        assert (response.status_code, answer["reply"], answer["message"]) == (202, str(reply.id), str(reply.parent_id))
        assert "And\nthen?" in answer["html"]
        assert f'data-reply="{reply.id}"' in answer["html"]

    def test_second_try_with_the_same_key_adds_nothing(self, alice: User, chat: Conversation) -> None:
        url, client = reverse("conversations:send", args=[chat.id]), sign_in(alice)
        data = {"text": "And then?", "idempotency_key": "k-1"}

        first, second = client.post(url, data, headers=JSON).json(), client.post(url, data, headers=JSON).json()

        assert first["reply"] == second["reply"]
        assert Message.objects.filter(text="And then?").count() == 1

    def test_while_a_reply_runs_the_text_is_kept(self, alice: User, chat: Conversation, settings: Settings) -> None:
        settings.QUEUE_WHILE_RUNNING = False
        url, client = reverse("conversations:send", args=[chat.id]), sign_in(alice)
        client.post(url, {"text": "First"})

        response = client.post(url, {"text": "Second <b>"})

        assert response.status_code == 422
        assert "A reply is still being written" in read(response)
        assert "Second &lt;b&gt;</textarea>" in read(response)
        assert not Message.objects.filter(text__startswith="Second").exists()

    def test_script_gets_the_error_in_its_shape(self, alice: User, chat: Conversation, settings: Settings) -> None:
        settings.QUEUE_WHILE_RUNNING = False
        url, client = reverse("conversations:send", args=[chat.id]), sign_in(alice)
        client.post(url, {"text": "First"})

        response = client.post(url, {"text": "Second"}, headers=JSON)

        assert response.status_code == 409
        assert response.json()["error"]["code"] == "reply_running"

    @pytest.mark.parametrize("data", [{"text": " "}, {"text": "x", "model": "nonsense"}, {"text": "x", "model": str(uuid4())}])
    def test_refused_message_stays_in_the_composer_of_the_first_page(
        self, data: dict[str, str], alice: User, model: ChatModel
    ) -> None:
        response = sign_in(alice).post(reverse("conversations:new"), data)

        assert response.status_code == 422
        assert f"{data['text']}</textarea>" in read(response)
        assert not Conversation.objects.exists()

    def test_first_message_leads_to_its_conversation(self, alice: User, model: ChatModel) -> None:
        response = sign_in(alice).post(reverse("conversations:new"), {"text": "Hello"}, headers=JSON)

        assert response.status_code == 201
        assert response.json()["url"] == reverse("conversations:detail", args=[Conversation.objects.get().id])


def test_stopping_what_has_ended_is_no_error(alice: User, chat: Conversation) -> None:
    response = sign_in(alice).post(reverse("conversations:stop", args=[get_reply().id]), headers=JSON)

    assert (response.status_code, response.json()) == (200, {})


def test_retry_makes_a_sibling_and_shows_only_that(alice: User, chat: Conversation) -> None:
    old = get_reply()

    answer = sign_in(alice).post(reverse("conversations:retry", args=[old.id]), headers=JSON).json()

    page = read(sign_in(alice).get(reverse("conversations:detail", args=[chat.id])))
    assert f"m-{answer['reply']}" in page
    assert f"m-{old.id}" not in page
    assert Message.objects.get(id=old.id).text


def test_rename_without_a_title_says_so(alice: User, chat: Conversation) -> None:
    url, client = reverse("conversations:rename", args=[chat.id]), sign_in(alice)

    page, answer = client.post(url, {"title": " "}), client.post(url, {"title": " "}, headers=JSON)

    assert (page.status_code, answer.status_code) == (422, 400)
    assert "Give the chat a title." in read(page)
    assert answer.json()["error"]["message"] == "Give the chat a title."


def test_delete_asks_first(alice: User, chat: Conversation) -> None:
    response = sign_in(alice).get(reverse("conversations:delete", args=[chat.id]))

    assert "removed for good" in read(response)
    assert Conversation.objects.exists()


class TestFooter:
    @pytest.mark.parametrize(
        ("state", "fields", "words"),
        [
            (State.STOPPED, {}, "Stopped"),
            (State.INTERRUPTED, {}, "This reply was interrupted."),
            (State.FAILED, {"error_message": "The model is busy.", "is_error_retryable": True}, "The model is busy."),
            (State.DONE, {"completion_tokens": 1204}, "1,204 tokens"),
        ],
    )
    def test_says_how_the_reply_ended(
        self, state: State, fields: dict[str, Any], words: str, alice: User, chat: Conversation
    ) -> None:
        end(get_reply(), state=state, **fields)

        page = read(sign_in(alice).get(get_url("footer")))

        assert words in page
        assert reverse("conversations:retry", args=[get_reply().id]) in page

    def test_what_a_retry_cannot_help_offers_none(self, alice: User, chat: Conversation) -> None:
        end(get_reply(), state=State.FAILED, text="", error_message="Refused.", is_error_retryable=False)

        assert "data-retry" not in read(sign_in(alice).get(get_url("footer")))

    @pytest.mark.parametrize(("make", "is_shown"), [(make_ada, True), (make_user, False)])
    def test_details_are_for_staff(self, make: Any, is_shown: bool, model: ChatModel) -> None:
        user = make()
        end(services.start_conversation(user=user, text="x").reply, state=State.FAILED, error_code="provider_refused")

        assert ("provider_refused" in read(sign_in(user).get(get_url("footer")))) is is_shown


def test_running_reply_reloads_the_page_of_a_reader_without_scripts(alice: User, chat: Conversation) -> None:
    url, client = reverse("conversations:detail", args=[chat.id]), sign_in(alice)
    refresh = '<noscript><meta http-equiv="refresh"'
    assert refresh not in read(client.get(url))

    services.send_message(user=alice, conversation_id=chat.id, text="More")

    page = read(client.get(url))
    assert refresh in page
    assert reverse("conversations:stop", args=[get_reply().id]) in page
    assert "data-running" in page


class TestNoModel:
    def test_staff_is_led_to_the_providers(self) -> None:
        page = read(sign_in(make_ada()).get(reverse("conversations:new")))

        assert "/admin/providers/provider/add/" in page

    def test_others_are_told_whom_to_ask(self, alice: User) -> None:
        page = read(sign_in(alice).get(reverse("conversations:new")))

        assert "Ask your administrator" in page
        assert "/admin/" not in page


@pytest.mark.parametrize("is_demo", [True, False])
def test_demo_model_is_called_so(is_demo: bool, alice: User, model: ChatModel) -> None:
    ChatModel.objects.update(is_demo=is_demo)

    page = read(sign_in(alice).get(reverse("conversations:new")))

    assert ("data-demo>Demo<" in page) is is_demo


class TestSidebar:
    @pytest.fixture
    def many(self, alice: User) -> None:
        now = timezone.now()
        Conversation.objects.bulk_create(
            Conversation(owner=alice, title=f"Chat {number}", updated_at=now - timedelta(minutes=number))
            for number in range(45)
        )

    def test_pages_follow_each_other_without_a_gap(self, alice: User, many: None) -> None:
        client = sign_in(alice)
        first = read(client.get(reverse("conversations:new")))
        link = next(element.get("hx-get") for element in find_all(first) if element.get("hx-get"))

        second = read(client.get(str(link), headers={"HX-Request": "true"}))

        titles = [*list_titles(first), *list_titles(second)]
        assert titles == [f"Chat {number}" for number in range(45)]
        assert "hx-get" not in second

    def test_without_scripts_the_older_ones_are_a_page(self, alice: User, many: None) -> None:
        response = sign_in(alice).get(reverse("conversations:list"))

        assert 'data-nav="open"' in read(response)

    @pytest.mark.parametrize("before", ["nonsense", "2026-13-45T99:99:99Z", "2026-01-01T00:00:00", "\x00"])
    def test_odd_times_show_the_newest(self, before: str, alice: User, chat: Conversation) -> None:
        response = sign_in(alice).get(reverse("conversations:list"), {"before": before}, headers={"HX-Request": "true"})

        assert list_titles(read(response)) == ["What is a lease?"]


@pytest.mark.parametrize("zone", ["nonsense", "../../etc/passwd", "/etc/localtime", "", "America", "\x00"])
def test_made_up_time_zone_is_utc(zone: str, alice: User) -> None:
    client = sign_in(alice)
    client.cookies["tz"] = zone

    assert client.get(reverse("conversations:new")).status_code == 200


@pytest.mark.parametrize(
    ("days_ago", "label"),
    [(0, "Today"), (1, "Yesterday"), (2, "Previous 7 days"), (7, "Previous 7 days"), (8, "March"), (120, "November 2025")],
)
def test_chats_are_grouped_by_age(days_ago: int, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 3, 20, 12, tzinfo=timezone.get_default_timezone())
    monkeypatch.setattr(timezone, "now", lambda: now)

    assert get_age_label(Conversation(updated_at=now - timedelta(days=days_ago))) == label


def test_earlier_turns_come_in_pages(alice: User, chat: Conversation) -> None:
    for number in range(25):
        end(services.send_message(user=alice, conversation_id=chat.id, text=f"Question {number}").reply)
    client = sign_in(alice)
    page = read(client.get(reverse("conversations:detail", args=[chat.id])))
    link = next(element.get("hx-get") for element in find_all(page) if "earlier" in element.get("hx-get", ""))

    earlier = read(client.get(str(link)))

    ids = [element.get("id") for element in [*find_all(earlier), *find_all(page)] if element.get("id", "").startswith("m-")]
    assert ids == [f"m-{message.id}" for message in Message.objects.order_by("sequence")]


def test_before_something_that_is_no_id_is_nothing(alice: User, chat: Conversation) -> None:
    assert sign_in(alice).get(reverse("conversations:earlier", args=[chat.id]), {"before": "x'"}).status_code == 404


class TestTheme:
    def test_is_kept_in_a_cookie_and_shown(self, alice: User, model: ChatModel) -> None:
        client = sign_in(alice)

        response = client.post(reverse("conversations:theme"), {"theme": "dark", "next": "/chat/?a=1"})

        assert response["Location"] == "/chat/?a=1"
        assert '<html lang="en" data-theme="dark">' in read(client.get("/chat/"))

    @pytest.mark.parametrize("address", ["//evil.test", "https://evil.test/", "/\\evil.test", "javascript:alert(1)", ""])
    def test_leads_only_to_ourselves(self, address: str, client: Client) -> None:
        response = client.post(reverse("conversations:theme"), {"theme": "dark", "next": address})

        assert response["Location"] == "/chat/"

    def test_odd_values_are_dropped(self, alice: User, model: ChatModel) -> None:
        client = sign_in(alice)
        assert "theme" not in client.post(reverse("conversations:theme"), {"theme": NASTY}).cookies
        client.cookies["theme"] = "x onload=alert(1)"

        assert '<html lang="en">' in read(client.get("/chat/"))


def find_all(page: str) -> Iterator[Any]:
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    return (element for element in tree.iter() if isinstance(element.tag, str))


def list_titles(page: str) -> list[str]:
    rows = [element for element in find_all(page) if element.tag == "li" and element.get("class") == "chat"]
    return [row[0].text for row in rows]


def list_inline(page: str) -> list[str]:
    """What a strict content security policy would refuse, and what nobody but an attacker would have written."""
    return [
        f"{element.tag} {dict(element.attrib)}"
        for element in find_all(page)
        if element.tag == "style"
        or (element.tag == "script" and not element.get("src"))
        or (element.tag == "img")
        or any(name == "style" or name.startswith("on") for name in element.attrib)
    ]


@pytest.mark.parametrize("name", ["new", "detail", "rename", "delete", "footer", "turn", "earlier", "edit", "retry"])
def test_text_of_people_and_models_is_never_markup(name: str, alice: User, model: ChatModel) -> None:
    ChatModel.objects.update(label=NASTY, description=NASTY)
    User.objects.update(name=NASTY)
    reply = services.start_conversation(user=alice, text=NASTY, model_id=model.id).reply
    end(reply, text=NASTY, state=State.FAILED, reasoning=NASTY, error_message=NASTY, model_label=NASTY)
    Conversation.objects.update(title=NASTY)

    page = read(sign_in(alice).get(get_url(name)))

    assert "alert(1)" in page
    assert list_inline(page) == []


def test_message_is_shown_as_it_was_typed(alice: User, model: ChatModel) -> None:
    text = "  <b>two</b>\n\n   lines & `code`".strip()
    services.start_conversation(user=alice, text=text, model_id=model.id)

    bubble = next(e for e in find_all(read(sign_in(alice).get(get_url("detail")))) if e.get("class") == "bubble")

    assert bubble.text == text


def test_reply_is_rendered_block_by_block(alice: User, chat: Conversation) -> None:
    end(get_reply(), text="One **bold**\n\nTwo")

    page = read(sign_in(alice).get(get_url("detail")))

    assert page.count('<div class="blk">') == 2
    assert "<strong>bold</strong>" in page
    assert json.dumps("One **bold**")[1:-1] in page  # what the copy button copies


class TestBranches:
    @pytest.fixture
    def branched(self, alice: User, chat: Conversation) -> Message:
        """The first of two replies to one message; the second is shown."""
        first = get_reply()
        end(services.regenerate_reply(user=alice, message_id=first.id), text="Another answer.")
        return first

    def test_forms_lead_to_the_neighbours(self, alice: User, branched: Message) -> None:
        page = read(sign_in(alice).get(get_url("detail")))

        assert f'action="{reverse("conversations:select", args=[branched.id])}"' in page
        assert "<span>2 / 2</span>" in page

    def test_without_scripts_the_other_branch_is_shown(self, alice: User, branched: Message) -> None:
        client = sign_in(alice)

        page = read(client.post(reverse("conversations:select", args=[branched.id]), follow=True))

        assert f'id="m-{branched.id}"' in page
        assert "<span>1 / 2</span>" in page
        assert "Another answer." not in page

    def test_script_gets_the_thread(self, alice: User, branched: Message) -> None:
        answer = sign_in(alice).post(reverse("conversations:select", args=[branched.id]), headers=JSON).json()

        assert list_turns(answer["html"]) == [f"m-{branched.parent_id}", f"m-{branched.id}"]

    def test_footer_of_an_ended_reply_has_them_too(self, alice: User, branched: Message) -> None:
        url = reverse("conversations:footer", args=[branched.id])

        assert "<span>1 / 2</span>" in read(sign_in(alice).get(url))

    def test_reply_on_a_branch_that_is_not_shown_is_no_news(self, alice: User, chat: Conversation, branched: Message) -> None:
        url = reverse("conversations:turn", args=[chat.id, branched.id])

        assert (sign_in(alice).get(url).status_code, sign_in(alice).get(get_url("turn")).status_code) == (204, 200)


class TestEdit:
    def test_page_has_the_text(self, alice: User, chat: Conversation) -> None:
        assert "What is a lease?</textarea>" in read(sign_in(alice).get(get_url("edit")))

    def test_script_gets_the_new_turns(self, alice: User, chat: Conversation) -> None:
        answer = sign_in(alice).post(get_url("edit"), {"text": "Which lease?"}, headers=JSON).json()

        assert "Which lease?" in answer["html"]
        assert "<span>2 / 2</span>" in answer["html"]

    def test_refused_text_stays_on_the_page(self, alice: User, chat: Conversation) -> None:
        response = sign_in(alice).post(get_url("edit"), {"text": " x" * 40_000})

        assert response.status_code == 422
        assert "at most 64,000" in read(response)
        assert " x x</textarea>" in read(response)

    def test_reply_cannot_be_edited_nor_a_message_written_again(self, alice: User, chat: Conversation) -> None:
        reply, client = get_reply(), sign_in(alice)

        assert client.get(reverse("conversations:edit", args=[reply.id])).status_code == 404
        assert client.get(reverse("conversations:retry", args=[reply.parent_id])).status_code == 404


class TestContinue:
    @pytest.mark.parametrize(
        ("state", "text", "is_offered"),
        [(State.STOPPED, "So", True), (State.INTERRUPTED, "So", True), (State.STOPPED, "", False), (State.DONE, "So", False)],
    )
    def test_is_offered_where_it_helps(
        self, state: State, text: str, is_offered: bool, alice: User, chat: Conversation
    ) -> None:
        end(get_reply(), state=state, text=text, finish_reason="stop")

        assert (get_url("continue") in read(sign_in(alice).get(get_url("footer")))) is is_offered

    def test_new_reply_shows_the_old_text_at_once(self, alice: User, chat: Conversation) -> None:
        answer = sign_in(alice).post(get_url("continue"), headers=JSON).json()

        assert "<strong>promise</strong>" in answer["html"]
        assert 'data-state="queued"' in answer["html"]

    def test_whole_reply_says_that_there_is_nothing_to_continue(self, alice: User, chat: Conversation) -> None:
        end(get_reply(), finish_reason="stop")

        answer = sign_in(alice).post(get_url("continue"), headers=JSON)

        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "reply_complete")


class TestSeveralModels:
    @pytest.fixture
    def second(self, model: ChatModel) -> ChatModel:
        return ChatModel.objects.create(provider=model.provider, name="second", label="Second")

    def test_replies_stand_side_by_side_until_one_is_used(
        self, alice: User, chat: Conversation, model: ChatModel, second: ChatModel
    ) -> None:
        client = sign_in(alice)
        data = {"text": "Both?", "model": str(model.id), "models": [str(second.id)]}
        answer = client.post(reverse("conversations:send", args=[chat.id]), data, headers=JSON).json()
        replies = list(Message.objects.filter(parent=answer["message"]).order_by("sequence"))
        for html in (answer["html"], read(client.get(get_url("detail"))), read(client.get(get_url("turn")))):
            assert f'id="g-{answer["message"]}"' in html
            assert all(f'data-reply="{reply.id}"' in html for reply in replies)
        for reply in replies:
            end(reply)

        page = read(client.post(reverse("conversations:select", args=[replies[1].id]), follow=True))

        assert "Use this one" not in page
        assert f'data-reply="{replies[1].id}"' in page
        assert f'data-reply="{replies[0].id}"' not in page

    def test_first_message_may_ask_several_too(self, alice: User, model: ChatModel, second: ChatModel) -> None:
        sign_in(alice).post(reverse("conversations:new"), {"text": "Both?", "models": [str(model.id), str(second.id)]})

        assert Message.objects.filter(role=Author.ASSISTANT).count() == 2

    @pytest.mark.parametrize("models", [["nonsense"], [str(uuid4())]])
    def test_unknown_model_is_refused(self, models: list[str], alice: User, chat: Conversation) -> None:
        data = {"text": "Both?", "models": models}

        answer = sign_in(alice).post(reverse("conversations:send", args=[chat.id]), data, headers=JSON)

        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "model_unavailable")

    def test_picker_offers_it_only_where_there_is_a_choice(self, alice: User, model: ChatModel) -> None:
        client = sign_in(alice)
        assert 'name="models"' not in read(client.get(reverse("conversations:new")))
        ChatModel.objects.create(provider=model.provider, name="second")
        assert read(client.get(reverse("conversations:new"))).count('name="models"') == 2


class TestQueue:
    @pytest.fixture
    def waiting(self, alice: User, chat: Conversation) -> Message:
        """A reply that waits for one which is being written."""
        for text in ("First", "Second"):
            sign_in(alice).post(reverse("conversations:send", args=[chat.id]), {"text": text})
        return get_reply()

    def test_is_marked_and_stop_is_for_the_one_being_written(self, alice: User, waiting: Message) -> None:
        page = read(sign_in(alice).get(get_url("detail")))
        assert waiting.parent

        assert page.count("data-waiting>") == 1
        assert f'data-after="{waiting.parent.parent_id}"' in page
        assert f'action="{reverse("conversations:stop", args=[waiting.parent.parent_id])}" hidden' in page

    def test_script_hears_that_it_is_withdrawn(self, alice: User, waiting: Message) -> None:
        answer = sign_in(alice).post(reverse("conversations:stop", args=[waiting.id]), headers=JSON)

        assert answer.json() == {"withdrawn": True}
        assert not Draft.objects.exclude(text="").exists()
        assert f"m-{waiting.id}" not in read(sign_in(alice).get(get_url("detail")))

    def test_without_scripts_its_text_is_back_in_the_box(self, alice: User, chat: Conversation, waiting: Message) -> None:
        drafts.save_draft(user=alice, conversation_id=chat.id, text="Third", revision=9)

        page = read(sign_in(alice).post(reverse("conversations:stop", args=[waiting.id]), follow=True))

        assert "Second\n\nThird</textarea>" in page


def test_opening_costs_the_same_at_10_and_at_1000_messages(alice: User, model: ChatModel) -> None:
    counts = []
    for length in (10, 1_000):
        chat = services.create_conversation(user=alice, model_id=model.id)
        chain = [
            Message(conversation=chat, sequence=number, role=Author.USER if number % 2 else Author.ASSISTANT, text="x")
            for number in range(1, length + 1)
        ]
        for message, parent in zip(chain[1:], chain, strict=False):
            message.parent = parent
        Message.objects.bulk_create(chain)
        Conversation.objects.filter(id=chat.id).update(active_leaf=chain[-1], message_count=length)
        client = sign_in(alice)
        with CaptureQueriesContext(connection) as queries:
            page = read(client.get(reverse("conversations:detail", args=[chat.id])))
        assert f"m-{chain[-1].id}" in page
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 10


def list_turns(page: str) -> list[str]:
    return [element.get("id") for element in find_all(page) if element.get("id", "").startswith("m-")]
