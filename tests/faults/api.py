"""A program that talks to the product over HTTP, and does not give up when a server is away for a moment."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

from tests.faults.page import PageViewer
from tests.faults.promises import Broken, promise
from tests.faults.viewer import Viewer

EMAIL = "ada@example.test"
PASSWORD = "correct horse battery staple"
PATIENCE_S = 45
ANSWER_S = 12


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    retry_after: str
    seconds: float


@dataclass
class Asked:
    """An acknowledged question and its replies, the newest last."""

    question: str
    conversation: str
    message: str
    replies: list[str] = field(default_factory=list)

    @property
    def mark(self) -> str:
        """The question's first word, which no other question has."""
        return self.question.split()[0]

    @property
    def reply(self) -> str:
        return self.replies[-1]


class Api:
    """One person with a token. `asked`: everything that was ever acknowledged to them."""

    def __init__(self, address: str) -> None:
        self.asked: list[Asked] = []
        self.models: dict[str, str] = {}
        self._session = aiohttp.ClientSession(f"{address}/", connector=aiohttp.TCPConnector(force_close=True))

    async def close(self) -> None:
        await self._session.close()

    async def sign_in(self) -> None:
        pair = (await self.call("POST", "auth/token", {"email": EMAIL, "password": PASSWORD})).body
        self._session.headers["Authorization"] = f"Bearer {pair['access']}"

    async def get(self, path: str) -> int:
        """The status of a page for people, 0 when nobody answers."""
        try:
            async with self._session.get(path, timeout=aiohttp.ClientTimeout(ANSWER_S)) as response:
                await response.read()
                return response.status
        except aiohttp.ClientError:
            return 0

    async def call(self, method: str, path: str, body: Any = None, *, key: str = "") -> Answer:
        """One request. Raises ClientError when nobody answers; Broken for 500, a traceback, or a 503 that names no time."""
        try:
            return await self._call(method, path, body, {"Idempotency-Key": key} if key else {})
        except TimeoutError:
            raise TimeoutError(f"{method} {path}: no answer within {ANSWER_S} s") from None

    async def _call(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Answer:
        started = time.monotonic()
        timeout = aiohttp.ClientTimeout(ANSWER_S)
        async with self._session.request(method, f"api/v1/{path}", json=body, headers=headers, timeout=timeout) as response:
            text = await response.text()
            promise(response.status != 500 and "Traceback" not in text, f"{method} {path}: {response.status} {text[:200]}")
            retry_after = response.headers.get("Retry-After", "")
            promise(response.status != 503 or retry_after, f"{method} {path}: 503 without Retry-After")
            parsed = await response.json() if text else None
            return Answer(response.status, parsed, retry_after, time.monotonic() - started)

    async def insist(self, method: str, path: str, body: Any = None, *, key: str = "") -> Answer:
        """The same request until it is answered with something else than "try again"."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = await self.call(method, path, body, key=key)
                if answer.status != 503:
                    return answer
                told = f"503 {answer.body}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                told = repr(error)
            promise(time.monotonic() < deadline, f"{method} {path}: {told} for {PATIENCE_S} s")
            await asyncio.sleep(0.3)

    async def open(self) -> str:
        return str((await self.insist("POST", "conversations", {})).body["id"])

    async def send(self, question: str, *, conversation: str = "", model: str = "steady") -> Asked:
        """Ask and be acknowledged, whatever happens on the way: the key makes it one message."""
        conversation = conversation or await self.open()
        body = {"text": question, "model": self.models[model]}
        answer = await self.insist("POST", f"conversations/{conversation}/messages", body, key=str(uuid4()))
        if answer.status != 202:
            raise Broken(f"a message was answered with {answer.status}: {answer.body}")
        return self.note(question, answer)

    def note(self, question: str, answer: Answer) -> Asked:
        message, reply = answer.body["message"], answer.body["reply"]
        asked = Asked(question, message["conversation"], message["id"], [reply["id"]])
        self.asked.append(asked)
        return asked

    async def retry(self, asked: Asked) -> str:
        answer = await self.insist("POST", f"messages/{asked.reply}/regenerate", {})
        promise(answer.status == 202, f"Retry was answered with {answer.status}: {answer.body}")
        asked.replies.append(answer.body["reply"]["id"])
        return asked.reply

    async def stop(self, reply: str) -> int:
        return (await self.insist("POST", f"messages/{reply}/stop")).status

    async def read(self, reply: str) -> dict[str, Any]:
        return dict((await self.insist("GET", f"messages/{reply}")).body)

    async def listen(self, reply: str) -> aiohttp.ClientResponse:
        """A reply's event stream, which has begun."""
        return await self._session.get(f"api/v1/messages/{reply}/events")

    def watch(self, conversation: str, *, front: str = "") -> Viewer:
        """`front`: the address, with its slash, of a proxy to go through."""
        return Viewer(self._session, f"{front}ws/conversations/{conversation}/")

    def watch_page(self, conversation: str) -> PageViewer:
        return PageViewer(self._session, f"ws/conversations/{conversation}/?format=html")
