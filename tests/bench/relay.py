"""The physical limit: one asyncio process that passes an upstream's tokens on to a WebSocket, and does nothing else.

No database, no bus, no rendering, no resuming, no accounts. Good code for what it does: one session, typed JSON, no
compression, tokens that come together leave together.
"""

import contextlib
import sys
from collections.abc import AsyncIterator

import aiohttp
import msgspec
from aiohttp import web

from tests.bench.processes import serve

END = b"[DONE]"


class Delta(msgspec.Struct):
    content: str = ""


class Choice(msgspec.Struct):
    delta: Delta


class Chunk(msgspec.Struct):
    choices: list[Choice]


read_chunk = msgspec.json.Decoder(Chunk).decode
encode = msgspec.json.Encoder().encode
SESSION = web.AppKey("SESSION", aiohttp.ClientSession)


async def relay(request: web.Request) -> web.WebSocketResponse:
    """Each text message is a question; its answer's tokens follow as `{"text": …}`, and `{"end": true}`."""
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    async for message in socket:
        body = {"model": "bench", "stream": True, "messages": [{"role": "user", "content": message.data}]}
        async with request.app[SESSION].post("/v1/chat/completions", data=encode(body)) as response:
            await pass_on(response.content, socket)
        await socket.send_str('{"end":true}')
    return socket


async def pass_on(content: aiohttp.StreamReader, socket: web.WebSocketResponse) -> None:
    rest = b""
    async for data in content.iter_any():
        *events, rest = (rest + data).split(b"\n\n")
        text = "".join(map(read_text, events))
        if text:
            await socket.send_str(encode({"text": text}).decode())


def read_text(event: bytes) -> str:
    payload = event.removeprefix(b"data: ")
    return "" if payload == END else "".join(choice.delta.content for choice in read_chunk(payload).choices)


@contextlib.asynccontextmanager
async def listen() -> AsyncIterator[int]:
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(sys.argv[1], connector=connector, timeout=timeout) as session:
        application = web.Application()
        application[SESSION] = session
        application.router.add_get("/ws", relay)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        yield runner.addresses[0][1]
        await runner.cleanup()


if __name__ == "__main__":
    serve(listen)
