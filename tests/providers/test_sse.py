"""Server-sent events from hostile, careless and merely unlucky networks."""

import pytest

from providers.sse import LINE_MAX_BYTES, SseParser

TEXT = (
    'data: {"a":"ü🌳"}\n\n: comment\r\n\r\nevent: message\rdata:second\r\r'
    "data: one\ndata: two\n\nid: 7\nretry: 5\ndata: last\n\n"
)
PAYLOADS = ['{"a":"ü🌳"}'.encode(), b"second", b"one\ntwo", b"last"]


def parse(*chunks: bytes) -> list[bytes]:
    parser = SseParser()
    return [payload for chunk in chunks for payload in parser.feed(chunk)] + parser.finish()


def test_line_ends_of_all_kinds_mix() -> None:
    assert parse(TEXT.encode()) == PAYLOADS


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11])
def test_any_split_gives_the_same(size: int) -> None:
    data = TEXT.encode()
    assert parse(*[data[at : at + size] for at in range(0, len(data), size)]) == PAYLOADS


def test_every_single_cut_gives_the_same() -> None:
    data = TEXT.replace("\n", "\r\n").encode()
    whole = parse(data)
    assert all(parse(data[:at], data[at:]) == whole for at in range(len(data)))


def test_unknown_events_are_ignored() -> None:
    assert parse(b"event: execute\ndata: P\n\nevent: error\ndata: E\n\ndata: x\n\n") == [b"E", b"x"]


def test_a_missing_last_blank_line_is_forgiven() -> None:
    assert parse(b"data: a\n\ndata: [DONE]") == [b"a", b"[DONE]"]


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse(b"\xef\xbb\xbfdata: a\n\n") == [b"a"]


def test_nothing_gives_nothing() -> None:
    assert parse(b"", b"\n\n\r\n", b"data\n\n", b"nonsense: x\n\n") == []


@pytest.mark.parametrize("piece", [b"x" * 65536, b"data: " + b"x" * 4000 + b"\n"])
def test_an_endless_event_breaks_after_what_was_good(piece: bytes) -> None:
    parser = SseParser()
    assert parser.feed(b"data: good\n\ndata: ") == [b"good"]
    fed = 0
    while not parser.is_broken:
        assert parser.feed(piece) == []
        fed += len(piece)
        assert fed < 2 * LINE_MAX_BYTES
    assert parser.feed(b"\n\ndata: more\n\n") == []
