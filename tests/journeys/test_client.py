"""The same over the API: a token, a WebSocket, and the text byte for byte."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from providers import runtime
from tests.journeys.conftest import EMAIL, PASSWORD
from tests.journeys.pages import LONG
from tests.journeys.product import Product

pytestmark = pytest.mark.usefixtures("admin_state")


async def chat(product: Product, text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask, listen to the end; the stored reply and all frames."""
    async with asyncio.timeout(120), aiohttp.ClientSession(f"{product.address}/") as session:
        pair = await post(session, "auth/token", {"email": EMAIL, "password": PASSWORD})
        session.headers["Authorization"] = f"Bearer {pair['access']}"
        conversation = await post(session, "conversations", {})
        frames = []
        async with session.ws_connect(f"ws/conversations/{conversation['id']}/") as socket:
            sent = await post(session, f"conversations/{conversation['id']}/messages", {"text": text})
            async for message in socket:
                frames.append(json.loads(message.data))
                if frames[-1]["type"] == "reply.finished":
                    break
        async with session.get(f"api/v1/messages/{sent['reply']['id']}") as response:
            return await response.json(), frames


async def post(session: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> dict[str, Any]:
    async with session.post(f"api/v1/{path}", json=body) as response:
        assert response.status < 300, await response.text()
        return dict(await response.json())


def test_stored_text_equals_the_deltas(product: Product) -> None:
    reply, frames = runtime.run(chat(product, LONG))
    deltas = [frame for frame in frames if frame["type"] == "reply.delta"]
    assert reply["state"] == "done"
    assert "".join(delta["text"] for delta in deltas) == reply["text"]
    assert len(deltas) > 3
    assert frames[-1]["usage"]["completion_tokens"] > 0


async def connect(product: Product, **headers: str) -> int:
    """The status of a handshake."""
    async with aiohttp.ClientSession() as session:
        try:
            async with session.ws_connect(
                f"{product.address}/ws/conversations/{'0' * 8}-0000-4000-8000-{'0' * 12}/", headers=headers
            ):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


@pytest.mark.parametrize(
    "origin", ["null", "https://evil.test", "http://127.0.0.1.evil.test", "https://127.0.0.1", "http://127.0.0.1:1"]
)
def test_socket_of_another_origin_is_refused(product: Product, origin: str) -> None:
    assert runtime.run(connect(product, Origin=origin)) == 403


def test_socket_without_origin_or_token_is_refused(product: Product) -> None:
    assert runtime.run(connect(product)) == 403


def test_socket_of_an_unknown_conversation_closes_with_4404(product: Product) -> None:
    async def listen() -> int | None:
        async with aiohttp.ClientSession(f"{product.address}/") as session:
            pair = await post(session, "auth/token", {"email": EMAIL, "password": PASSWORD})
            headers = {"Authorization": f"Bearer {pair['access']}"}
            path = "ws/conversations/00000000-0000-4000-8000-000000000000/"
            async with session.ws_connect(path, headers=headers) as socket:
                await socket.receive(timeout=10)
                return socket.close_code

    assert runtime.run(listen()) == 4404
