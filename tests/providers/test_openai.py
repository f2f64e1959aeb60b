"""What an OpenAI-compatible server may say, good and bad. The same cases hold for every adapter to come."""

import gzip
import json
import resource
from contextlib import aclosing

import pytest

from providers import runtime
from providers.adapters import get_protocol
from providers.adapters.base import Call
from providers.endpoints import Endpoint
from providers.errors import ProviderBroke, ProviderBusy, ProviderError, ProviderFailed, ProviderRefused, RequestRejected
from providers.guard import THIS_MACHINE
from providers.models import Adapter
from providers.types import Done, Event, ModelListing, ReasoningDelta, TextDelta, Turn, Usage
from tests.fake_provider import FakeProvider, build_chunk, build_usage

GOOD = build_chunk({"content": "good "})
END = build_chunk({}, finish="stop") + b"data: [DONE]\n\n"
BAD = b"data: {not json\n\n"
NESTED = '{"data":[{"id":"x","meta":{"y":' + "[" * 100_000 + "]" * 100_000 + "}}]}"


async def read_all(fake: FakeProvider, into: list[Event]) -> None:
    endpoint = Endpoint(fake.base_url, "sk-test-0123456789", THIS_MACHINE)
    call = Call(endpoint=endpoint, model="m", turns=(Turn("user", "Hi"),), max_output_tokens=10)
    deadline_at = runtime.get_loop().time() + 10
    async with aclosing(get_protocol(Adapter.OPENAI).stream(call, deadline_at=deadline_at)) as events:
        async for event in events:
            into.append(event)


def say(fake: FakeProvider, *pieces: bytes, **fields: object) -> list[Event]:
    fake.script(raw=pieces, **fields)
    events: list[Event] = []
    runtime.run(read_all(fake, events))
    return events


def say_in_vain(fake: FakeProvider, error: type[ProviderError], *pieces: bytes, **fields: object) -> str:
    """The text that was kept."""
    fake.script(raw=pieces, **fields)
    events: list[Event] = []
    with pytest.raises(error):
        runtime.run(read_all(fake, events))
    return join(events)


def join(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def test_frames_of_several_servers_are_read(fake: FakeProvider) -> None:
    events = say(
        fake,
        b'data: {"choices":[{"delta":{"role":"assistant","content":null}}],"usage":null}\n\n',
        b'data: {"choices":[{"delta":{"reasoning":"so"}}]}\n\ndata: {"choices":[{"delta":{"reasoning_content":"..."}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"Hi"},"logprobs":null}],"timings":{"n":1},"service_tier":"x"}\n\n',
        b'data: {"choices":[{"finish_reason":"length"}]}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"details":{"cached":0}}}\n\n',
        b"data: [DONE]\n\n",
    )
    assert events == [ReasoningDelta("so..."), TextDelta("Hi"), Usage(3, 1), Done("length")]


def test_characters_cut_in_half_arrive_whole(fake: FakeProvider) -> None:
    data = build_chunk({"content": "Ünïcödé 🌳"}) + END
    assert join(say(fake, *[data[at : at + 1] for at in range(len(data))])) == "Ünïcödé 🌳"


def test_duplicates_are_given_as_they_came(fake: FakeProvider) -> None:
    assert join(say(fake, GOOD, GOOD, END)) == "good good "


def test_two_bad_frames_are_skipped(fake: FakeProvider) -> None:
    assert join(say(fake, GOOD, BAD, b"data: \xff\xfe\n\n", GOOD, END)) == "good good "


def test_three_bad_frames_are_too_many_and_keep_the_text(fake: FakeProvider) -> None:
    assert say_in_vain(fake, ProviderBroke, GOOD + BAD + BAD + BAD + GOOD + END) == "good "


@pytest.mark.parametrize(
    "frame",
    [
        b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"choices":7}',
        b"[]",
        b"null",
        b'{"choices":[{"delta":{"content":5}}]}',
    ],
)
def test_odd_frames_count_as_bad(fake: FakeProvider, frame: bytes) -> None:
    assert join(say(fake, b"data: " + frame + b"\n\n", GOOD, END)).endswith("good ")


def test_a_line_without_end_is_broken_and_memory_stays(fake: FakeProvider) -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert say_in_vain(fake, ProviderBroke, GOOD, b"data: ", *[b"x" * 65536] * 800) == "good "
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100 * 1024


def test_a_page_instead_of_events_is_broken(fake: FakeProvider) -> None:
    assert say_in_vain(fake, ProviderBroke, b"<html>login</html>", content_type="text/html") == ""
    assert say_in_vain(fake, ProviderBroke, b'{"error":"no"}', content_type="application/json") == ""


def test_a_compression_bomb_is_refused_unopened(fake: FakeProvider) -> None:
    bomb = gzip.compress(b"data: " + b"x" * 50_000_000)
    assert say_in_vain(fake, ProviderBroke, bomb, headers={"Content-Encoding": "gzip"}) == ""


def test_something_that_is_not_an_event_stream_has_no_end(fake: FakeProvider) -> None:
    assert say_in_vain(fake, ProviderBroke, b"hello", b"\n" * 1000) == ""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "x", "code": 500}, ProviderFailed),
        ({"message": "x", "code": "429"}, ProviderBusy),
        ({"message": "x", "type": "rate_limit_error"}, ProviderBusy),
        ({"message": "x", "code": "rate_limit_exceeded"}, ProviderBusy),
        ({"message": "x", "code": 401}, ProviderRefused),
        ({"message": "x", "code": 400}, RequestRejected),
        ({"code": None}, ProviderFailed),
        ("overloaded", ProviderFailed),
    ],
)
def test_an_error_in_the_stream_is_mapped_and_keeps_the_text(
    fake: FakeProvider, error: object, expected: type[ProviderError]
) -> None:
    frame = b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
    assert say_in_vain(fake, expected, GOOD + frame + END) == "good "


@pytest.mark.parametrize("code", ["9" * 5000, 10**30, -1, True, ["x"], "٤٠٠٠"])
def test_a_hostile_code_of_an_error_is_a_failure(fake: FakeProvider, code: object) -> None:
    frame = b"data: " + json.dumps({"error": {"message": ["x"], "code": code}}).encode() + b"\n\n"
    say_in_vain(fake, ProviderFailed, frame)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("st\0op", "stop"), ("x" * 10_000, "x" * 40), ("\u202e\n\x1b", "unknown"), ("eos token", "eos token")],
)
def test_a_hostile_reason_becomes_short_and_printable(fake: FakeProvider, reason: str, expected: str) -> None:
    assert say(fake, GOOD, build_chunk({}, finish=reason), b"data: [DONE]\n\n")[-1] == Done(expected)


@pytest.mark.parametrize(("count", "expected"), [(10**12, 2**31 - 1), (10**40, 2**31 - 1), (-1, 0), (-(10**40), 0), (7, 7)])
def test_hostile_counts_fit_the_database(fake: FakeProvider, count: int, expected: int) -> None:
    usage = build_usage(prompt_tokens=count, completion_tokens=count)
    assert say(fake, GOOD, usage, END)[-2] == Usage(expected, expected)


def test_a_frame_nested_without_end_counts_as_bad(fake: FakeProvider) -> None:
    nested = b"[" * 100_000 + b"]" * 100_000
    assert join(say(fake, b'data: {"error":' + nested + b"}\n\n", GOOD, END)) == "good "


def test_an_unknown_event_is_never_text(fake: FakeProvider) -> None:
    assert join(say(fake, b"event: execute\n" + build_chunk({"content": "P"}), GOOD, END)) == "good "


def test_nothing_after_done_is_read(fake: FakeProvider) -> None:
    assert join(say(fake, GOOD + END + build_chunk({"content": "late"}))) == "good "


def list_models(fake: FakeProvider) -> list[ModelListing]:
    endpoint = Endpoint(fake.base_url, "sk-test-0123456789", THIS_MACHINE)
    return runtime.run(get_protocol(Adapter.OPENAI).list_models(endpoint))


def test_models_are_listed_by_name(fake: FakeProvider) -> None:
    assert list_models(fake)[0] == ModelListing("fake-large", context_tokens=8192, details={"owned by": "fake"})
    assert [model.name for model in list_models(fake)] == ["fake-large", "fake-small"]


@pytest.mark.parametrize("body", ["<html>", "{}", '{"data":5}', "[" * 100_000, NESTED, '{"data":[{"id":null}]}'])
def test_an_unreadable_list_is_broken(fake: FakeProvider, body: str) -> None:
    fake.script(body=body)
    with pytest.raises(ProviderBroke):
        list_models(fake)


def test_only_ids_that_can_be_stored_and_shown_are_listed(fake: FakeProvider) -> None:
    names = ["", "  ", "nul\0", "\u202eevil", "a\nb", "x" * 201, "x" * 200, "good", "good"]
    fake.script(body=json.dumps({"data": [{"id": name, "name": "Nul\0", "owned_by": "\x1bme"} for name in names]}))
    models = list_models(fake)
    assert [model.name for model in models] == ["good", "x" * 200]
    assert (models[0].label, models[0].details) == ("Nul", {"owned by": "me"})


@pytest.mark.parametrize("fields", [{"context_length": 10**12}, {"max_model_len": 10**30}, {"meta": {"n_ctx_train": 10**12}}])
def test_a_hostile_context_fits_the_database(fake: FakeProvider, fields: dict[str, object]) -> None:
    fake.script(body=json.dumps({"data": [{"id": "m", **fields}]}))
    assert list_models(fake)[0].context_tokens == 2**31 - 1


@pytest.mark.parametrize("size", [0, -1, -(10**12)])
def test_a_context_that_is_none_is_not_told(fake: FakeProvider, size: int) -> None:
    fake.script(body=json.dumps({"data": [{"id": "m", "context_length": size}]}))
    assert list_models(fake)[0].context_tokens is None


def test_a_list_too_large_is_broken(fake: FakeProvider) -> None:
    fake.script(body='{"data":[' + " " * 9_000_000 + "]}")
    with pytest.raises(ProviderBroke):
        list_models(fake)
