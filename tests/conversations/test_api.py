"""The API's doors: owner, stranger, anonymous, wrong method; one shape of errors."""

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from accounts import tokens
from accounts.models import User
from conversations import api, generation
from conversations.models import Conversation, Message, State
from providers import runtime
from tests.conversations.chats import answer, send
from tests.fake_provider import FakeProvider, make_model
from tests.people import make_bob, make_user

pytestmark = pytest.mark.django_db(transaction=True)
DOORS = {
    "conversations/{conversation}": ["get", "patch", "delete"],
    "conversations/{conversation}/messages": ["get", "post"],
    "messages/{reply}": ["get"],
    "messages/{reply}/stop": ["post"],
    "messages/{reply}/regenerate": ["post"],
    "messages/{reply}/continue": ["post"],
    "messages/{reply}/select": ["post"],
    "messages/{message}/edit": ["post"],
    "messages/{reply}/events": ["get"],
}
EVERY_DOOR = [(door, method) for door, methods in DOORS.items() for method in methods]


def make_client(user: User) -> Client:
    return Client(headers={"Authorization": f"Bearer {tokens.create_pair(user=user).access}"})


def call(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    data = json.dumps(body) if body is not None else ""
    return client.generic(method.upper(), f"/api/v1/{path}", data, content_type="application/json", headers=headers)


def fill(door: str, sent: Any) -> str:
    return door.format(conversation=sent.message.conversation_id, message=sent.message.id, reply=sent.reply.id)


def build_body(door: str, method: str) -> dict[str, str] | None:
    if method == "patch":
        return {"title": "Mine"}
    return {"text": "Mine"} if method == "post" and door.endswith(("messages", "edit")) else None


@pytest.mark.parametrize(("door", "method"), EVERY_DOOR)
def test_stranger_gets_404_and_changes_nothing(fake: FakeProvider, door: str, method: str) -> None:
    sent = send(fake)
    before = list(Message.objects.values()), list(Conversation.objects.values())
    answered = call(make_client(make_bob()), method, fill(door, sent), build_body(door, method))
    assert answered.status_code == 404
    assert answered.json()["error"]["code"] == "not_found"
    assert (list(Message.objects.values()), list(Conversation.objects.values())) == before


@pytest.mark.parametrize(("door", "method"), EVERY_DOOR)
def test_anonymous_gets_401(fake: FakeProvider, door: str, method: str) -> None:
    sent = send(fake)
    answered = call(Client(), method, fill(door, sent), build_body(door, method))
    assert answered.status_code == 401
    assert answered.json()["error"]["code"] == "not_authenticated"


@pytest.mark.parametrize("door", DOORS)
def test_session_cookie_does_not_open_the_api(fake: FakeProvider, door: str) -> None:
    sent = send(fake)
    client = Client()
    client.force_login(sent.message.conversation.owner)
    assert call(client, DOORS[door][0], fill(door, sent), build_body(door, DOORS[door][0])).status_code == 401


@pytest.mark.parametrize("door", DOORS)
def test_wrong_method_gets_405(fake: FakeProvider, door: str) -> None:
    sent = send(fake)
    client = make_client(sent.message.conversation.owner)
    for method in {"get", "post", "put", "patch", "delete"} - set(DOORS[door]):
        answered = call(client, method, fill(door, sent), {})
        assert (method, answered.status_code) == (method, 405)
        assert answered.json()["error"]["code"] == "method_not_allowed"


def test_owner_sends_reads_and_continues(fake: FakeProvider) -> None:
    model, client = make_model(fake), make_client(make_user())
    conversation = call(client, "post", "conversations", {"model": str(model.id)})
    assert conversation.status_code == 201
    path = f"conversations/{conversation.json()['id']}/messages"
    sent = call(client, "post", path, {"text": "Hello"}, **{"Idempotency-Key": "one"})
    again = call(client, "post", path, {"text": "Hello"}, **{"Idempotency-Key": "one"})
    other = call(client, "post", path, {"text": "Other"}, **{"Idempotency-Key": "one"})
    assert (sent.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert again.json()["reply"]["id"] == sent.json()["reply"]["id"]
    generation.run(sent.json()["reply"]["id"])
    reply = call(client, "get", f"messages/{sent.json()['reply']['id']}").json()
    assert (reply["role"], reply["state"], reply["model"]) == ("assistant", "done", "Fake")
    assert reply["usage"]["completion_tokens"] > 0
    messages = call(client, "get", path).json()
    assert [message["role"] for message in messages["messages"]] == ["user", "assistant"]
    assert not messages["has_more"]


@pytest.mark.parametrize("door", ["messages/{reply}/regenerate", "messages/{reply}/continue", "messages/{message}/edit"])
def test_the_same_key_makes_one_reply(fake: FakeProvider, door: str) -> None:
    sent = send(fake)
    Message.objects.filter(id=sent.reply.id).update(state=State.STOPPED, text="Half of")
    client, path = make_client(sent.message.conversation.owner), fill(door, sent)
    body = build_body(door, "post") or {}
    first, again = (call(client, "post", path, body, **{"Idempotency-Key": "one"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["reply"]["id"] == again.json()["reply"]["id"]
    assert Message.objects.filter(state=State.QUEUED).count() == 1
    other = call(
        client, "post", fill("messages/{reply}/regenerate", sent), {"model": str(uuid4())}, **{"Idempotency-Key": "one"}
    )
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    without = call(client, "post", path, body)
    assert without.status_code == 409


def test_running_reply_refuses_another_message(fake: FakeProvider) -> None:
    sent = send(fake)
    client = make_client(sent.message.conversation.owner)
    answered = call(client, "post", f"conversations/{sent.message.conversation_id}/messages", {"text": "More"})
    assert answered.status_code == 409
    assert answered.json()["error"] == answered.json()["error"] | {"code": "reply_running", "retryable": True}


def test_message_may_wait_for_the_running_reply(fake: FakeProvider) -> None:
    sent = send(fake)
    client = make_client(sent.message.conversation.owner)
    body = {"text": "More", "when_running": "queue"}
    answered = call(client, "post", f"conversations/{sent.message.conversation_id}/messages", body)
    assert answered.status_code == 202
    assert (answered.json()["message"]["parent"], answered.json()["reply"]["state"]) == (str(sent.reply.id), "queued")
    assert call(client, "post", f"messages/{answered.json()['reply']['id']}/stop").status_code == 202
    messages = call(client, "get", f"conversations/{sent.message.conversation_id}/messages").json()["messages"]
    assert [message["id"] for message in messages] == [str(sent.message.id), str(sent.reply.id)]


def test_several_models_answer_at_once_and_one_is_selected(fake: FakeProvider) -> None:
    first = answer(fake)
    client = make_client(first.conversation.owner)
    provider = first.model.provider if first.model else None
    ids = [str(first.model_id), str(make_model(fake, provider=provider, name="other").id)]
    path = f"conversations/{first.conversation_id}/messages"
    sent = call(client, "post", path, {"text": "Both?", "models": ids}).json()
    assert sent["replies"][0] == sent["reply"]
    assert len(sent["replies"]) == 2
    selected = call(client, "post", f"messages/{sent['replies'][1]['id']}/select")
    assert selected.status_code == 200
    assert selected.json() == call(client, "get", path).json()
    newest = selected.json()["messages"][-1]
    assert (newest["id"], newest["siblings"]) == (sent["replies"][1]["id"], {"position": 2, "count": 2})
    assert "siblings" not in call(client, "get", f"messages/{newest['id']}").json()


def test_stopped_reply_is_continued_and_a_whole_one_is_not(fake: FakeProvider) -> None:
    reply = answer(fake)
    client = make_client(reply.conversation.owner)
    refused = call(client, "post", f"messages/{reply.id}/continue")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "reply_complete")
    Message.objects.filter(id=reply.id).update(state=State.STOPPED)
    continued = call(client, "post", f"messages/{reply.id}/continue")
    assert continued.status_code == 202
    assert continued.json()["reply"] == continued.json()["reply"] | {"text": reply.text, "state": "queued"}


def test_stop_rename_delete(fake: FakeProvider) -> None:
    sent = send(fake)
    client = make_client(sent.message.conversation.owner)
    path = f"conversations/{sent.message.conversation_id}"
    assert call(client, "post", f"messages/{sent.reply.id}/stop").status_code == 202
    assert call(client, "post", f"messages/{sent.reply.id}/stop").status_code == 409
    assert call(client, "patch", path, {"title": "Leases"}).json()["title"] == "Leases"
    assert call(client, "delete", path).status_code == 204
    assert call(client, "get", path).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"text": ""},
        {"text": {"$ne": ""}},
        {"text": ["a"]},
        {"text": None},
        {"text": True},
        {"text": "a\x00b"},
        {"text": "x" * 64_001},
        {"text": "ok", "model": "nope"},
        {"text": "ok", "parent": 1e308},
        {"text": "ok", "role": "system"},
        {"text": "ok", "models": "all"},
        {"text": "ok", "models": ["nope"]},
        {"text": "ok", "models": [f"11111111-1111-4111-8111-11111111111{n}" for n in range(5)]},
        {"text": "ok", "when_running": "whenever"},
        [],
        "text",
    ],
)
def test_bad_input_gets_a_clear_400(fake: FakeProvider, body: Any) -> None:
    reply = answer(fake)
    client = make_client(reply.conversation.owner)
    answered = call(client, "post", f"conversations/{reply.conversation_id}/messages", body)
    assert answered.status_code == 400
    assert answered["Content-Type"] == "application/json"
    assert answered.json()["error"]["message"]
    assert Message.objects.count() == 2


def test_lone_surrogate_and_broken_json_get_400(fake: FakeProvider) -> None:
    reply = answer(fake)
    client = make_client(reply.conversation.owner)
    for raw in ('{"text": "\\ud800"}', '{"text":<script>x</script>', "\xff", '{"text": ' + "[" * 5000):
        path = f"/api/v1/conversations/{reply.conversation_id}/messages"
        answered = client.post(path, raw, content_type="application/json")
        assert answered.status_code == 400
        assert b"<script" not in answered.content


def test_list_shows_only_ones_own_and_refuses_nonsense(fake: FakeProvider) -> None:
    sent = send(fake)
    owner, bob = make_client(sent.message.conversation.owner), make_client(make_bob())
    assert [c["id"] for c in call(owner, "get", "conversations").json()["conversations"]] == [str(sent.message.conversation_id)]
    assert call(bob, "get", "conversations").json()["conversations"] == []
    assert call(owner, "get", "conversations?before=yesterday").status_code == 400


def test_events_carry_the_text_from_a_cursor(fake: FakeProvider) -> None:
    reply = answer(fake)
    user = reply.conversation.owner

    async def collect() -> list[Any]:
        return [json.loads(event.removeprefix("data: ")) async for event in api.stream_events(reply, at=10, user=user)]

    delta, finished = runtime.run(collect())
    assert (delta["at"], delta["text"]) == (10, reply.text[10:])
    assert (finished["type"], finished["state"], finished["length"]) == ("reply.finished", "done", len(reply.text))


def test_events_are_an_event_stream(fake: FakeProvider) -> None:
    reply = answer(fake)
    client = make_client(reply.conversation.owner)
    assert call(client, "get", f"messages/{reply.id}/events")["Content-Type"] == "text/event-stream"
    assert call(client, "get", f"messages/{reply.id}/events?at=-1").status_code == 400


def test_cost_of_a_send_does_not_grow(fake: FakeProvider) -> None:
    reply = answer(fake)
    user, conversation = reply.conversation.owner, reply.conversation
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            sent = call(make_client(user), "post", f"conversations/{conversation.id}/messages", {"text": "More"})
        counts.append(len(queries))
        Message.objects.filter(id=sent.json()["reply"]["id"]).update(state=State.DONE)
    assert counts[0] == counts[1] <= 20


def test_events_end_for_a_reader_who_was_switched_off(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "RECHECK_S", 0)
    sent = send(fake)
    user = sent.message.conversation.owner
    User.objects.update(is_active=False)

    async def collect() -> int:
        return len([event async for event in api.stream_events(sent.reply, at=0, user=user)])

    sent.reply.refresh_from_db()
    Message.objects.filter(id=sent.reply.id).update(text="Hello")
    assert runtime.run(collect()) == 1


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "nonsense"])
def test_times_beyond_the_calendar_are_refused(moment: str) -> None:
    assert call(make_client(make_user()), "get", f"conversations?before={moment}").status_code == 400


def test_one_person_cannot_take_all_places(fake: FakeProvider, settings: Settings) -> None:
    settings.REPLIES_AT_ONCE = 2
    user, model = make_user(), make_model(fake)
    client = make_client(user)
    statuses = []
    for _ in range(3):
        conversation = call(client, "post", "conversations", {"model": str(model.id)}).json()
        statuses.append(call(client, "post", f"conversations/{conversation['id']}/messages", {"text": "Hi"}).status_code)
    assert statuses == [202, 202, 429]
    assert Message.objects.filter(role="assistant").count() == 2


def test_schema_is_for_those_who_are_signed_in() -> None:
    assert call(Client(), "get", "schema").status_code == 401
    assert call(make_client(make_user()), "get", "schema").status_code == 200
