"""The fake as a process of its own, as fault tests and measurements use it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession


@pytest.fixture
def base_url() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.fake_provider", "--text", "Hello", "--chunk", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


async def send(url: str, body: dict[str, Any] | None = None) -> str:
    async with ClientSession() as session, session.request("POST" if body else "GET", url, json=body) as response:
        return await response.text()


async def use(base_url: str, question: dict[str, Any]) -> tuple[list[str], Any]:
    root = base_url.removesuffix(urlsplit(base_url).path)
    await send(f"{root}/script", {"text": "Scripted", "chunk": 100})
    answers = [await send(f"{base_url}/chat/completions", question) for _ in range(2)]
    return answers, json.loads(await send(f"{root}/calls"))


def test_it_is_scripted_and_tells_what_came(base_url: str) -> None:
    question = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    answers, calls = asyncio.run(use(base_url, question))
    assert '"content": "Scripted"' in answers[0]
    assert '"content": "He"' in answers[1]
    assert [call["json"] for call in calls] == [question, question]
    assert all(call["closed_at"] >= call["connected_at"] and not call["is_cut"] for call in calls)
