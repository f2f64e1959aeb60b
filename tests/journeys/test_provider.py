"""An administrator adds a second, real model server with a key, lists its models, and chats with it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ops.engines.paths import run_directory
from tests.journeys.pages import ask, read_reply, wait_for_state
from tests.journeys.product import ROOT, Product, wait_until

KEY = "sk-second-server-canary-7731"


@pytest.fixture
def second_server() -> Iterator[str]:
    """Its address. It knows nobody without the key."""
    home = Path(tempfile.mkdtemp(prefix="chatbox-second-"))
    run = run_directory(home)
    run.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"CHATBOX_HOME": str(home), "LOCAL_MODEL_KEY": KEY}
    with subprocess.Popen([sys.executable, "-m", "ops.engines.model"], cwd=ROOT, env=environment) as server:
        address = run / "model.json"
        wait_until(address.exists, 30, "the second model server")
        yield f"http://127.0.0.1:{json.loads(address.read_text())['port']}/v1"
        server.terminate()


def test_admin_adds_a_provider_and_chats_with_it(page: Page, product: Product, second_server: str) -> None:
    page.goto(f"{product.address}/admin/providers/provider/add/")
    page.locator("[name=name]").fill("Second server")
    page.locator("[name=base_url]").fill(second_server)
    page.locator("[name=allow_private_address]").check()
    page.locator("[name=new_key]").fill(KEY)
    page.locator("[name=_continue]").click()
    page.get_by_role("button", name="List models").click()
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Offer these models").click()
    expect(page.locator(".messagelist")).to_be_visible()
    assert KEY not in page.content()
    page.goto(f"{product.address}/chat/")
    page.locator("#picker summary").click()
    expect(page.get_by_role("group", name="Second server")).to_be_visible()
    page.keyboard.press("Escape")
    ask(page, "Say hi.")
    wait_for_state(page, "done")
    assert read_reply(page)
    switch_off(page, product, "Second server")
    assert page.context.complaints == []  # type: ignore[attr-defined]


def switch_off(page: Page, product: Product, name: str) -> None:
    """The server ends with its test; nobody shall be sent there afterwards."""
    page.goto(f"{product.address}/admin/providers/provider/")
    page.get_by_role("link", name=name).click()
    page.locator("[name=is_enabled]").uncheck()
    page.locator("[name=_save]").click()


def test_wrong_key_is_told_plainly(page: Page, product: Product, second_server: str) -> None:
    page.goto(f"{product.address}/admin/providers/provider/add/")
    page.locator("[name=name]").fill("Wrong key")
    page.locator("[name=base_url]").fill(second_server)
    page.locator("[name=allow_private_address]").check()
    page.locator("[name=new_key]").fill("sk-wrong")
    page.locator("[name=_continue]").click()
    page.get_by_role("button", name="Test").click()
    expect(page.locator(".messagelist")).to_contain_text("provider_refused")
