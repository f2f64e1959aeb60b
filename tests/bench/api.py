"""The product's API and sockets as one person's client uses them."""

import asyncio
from typing import Any

import aiohttp

from tests.bench.orders import Call, Order, read_call

TIMEOUT_S = 60
POLL_S = 0.01


def open_session(address: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        address, connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
    )


class Person:
    """Somebody signed in by a token."""

    def __init__(self, session: aiohttp.ClientSession, bearer: str) -> None:
        self._session = session
        self._headers = {"Authorization": f"Bearer {bearer}"}

    async def create_conversation(self) -> str:
        return str((await self._ask("POST", "conversations", {}))["id"])

    async def watch(self, conversation: str, wanted: str = "html") -> aiohttp.ClientWebSocketResponse:
        path = f"/ws/conversations/{conversation}/?format={wanted}"
        return await self._session.ws_connect(path, headers=self._headers, max_msg_size=0)

    async def send(self, conversation: str, order: Order) -> str:
        """Returns the id of the reply."""
        sent = await self._ask("POST", f"conversations/{conversation}/messages", {"text": order.question})
        return str(sent["reply"]["id"])

    async def stop(self, reply: str) -> None:
        await self._ask("POST", f"messages/{reply}/stop", {})

    async def read(self, reply: str) -> dict[str, Any]:
        return await self._ask("GET", f"messages/{reply}", None)

    async def wait_for(self, reply: str) -> dict[str, Any]:
        """The reply when it has ended."""
        async with asyncio.timeout(TIMEOUT_S):
            while (message := await self.read(reply))["state"] in {"queued", "streaming"}:
                await asyncio.sleep(POLL_S)
        return message

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        async with self._session.request(method, f"/api/v1/{path}", json=body, headers=self._headers) as response:
            assert response.status < 300, f"{method} {path}: {response.status} {await response.text()}"
            text = await response.text()
            return dict(await response.json()) if text else {}


async def read_upstream(session: aiohttp.ClientSession, address: str, key: str) -> Call:
    async with session.get(f"{address}/calls/{key}") as response:
        return read_call(await response.read())
