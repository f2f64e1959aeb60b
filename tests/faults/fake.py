"""The scripted provider as a process of its own (`python -m tests.faults.fake`), and the harness's hand on it."""

import asyncio
import subprocess
import sys
from typing import Any

import aiohttp
from aiohttp import web

from tests.fake_provider import FakeProvider, Script, build_echo
from tests.journeys.product import ROOT

PIECE = Script(chunk=12, delay_s=0.05)


class ScriptedProvider(FakeProvider):
    """Over HTTP, the pieces of `raw` come as Latin-1 text; a script of `{}` forgets all scripts."""

    async def _take_script(self, request: web.Request) -> web.Response:
        fields = await request.json()
        if "raw" in fields:
            fields["raw"] = [piece.encode("latin-1") for piece in fields["raw"]]
        if fields:
            self.script(**fields)
        else:
            self._queue.clear()
            self._by_model.clear()
        return web.Response(status=204)


class FakeProcess:
    """Started on a free port. `script` sets the answer of the next call; with `model`, of every call of that model."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", __name__], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip().removesuffix("/v1")
        self.port = int(self.address.rpartition(":")[2])

    async def script(self, **fields: Any) -> None:
        async with aiohttp.ClientSession() as session, session.post(f"{self.address}/script", json=fields) as answer:
            answer.raise_for_status()

    async def list_calls(self, mark: str = "") -> list[dict[str, Any]]:
        """Calls for a reply, oldest first; of the question that begins so, when it is given."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.address}/calls") as answer:
            calls = [call for call in await answer.json() if call["json"].get("messages")]
        return [call for call in calls if get_question(call).startswith(mark)]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


def get_question(call: dict[str, Any]) -> str:
    """The newest. What got no text before it comes in the same turn."""
    turn = next(turn for turn in reversed(call["json"]["messages"]) if turn["role"] == "user")
    return str(turn["content"]).rpartition("\n\n")[2]


def build_answer(question: str) -> str:
    """What the provider says to a first question when no script says otherwise."""
    return build_echo({"messages": [{"role": "user", "content": question}]})


def count_said(call: dict[str, Any]) -> int:
    """How many characters of its answer the provider wrote; the first piece has none."""
    sent: int = call["sent"]
    return min(len(build_echo(call["json"])), PIECE.chunk * max(0, sent - 1))


async def serve() -> None:
    fake = ScriptedProvider(default=PIECE)
    await fake.start()
    print(fake.base_url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
