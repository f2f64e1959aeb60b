"""What a worker has taken and not finished, on the real bus."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import ConnectionError as BusAway

from chatbox.celery import app
from ops import bus


@pytest.fixture
def connection() -> Iterator[Any]:
    with app.connection() as connection:
        yield connection


@pytest.fixture
def taken(connection: Any) -> Any:
    """A message that a worker has taken and not acknowledged."""
    channel, queue = connection.channel(), f"test.{uuid4().hex}"
    channel.basic_publish(channel.prepare_message("body"), exchange="", routing_key=queue)
    message = channel.basic_get(queue)
    assert message is not None
    message.queue = queue
    yield message
    bus.get_client().delete(f"chatbox:{queue}")


def count_waiting(message: Any) -> int:
    return int(bus.get_client().llen(f"chatbox:{message.queue}"))


def test_the_bus_keeps_no_list_of_what_is_unfinished(taken: Any) -> None:
    assert not bus.get_client().exists("chatbox:unacked", "chatbox:unacked_index")
    taken.ack()
    taken.channel.close()
    assert count_waiting(taken) == 0


def test_a_worker_that_goes_gives_back_what_it_has_not_finished(taken: Any) -> None:
    taken.channel.close()
    assert count_waiting(taken) == 1


def test_what_cannot_be_given_back_is_let_go_without_a_file(
    taken: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def lose(*_: Any, **__: Any) -> None:
        raise BusAway

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(taken.channel, "_put", lose)
    taken.channel.close()
    assert "could not be given back" in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_channel_keeps_its_client(connection: Any) -> None:
    channel = connection.channel()
    assert channel._create_client() is channel._create_client()
    channel._disconnect_pools()
    assert channel._create_client().connection_pool is channel.pool
