"""`chat.stream` against the fake, over real sockets and real rows."""

import asyncio
import time
from contextlib import aclosing
from uuid import uuid4

import pytest
from django.db import connections
from django_prometheus.db.backends.postgresql.base import DatabaseWrapper
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from providers import chat, http, metrics, runtime
from providers.adapters import openai
from providers.errors import (
    AddressRefused,
    ModelUnavailable,
    ProviderBroke,
    ProviderBusy,
    ProviderError,
    ProviderFailed,
    ProviderMoved,
    ProviderRefused,
    ProviderTimedOut,
    ProviderUnreachable,
    RequestRejected,
)
from providers.models import ChatModel, Provider
from providers.types import ChatRequest, Done, Event, ReasoningDelta, TextDelta, Turn, Usage
from tests.fake_provider import KEY, FakeProvider, make_model, make_provider

pytestmark = pytest.mark.django_db(transaction=True)
DEADLINE_S = 5.0


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "BACKOFF_BASE_S", 0.01)


@pytest.fixture
def model(fake: FakeProvider) -> ChatModel:
    return make_model(fake)


def build_request(model: ChatModel, text: str = "What is a tree?") -> ChatRequest:
    return ChatRequest(model_id=model.id, turns=(Turn("system", "Be brief."), Turn("user", text)), max_output_tokens=100)


async def collect(request: ChatRequest, into: list[Event]) -> None:
    async with aclosing(chat.stream(request)) as events:
        async for event in events:
            into.append(event)


def ask(model: ChatModel, text: str = "What is a tree?") -> list[Event]:
    events: list[Event] = []
    runtime.run(collect(build_request(model, text), events))
    return events


def ask_in_vain(model: ChatModel, error: type[ProviderError]) -> tuple[str, ProviderError]:
    """What was said before the error, and the error."""
    events: list[Event] = []
    with pytest.raises(error) as caught:
        runtime.run(collect(build_request(model), events))
    return join(events), caught.value


def join(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_text_usage_and_end_arrive_in_order(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(text="A tree is a *plant*. Ünïcödé 🌳.", reasoning="Hmm, trees.", chunk=3)
    events = ask(model)
    assert join(events) == "A tree is a *plant*. Ünïcödé 🌳."
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "Hmm, trees."
    assert events[-2:] == [Usage(6, 8), Done("stop")]


def test_the_request_carries_turns_parameters_and_key(fake: FakeProvider) -> None:
    model = make_model(
        fake,
        temperature=0.2,
        top_p=0.9,
        extra_parameters={"repeat_penalty": 1.1, "stream": False},
        max_output_tokens=50,
    )
    ask(model, "Hi")
    call = fake.calls[0]
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert call.json == {
        "model": "fake-small",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 50,
        "temperature": 0.2,
        "top_p": 0.9,
        "repeat_penalty": 1.1,
    }


def test_missing_usage_is_estimated_and_flagged(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(text="12345678", usage=False)
    assert ask(model)[-2:] == [Usage(6, 2, is_estimated=True), Done("stop")]


@pytest.mark.parametrize("reason", ["length", "content_filter", "tool_calls"])
def test_the_reason_is_passed_on(fake: FakeProvider, model: ChatModel, reason: str) -> None:
    fake.script(text="x", finish=reason)
    assert ask(model)[-1] == Done(reason)


@pytest.mark.parametrize(("finish", "done"), [("stop", False), (None, True)])
def test_either_sign_of_the_end_is_enough(fake: FakeProvider, model: ChatModel, finish: str | None, done: bool) -> None:
    fake.script(text="x", finish=finish, done=done)
    assert ask(model)[-1] == Done("stop")


def test_a_stream_without_an_end_is_broken_and_keeps_its_text(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(text="half an ans", finish=None, done=False, usage=False)
    assert ask_in_vain(model, ProviderBroke)[0] == "half an ans"
    assert len(fake.calls) == 1


def test_a_cut_connection_is_broken_and_not_repeated(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(text="word " * 200, cut_after=3000)
    text, _ = ask_in_vain(model, ProviderBroke)
    assert text
    assert ("word " * 200).startswith(text)
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    ("status", "error", "calls"),
    [
        (301, ProviderMoved, 1),
        (400, RequestRejected, 1),
        (401, ProviderRefused, 1),
        (403, ProviderRefused, 1),
        (404, RequestRejected, 1),
        (408, ProviderTimedOut, 1),
        (429, ProviderBusy, 3),
        (500, ProviderFailed, 3),
        (502, ProviderFailed, 3),
        (503, ProviderBusy, 3),
        (529, ProviderBusy, 3),
    ],
)
def test_each_status_has_its_error_and_number_of_attempts(
    fake: FakeProvider, model: ChatModel, status: int, error: type[ProviderError], calls: int
) -> None:
    fake.script(model="fake-small", status=status)
    _, raised = ask_in_vain(model, error)
    assert type(raised) is error
    assert len(fake.calls) == calls


def test_a_second_attempt_succeeds(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(status=503)
    fake.script(text="at last")
    assert join(ask(model)) == "at last"


def test_nothing_is_repeated_after_the_first_token(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(
        raw=[
            b'data: {"choices":[{"delta":{"content":"begun"}}]}\n\n',
            b'data: {"error":{"message":"no","code":500}}\n\n',
        ]
    )
    assert ask_in_vain(model, ProviderFailed)[0] == "begun"
    assert len(fake.calls) == 1


@pytest.mark.parametrize(
    ("given", "least_s", "most_s"),
    [("2", 2.0, 2.2), ("1000000", 60.0, 60.0), ("0", 0.0, 0.4), ("soon", 0.0, 0.4), ("-5", 0.0, 0.4)],
)
def test_retry_after_is_honoured_up_to_a_minute(
    fake: FakeProvider, model: ChatModel, monkeypatch: pytest.MonkeyPatch, given: str, least_s: float, most_s: float
) -> None:
    fake.script(model="fake-small", status=429, headers={"Retry-After": given})
    monkeypatch.setattr(chat, "MAX_ATTEMPTS", 1)
    _, error = ask_in_vain(model, ProviderBusy)
    monkeypatch.setattr(chat, "MAX_ATTEMPTS", 3)
    delay_s = chat.choose_delay(error, attempt=1)
    assert delay_s is not None
    assert least_s <= delay_s <= most_s


def test_waiting_never_goes_beyond_the_deadline(fake: FakeProvider, model: ChatModel, settings: Settings) -> None:
    settings.REPLY_TIMEOUT_S = 2
    fake.script(model="fake-small", status=429, headers={"Retry-After": "3"})
    started = time.monotonic()
    ask_in_vain(model, ProviderBusy)
    assert time.monotonic() - started < 1
    assert len(fake.calls) == 1


def test_silence_before_the_first_token_times_out(fake: FakeProvider, model: ChatModel, settings: Settings) -> None:
    settings.REPLY_FIRST_TOKEN_TIMEOUT_S = 0.2
    fake.script(hang=True)
    ask_in_vain(model, ProviderTimedOut)
    assert len(fake.calls) == 1
    fake.calls[0].wait_closed()


def test_silence_in_the_middle_times_out_and_keeps_the_text(fake: FakeProvider, model: ChatModel, settings: Settings) -> None:
    settings.REPLY_IDLE_TIMEOUT_S = 0.2
    fake.script(text="abcdef", chunk=2, hang_after=3)
    text, _ = ask_in_vain(model, ProviderTimedOut)
    assert text == "abcd"
    fake.calls[0].wait_closed()


def test_a_trickle_ends_at_the_total_deadline(fake: FakeProvider, model: ChatModel, settings: Settings) -> None:
    settings.REPLY_TIMEOUT_S = 0.4
    fake.script(text="x" * 1000, chunk=1, delay_s=0.05)
    started = time.monotonic()
    text, error = ask_in_vain(model, ProviderTimedOut)
    assert text.startswith("xx")
    assert time.monotonic() - started < 2
    assert "deadline" in error.detail


@pytest.mark.parametrize("fields", [{"hang": True}, {"text": "x" * 1000, "chunk": 1, "delay_s": 0.05}])
def test_cancelling_closes_the_connection_within_a_second(
    fake: FakeProvider, model: ChatModel, fields: dict[str, object]
) -> None:
    fake.script(**fields)
    future = runtime.submit(collect(build_request(model), []))
    call = fake.wait_for_calls()
    cancelled_at = time.monotonic()
    future.cancel()
    call.wait_closed()
    assert call.is_cut
    assert call.closed_at is not None
    assert call.closed_at - cancelled_at < 1


def test_leaving_the_stream_early_closes_the_connection(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(text="x" * 1000, chunk=1, delay_s=0.05)

    async def take_one() -> Event:
        async with aclosing(chat.stream(build_request(model))) as events:
            return await anext(events)

    assert runtime.run(take_one()) == TextDelta("x")
    fake.calls[0].wait_closed(1)
    assert fake.calls[0].is_cut


def test_an_ended_stream_leaves_its_connection_for_the_next(fake: FakeProvider, model: ChatModel) -> None:
    for _ in range(3):
        ask(model)
        runtime.run(wait_drained())
    assert len({call.peer for call in fake.calls}) == 1


async def wait_drained() -> None:
    async with asyncio.timeout(DEADLINE_S):
        while draining := list(http._draining):
            await asyncio.gather(*draining)


def test_a_switched_off_model_is_unavailable(fake: FakeProvider, model: ChatModel) -> None:
    ChatModel.objects.update(is_enabled=False)
    ask_in_vain(model, ModelUnavailable)
    ChatModel.objects.update(is_enabled=True)
    Provider.objects.update(is_enabled=False)
    ask_in_vain(model, ModelUnavailable)
    ask_in_vain(ChatModel(id=uuid4()), ModelUnavailable)
    assert fake.calls == []


def test_an_unused_port_is_unreachable_after_three_attempts(
    fake: FakeProvider, model: ChatModel, caplog: pytest.LogCaptureFixture
) -> None:
    Provider.objects.update(base_url="http://127.0.0.1:1/v1", api_key="", api_key_origin="")
    ask_in_vain(model, ProviderUnreachable)
    assert caplog.text.count("(attempt ") == 3


def test_calls_are_counted_by_outcome(fake: FakeProvider, model: ChatModel) -> None:
    done, refused, first = count_calls("done"), count_calls("provider_refused"), count_first_tokens()
    ask(model)
    fake.script(status=401)
    ask_in_vain(model, ProviderRefused)
    assert count_calls("done") == done + 1
    assert count_calls("provider_refused") == refused + 1
    assert count_first_tokens() == first + 1
    assert REGISTRY.get_sample_value("chatbox_providers_running_calls") == 0


@pytest.mark.parametrize("leave", [asyncio.CancelledError, GeneratorExit])
def test_a_call_that_is_left_counts_as_cancelled_and_after_its_end_as_done(leave: type[BaseException]) -> None:
    cancelled, done = count_calls("cancelled"), count_calls("done")
    with pytest.raises(leave), metrics.measure_call():
        raise leave
    with pytest.raises(leave):
        leave_after_end(leave)
    assert (count_calls("cancelled"), count_calls("done")) == (cancelled + 1, done + 1)


def leave_after_end(leave: type[BaseException]) -> None:
    with metrics.measure_call() as measure:
        measure.mark_done()
        raise leave


def test_a_stopped_call_counts_as_cancelled(fake: FakeProvider, model: ChatModel) -> None:
    cancelled = count_calls("cancelled")
    fake.script(hang=True)

    async def stop() -> None:
        task = asyncio.create_task(collect(build_request(model), []))
        await asyncio.to_thread(fake.wait_for_calls)
        task.cancel()
        await asyncio.wait([task])

    runtime.run(stop())
    assert count_calls("cancelled") == cancelled + 1


def test_a_fault_of_ours_counts_as_failed(fake: FakeProvider, model: ChatModel, monkeypatch: pytest.MonkeyPatch) -> None:
    failed, cancelled = count_calls("failed"), count_calls("cancelled")

    def fall(_call: object) -> bytes:
        raise LookupError

    monkeypatch.setattr(openai, "build_body", fall)
    with pytest.raises(LookupError):
        ask(model)
    assert (count_calls("failed"), count_calls("cancelled")) == (failed + 1, cancelled)


def count_calls(outcome: str) -> float:
    return REGISTRY.get_sample_value("chatbox_providers_calls_total", {"outcome": outcome}) or 0.0


def count_first_tokens() -> float:
    return REGISTRY.get_sample_value("chatbox_providers_first_token_seconds_count") or 0.0


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/v1", "https://127.0.0.1:{port}/v1", "https://localhost:{port}/v1"])
def test_an_inner_address_written_past_the_form_is_refused_at_use(fake: FakeProvider, model: ChatModel, url: str) -> None:
    Provider.objects.update(base_url=url.format(port=fake.port), allow_private_address=False)
    ask_in_vain(model, AddressRefused)
    assert fake.calls == []


def test_a_key_never_travels_to_another_host(fake: FakeProvider, model: ChatModel) -> None:
    with FakeProvider() as other:
        Provider.objects.update(base_url=other.base_url)
        ask_in_vain(model, ProviderRefused)
        assert other.calls == []


def test_a_provider_without_a_key_gets_no_authorization(fake: FakeProvider) -> None:
    ask(make_model(fake, provider=make_provider(fake, api_key="", api_key_origin="")))
    assert "Authorization" not in fake.calls[0].headers


def test_placeholders_in_a_path_are_sent_as_they_are(fake: FakeProvider, model: ChatModel) -> None:
    Provider.objects.update(base_url=fake.base_url + "/${SECRET_KEY}/{{settings.SECRET_KEY}}")
    ask_in_vain(model, RequestRejected)
    assert fake.calls[0].path == "/v1/${SECRET_KEY}/{{settings.SECRET_KEY}}/chat/completions"


def test_an_unknown_stream_options_is_left_out(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(model="fake-small", refuses="stream_options", text="fine", usage=False)
    assert join(ask(model)) == join(ask(model)) == "fine"
    assert ["stream_options" in call.json for call in fake.calls] == [True, False, False]


def test_two_calls_at_once_may_both_learn(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(model="fake-small", refuses="stream_options", text="fine", first_delay_s=0.2)
    futures = [runtime.submit(collect(build_request(model), [])) for _ in range(2)]
    fake.wait_for_calls(2)
    for future in futures:
        future.result(DEADLINE_S)


def test_the_newer_name_of_the_limit_is_used_where_it_is_wanted(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(
        status=400,
        body='{"error":{"message":"\'max_tokens\' is not supported. Use \'max_completion_tokens\' instead."}}',
    )
    ask(model)
    assert fake.calls[1].json["max_completion_tokens"] == 100
    assert "max_tokens" not in fake.calls[1].json


def test_the_provider_s_words_reach_no_log(fake: FakeProvider, model: ChatModel, caplog: pytest.LogCaptureFixture) -> None:
    body = f"bad key {KEY} for: What is a tree?"
    fake.script(status=401, body=body)
    _, error = ask_in_vain(model, ProviderRefused)
    assert error.message == ProviderRefused.message
    assert error.detail == f"HTTP 401: text/plain, {len(body)} bytes"
    assert "bad key" in error.said
    assert KEY not in error.said
    assert "provider_refused" in caplog.text
    assert KEY not in caplog.text
    assert "tree" not in caplog.text


ECHO = '{"error":{"message":"What is a tree?","code":"What is a tree?","type":"What is a tree?"}}'


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ({"status": 400, "body": ECHO}, RequestRejected),
        ({"raw": [ECHO.encode()], "content_type": "application/json"}, ProviderBroke),
        ({"raw": [b"<p>What is a tree?"], "content_type": "text/html"}, ProviderBroke),
        ({"raw": [b"data: {What is a tree?\n\n"] * 3}, ProviderBroke),
        ({"raw": [b'data: {"choices":"What is a tree?"}\n\n'] * 3}, ProviderBroke),
        ({"raw": [f"data: {ECHO}\n\n".encode()], "model": "fake-small"}, ProviderFailed),
    ],
)
def test_an_echoed_question_reaches_no_log(
    fake: FakeProvider,
    model: ChatModel,
    caplog: pytest.LogCaptureFixture,
    script: dict[str, object],
    error: type[ProviderError],
) -> None:
    caplog.set_level("INFO")
    fake.script(**script)
    _, raised = ask_in_vain(model, error)
    assert "(attempt 1)" in caplog.text
    assert "tree" not in caplog.text + raised.message + raised.detail + repr(raised.__cause__)


def test_no_database_connection_is_held_during_a_stream(fake: FakeProvider, model: ChatModel) -> None:
    fake.script(text="x" * 100, chunk=1, delay_s=0.02)
    future = runtime.submit(collect(build_request(model), []))
    fake.wait_for_calls()
    wrapper = connections["default"]
    assert isinstance(wrapper, DatabaseWrapper)
    stats = wrapper.pool.get_stats()
    assert stats["pool_size"] - stats["pool_available"] == 1, "only this thread's own connection is in use"
    assert not future.done()
    future.result(DEADLINE_S)
