"""A bare connection to the bus, for the two places where every microsecond counts: live text in, live text out.

redis-py opens it (address, TLS, sign-in); what goes over it is packed and taken apart by hiredis, with nothing in between.
For everything else there is `ops.bus`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hiredis
import redis.asyncio
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as BusAway
from redis.exceptions import TimeoutError as BusSilent

from ops.bus import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S

Command = tuple[str | int, ...]
READ_BYTES = 256 * 1024
pack: Callable[[Any], bytes] = hiredis.pack_command  # its stub knows commands of one word only


class Line:
    """Opens itself when it is first used. After any error it is closed, and the next use opens it anew.

    Either `ask`, or `send` and `hear`: answers and messages are not told apart.
    """

    def __init__(self) -> None:
        # RESP2: nothing is pushed between the answers. Who uses a line tries again at a pace of its own.
        self._pool: Any = redis.asyncio.ConnectionPool.from_url(
            settings.REDIS_URL, socket_connect_timeout=CONNECT_TIMEOUT_S, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self._connection: Any = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def open(self) -> None:
        """Once is enough. Raises RedisError when the bus is away."""
        if self._connection is not None:
            return
        connection = self._pool.make_connection()
        try:
            await connection.connect()
        except BaseException:
            connection._close()
            raise
        self._connection, self._reader, self._writer = connection, connection._reader, connection._writer
        self._parser = hiredis.Reader(encoding="utf-8")

    async def ask(self, *parts: Sequence[Command]) -> list[Any]:
        """Send all commands, and return their answers in order; an error is an answer, as `hiredis.ReplyError`.

        Raises RedisError when the bus is away, or silent for 2 s.
        """
        return await self.ask_in_parts(parts)

    async def ask_in_parts(self, parts: Iterable[Sequence[Command]]) -> list[Any]:
        """The same, where each part is on its way while the next is made, and the loop has its turn in between."""
        asked = 0
        try:
            for commands in parts:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):  # not of what is done here in between
                    await self.send(commands)
                await asyncio.sleep(0)
                asked += len(commands)
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._hear_answers(asked)
        except TimeoutError as error:
            self.close()
            raise BusSilent(f"the bus was silent for {ANSWER_TIMEOUT_S} s") from error
        except BaseException:  # answers to a question that was cut short would be taken for those of the next
            self.close()
            raise

    async def _hear_answers(self, count: int) -> list[Any]:
        answers: list[Any] = []
        while len(answers) < count:
            answers += await self.hear()
        return answers

    async def send(self, commands: Sequence[Command]) -> None:
        """Raises RedisError when the bus is away."""
        await self.open()
        try:
            self._writer.write(b"".join([pack(command) for command in commands]))
            await self._writer.drain()
        except OSError as error:
            self.close()
            raise BusAway(str(error)) from error

    async def hear(self) -> list[Any]:
        """All that comes next in one piece, without end until something does. Raises RedisError when the line breaks."""
        heard: list[Any] = []
        while not heard:
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError as error:
                self.close()
                raise BusAway(str(error)) from error
            if not data:
                self.close()
                raise BusAway("the bus has hung up")
            self._parser.feed(data)
            while (item := self._parser.gets()) is not False:
                heard.append(item)
        return heard

    def close(self) -> None:
        """Cut it at once, also with bytes that nobody takes; who hears or sends on it is told."""
        if self._connection is not None:
            self._writer.transport.abort()
            self._connection._close()
            self._connection = None
