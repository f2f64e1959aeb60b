"""The rows themselves, read beside the product: the truth that devices are compared with."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.rows import class_row

from ops.engines import secrets
from ops.engines.paths import run_directory
from tests.faults.promises import promise

REPLIES = """
SELECT reply.id::text, reply.state, reply.text, reply.reasoning, reply.error_code, reply.finish_reason, reply.lease_epoch,
       reply.is_usage_estimated, reply.started_at, reply.finished_at, reply.parent_id::text AS parent,
       split_part(question.text, ' ', 1) AS mark
  FROM conversations_message AS reply JOIN conversations_message AS question ON question.id = reply.parent_id
 WHERE reply.role = 'assistant'
"""
DOUBLES = "SELECT left(text, 60), count(*) FROM conversations_message WHERE role = 'user' GROUP BY text HAVING count(*) > 1"


@dataclass(frozen=True, slots=True)
class Reply:
    """One assistant's row. `mark`: the first word of its question, which no other question has."""

    id: str
    state: str
    text: str
    reasoning: str
    error_code: str
    finish_reason: str
    lease_epoch: int
    is_usage_estimated: bool
    started_at: datetime | None
    finished_at: datetime | None
    parent: str
    mark: str

    @property
    def is_live(self) -> bool:
        return self.state in ("queued", "streaming")


class Rows:
    def __init__(self, home: Path) -> None:
        self._home = home

    async def connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        password = secrets.read(self._home)["POSTGRES_PASSWORD"]
        host = str(run_directory(self._home))
        return await psycopg.AsyncConnection.connect(
            host=host, user="chatbox", dbname="chatbox", password=password, autocommit=True, connect_timeout=10
        )

    async def wait_ready(self, timeout_s: float = 20) -> None:
        """After a restart of the database."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await (await self.connect()).close()
                return
            except psycopg.OperationalError:
                promise(time.monotonic() < deadline, "the database does not come back")
                await asyncio.sleep(0.1)

    async def list_replies(self) -> dict[str, Reply]:
        async with await self.connect() as connection, connection.cursor(row_factory=class_row(Reply)) as cursor:
            await cursor.execute(REPLIES)
            return {reply.id: reply for reply in await cursor.fetchall()}

    async def get(self, reply_id: str) -> Reply:
        return (await self.list_replies())[reply_id]

    async def list_doubled_messages(self) -> list[str]:
        async with await self.connect() as connection, connection.cursor() as cursor:
            await cursor.execute(DOUBLES)
            return [f"{count} × {text}" for text, count in await cursor.fetchall()]

    async def list_messages(self) -> set[str]:
        async with await self.connect() as connection, connection.cursor() as cursor:
            await cursor.execute("SELECT id::text FROM conversations_message WHERE role = 'user'")
            return {str(message) for (message,) in await cursor.fetchall()}
