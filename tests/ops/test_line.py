"""The bare connection to the bus."""

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from typing import Any
from uuid import uuid4

import hiredis
import pytest
from pytest_django import Settings
from redis.exceptions import RedisError

from ops import bus, line
from ops.line import Command, Line


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


async def use(*parts: list[Command]) -> list[Any]:
    wire = Line()
    try:
        return await wire.ask(*parts)
    finally:
        wire.close()


def test_answers_come_in_order_and_an_error_is_one() -> None:
    key = f"test:{uuid4().hex}"
    answers = run(use([("SET", key, "naïve 日本"), ("LPUSH", key, "x")], [("GET", key), ("DEL", key), ("GET", key)]))
    assert answers[0] == "OK"
    assert isinstance(answers[1], hiredis.ReplyError)
    assert answers[2:] == ["naïve 日本", 1, None]


def test_more_than_one_read_brings_is_put_together() -> None:
    text = "x" * (2 * line.READ_BYTES)
    assert run(use([("ECHO", text)], [("ECHO", "end")])) == [text, "end"]


def test_each_part_is_sent_before_the_next_is_made() -> None:
    key = f"test:{uuid4().hex}"
    seen: list[Any] = []

    def make() -> Iterator[list[Command]]:
        yield [("SET", key, "1")]
        seen.append(bus.get_client().get(key))
        yield [("DEL", key)]

    async def ask() -> list[Any]:
        wire = Line()
        answers = await wire.ask_in_parts(make())
        wire.close()
        return answers

    assert run(ask())[1] == 1
    assert seen == ["1"]


def test_a_line_that_was_cut_opens_anew() -> None:
    async def survive() -> list[Any]:
        wire = Line()
        (number,) = await wire.ask([("CLIENT", "ID")])
        await asyncio.to_thread(bus.get_client().client_kill_filter, _id=str(number))
        with pytest.raises(RedisError):
            await wire.ask([("PING",)])
        answers = await wire.ask([("ECHO", "back")])
        wire.close()
        return answers

    assert run(survive()) == ["back"]


def test_a_question_that_was_cut_short_leaves_no_answer_to_the_next() -> None:
    async def survive() -> list[Any]:
        wire = Line()
        await wire.open()
        asking = asyncio.create_task(wire.ask([("BLPOP", f"test:{uuid4().hex}", 5)]))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        answers = await wire.ask([("ECHO", "mine")])
        wire.close()
        return answers

    assert run(survive()) == ["mine"]


def test_a_silent_bus_is_found_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "ANSWER_TIMEOUT_S", 0.2)

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        settings.REDIS_URL = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
        with pytest.raises(RedisError, match="silent"):
            run(use([("PING",)]))


def test_a_bus_that_is_away_is_said_at_once(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(RedisError):
        run(use([("PING",)]))


def test_closing_wakes_who_waits_behind_bytes_that_nobody_takes(settings: Settings) -> None:
    async def wait(deaf: socket.socket) -> None:
        wire = Line()
        opening = asyncio.create_task(wire.open())
        peer, _ = await asyncio.get_running_loop().sock_accept(deaf)
        with peer:
            while not wire.is_open:  # what redis-py says first is answered, and nothing afterwards
                peer.setblocking(False)
                try:
                    peer.send(b"+OK\r\n" * max(1, peer.recv(65536).count(b"*")))
                except BlockingIOError:
                    await asyncio.sleep(0)
            await opening
            sending = asyncio.create_task(wire.send([("ECHO", "x" * 50_000_000)]))
            hearing = asyncio.create_task(wire.hear())
            await asyncio.sleep(0.05)
            wire.close()
            async with asyncio.timeout(2):
                _, heard = await asyncio.gather(sending, hearing, return_exceptions=True)
            assert isinstance(heard, RedisError)

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setblocking(False)
        settings.REDIS_URL = f"redis://127.0.0.1:{deaf.getsockname()[1]}/0"
        run(wait(deaf))
