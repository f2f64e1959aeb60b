"""Processes are killed for real in mid-answer; what a person sees afterwards. Last, since it restarts everything."""

import signal

from playwright.sync_api import Page, expect

from tests.journeys.pages import LONG, ask, read_reply, wait_for_state, wait_for_text
from tests.journeys.product import Product, wait_until


def assert_healthy(product: Product) -> None:
    examined = product.run("doctor")
    assert examined.returncode == 0, examined.stdout + examined.stderr


def test_killed_web_server_costs_nothing(page: Page, product: Product) -> None:
    ask(page, LONG)
    before = wait_for_text(page)
    product.find(r"ops\.door").send_signal(signal.SIGKILL)
    wait_for_state(page, "done")
    text = read_reply(page)
    assert text.startswith(before[:-20])
    assert len(text) > len(before)
    page.reload()
    assert read_reply(page) == text
    assert_healthy(product)


def test_killed_worker_leaves_the_text_and_a_retry(page: Page, product: Product) -> None:
    ask(page, LONG)
    before = wait_for_text(page)
    product.find(r"-Q replies").send_signal(signal.SIGKILL)
    wait_until(lambda: page.locator("article.bot").last.get_attribute("data-state") == "interrupted", 40, "the interruption")
    assert read_reply(page).startswith(before[:-20])
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("article.bot").last).not_to_have_attribute("data-state", "interrupted")
    wait_for_state(page, "done")
    assert_healthy(product)


def test_restart_of_everything_keeps_everything(page: Page, product: Product) -> None:
    ask(page, "Say hi.")
    wait_for_state(page, "done")
    text, address = read_reply(page), page.url
    assert product.stop() == 0
    product.start()
    page.goto(address)
    assert read_reply(page) == text
    assert_healthy(product)
