"""Drafts: the last write wins, a late one changes nothing, and what was sent never comes back."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import User
from conversations import drafts, errors, services
from conversations.models import Conversation, Draft
from providers.models import ChatModel
from tests.fake_provider import FakeProvider, make_model
from tests.people import make_bob, make_user

pytestmark = pytest.mark.django_db(transaction=True)
JSON = {"Accept": "application/json"}


@pytest.fixture
def model(fake: FakeProvider) -> ChatModel:
    return make_model(fake)


@pytest.fixture
def alice() -> User:
    return make_user()


@pytest.fixture
def chat(alice: User, model: ChatModel) -> Conversation:
    return services.create_conversation(user=alice)


def sign_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def save(user: User, text: str, revision: int, chat: Conversation | None = None) -> int:
    return drafts.save_draft(user=user, conversation_id=chat.id if chat else None, text=text, revision=revision).revision


def read(user: User, chat: Conversation | None = None) -> str:
    return drafts.find_draft(user=user, conversation_id=chat.id if chat else None).text


def test_last_write_wins(alice: User, chat: Conversation) -> None:
    assert save(alice, "Desk", 1, chat) == 1
    assert save(alice, "Phone", 2, chat) == 2
    assert read(alice, chat) == "Phone"


@pytest.mark.parametrize("revision", [1, 2])
def test_late_save_changes_nothing_and_hears_the_revision(revision: int, alice: User, chat: Conversation) -> None:
    save(alice, "Newer", 2, chat)
    saved = drafts.save_draft(user=alice, conversation_id=chat.id, text="Older", revision=revision)
    assert (saved.revision, saved.is_kept) == (2, False)
    assert read(alice, chat) == "Newer"


def test_every_chat_and_the_first_page_have_their_own(alice: User, chat: Conversation) -> None:
    save(alice, "Here", 1, chat)
    save(alice, "New", 1)
    save(make_bob(), "Bob's", 1)
    assert (read(alice, chat), read(alice)) == ("Here", "New")


def test_draft_is_kept_as_typed_and_may_be_emptied(alice: User, chat: Conversation) -> None:
    save(alice, "  two\n\nlines ", 1, chat)
    assert read(alice, chat) == "  two\n\nlines "
    save(alice, "", 2, chat)
    assert read(alice, chat) == ""


@pytest.mark.parametrize("text", ["x" * 64_001, "a\x00b", "\ud800"])
def test_what_cannot_be_kept_is_refused(text: str, alice: User, chat: Conversation) -> None:
    save(alice, "Good", 1, chat)
    with pytest.raises(errors.TextInvalid):
        save(alice, text, 2, chat)
    assert read(alice, chat) == "Good"


def test_stranger_finds_nothing_and_changes_nothing(alice: User, chat: Conversation) -> None:
    save(alice, "Mine", 1, chat)
    with pytest.raises(errors.ConversationNotFound):
        save(make_bob(), "Bob's", 2, chat)
    assert Draft.objects.get().text == "Mine"


class TestSend:
    def test_empties_the_draft_and_no_save_under_way_brings_it_back(self, alice: User, chat: Conversation) -> None:
        save(alice, "Hel", 1, chat)
        services.send_message(user=alice, conversation_id=chat.id, text="Hello", draft_revision=2)
        assert save(alice, "Hello", 2, chat) == 3
        assert read(alice, chat) == ""

    def test_first_save_under_way_does_not_come_back_either(self, alice: User, chat: Conversation) -> None:
        services.send_message(user=alice, conversation_id=chat.id, text="Hello", draft_revision=1)
        save(alice, "Hello", 1, chat)
        assert read(alice, chat) == ""

    def test_of_a_program_leaves_it_alone(self, alice: User, chat: Conversation) -> None:
        save(alice, "Typing", 1, chat)
        services.send_message(user=alice, conversation_id=chat.id, text="Hello")
        assert read(alice, chat) == "Typing"

    def test_that_is_refused_keeps_it(self, alice: User, chat: Conversation) -> None:
        services.send_message(user=alice, conversation_id=chat.id, text="First")
        save(alice, "Second", 1, chat)
        with pytest.raises(errors.ReplyRunning):
            services.send_message(user=alice, conversation_id=chat.id, text="Second", draft_revision=1)
        assert read(alice, chat) == "Second"

    def test_of_a_first_message_empties_the_one_of_the_first_page(self, alice: User, chat: Conversation) -> None:
        save(alice, "Hello", 1)
        save(alice, "Here", 1, chat)
        services.start_conversation(user=alice, text="Hello", draft_revision=1)
        assert (read(alice), read(alice, chat)) == ("", "Here")


def test_parallel_saves_end_with_the_highest_revision(alice: User, chat: Conversation) -> None:
    def work(revision: int) -> None:
        try:
            save(alice, f"Text {revision}", revision, chat)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, [5, 3, 12, 1, 9, 2, 11, 4, 10, 6, 8, 7]))
    assert read(alice, chat) == "Text 12"
    assert Draft.objects.count() == 1


class TestPages:
    def test_draft_of_one_device_stands_in_the_box_of_another(self, alice: User, chat: Conversation) -> None:
        url = reverse("conversations:draft", args=[chat.id])
        answer = sign_in(alice).post(url, {"text": "From <b>here</b>", "revision": 1}, headers=JSON)
        page = sign_in(alice).get(reverse("conversations:detail", args=[chat.id])).content.decode()
        assert answer.json() == {"revision": 1, "is_kept": True}
        assert "From &lt;b&gt;here&lt;/b&gt;</textarea>" in page
        assert 'name="draft_revision" value="1"' in page

    def test_first_page_has_its_own(self, alice: User, model: ChatModel) -> None:
        sign_in(alice).post(reverse("conversations:draft_new"), {"text": "A beginning", "revision": 1}, headers=JSON)
        page = sign_in(alice).get(reverse("conversations:new")).content.decode()
        assert "A beginning</textarea>" in page

    def test_sending_from_the_page_empties_it(self, alice: User, chat: Conversation) -> None:
        save(alice, "Hello", 1, chat)
        data = {"text": "Hello", "draft_revision": 1}
        assert sign_in(alice).post(reverse("conversations:send", args=[chat.id]), data).status_code == 302
        assert read(alice, chat) == ""

    @pytest.mark.parametrize(
        "data", [{}, {"revision": 0}, {"revision": "x"}, {"revision": 2**63}, {"revision": 1, "text": "x" * 64_001}]
    )
    def test_nonsense_gets_a_clear_400(self, data: dict[str, Any], alice: User, chat: Conversation) -> None:
        answer = sign_in(alice).post(reverse("conversations:draft", args=[chat.id]), data, headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "text_invalid")
        assert not Draft.objects.filter(revision__gt=0).exists()
