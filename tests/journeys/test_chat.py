"""A person chats with the real model in a real browser."""

import time

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.journeys.pages import LONG, ask, read_reply, stop, wait_for_state, wait_for_text
from tests.journeys.product import wait_until

SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


def test_answer_appears_piece_by_piece_and_the_page_has_nothing_to_complain_about(page: Page) -> None:
    ask(page, LONG)
    lengths = []
    wait_until(lambda: lengths.append(len(read_reply(page))) or len(set(lengths)) > 4, 30, lengths)  # type: ignore[func-returns-value]
    wait_for_state(page, "done")
    assert "lighthouse" in read_reply(page)
    assert page.context.complaints == []  # type: ignore[attr-defined]


def test_reload_in_mid_answer_loses_nothing_and_goes_on(page: Page) -> None:
    ask(page, LONG)
    before = wait_for_text(page)
    page.reload()
    after = wait_for_text(page, len(before))
    assert after.startswith(before[:-20])
    wait_until(lambda: len(read_reply(page)) > len(after), 10, "more text after the reload")
    stop(page)
    wait_for_state(page, "stopped")


def test_second_tab_shows_the_same(page: Page) -> None:
    ask(page, LONG)
    wait_for_text(page)
    other = page.context.new_page()
    other.goto(page.url)
    wait_for_text(other)
    stop(other)
    for tab in (page, other):
        wait_for_state(tab, "stopped")
    assert read_reply(page) == read_reply(other)


def test_question_asked_in_one_tab_is_answered_in_both(page: Page) -> None:
    ask(page, "Say hello.")
    wait_for_state(page, "done")
    other = page.context.new_page()
    other.goto(page.url)
    page.get_by_role("textbox", name="Message").fill("Now say goodbye.")
    page.keyboard.press("Enter")
    for tab in (page, other):
        expect(tab.locator("article.bot")).to_have_count(2)
        expect(tab.get_by_text("Now say goodbye.")).to_be_visible()
        wait_for_state(tab, "done")
    assert read_reply(page) == read_reply(other)


def test_stop_ends_it_within_a_second_and_keeps_the_text(page: Page) -> None:
    ask(page, LONG)
    before = wait_for_text(page)
    started = time.monotonic()
    stop(page)
    wait_for_state(page, "stopped")
    assert time.monotonic() - started < 2, "a second for the stop, one for a busy machine"
    text = read_reply(page)
    assert text.startswith(before[:-20])
    page.reload()
    assert read_reply(page) == text
    expect(page.get_by_text("Stopped", exact=True)).to_be_visible()


def test_final_html_is_the_live_html(page: Page) -> None:
    ask(page, "Show a Python function that adds two numbers, in a code block, then a list of three facts.")
    wait_for_state(page, "done")
    live = page.locator("article.bot .prose").last.inner_html()
    page.reload()
    assert page.locator("article.bot .prose").last.inner_html() == live


def test_rename_and_delete(page: Page) -> None:
    ask(page, "Say hi.")
    wait_for_state(page, "done")
    page.goto(page.url + "rename/")
    page.get_by_role("textbox", name="Title").fill("Greetings")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("link", name="Greetings", exact=True)).to_be_visible()
    page.goto(page.url.split("?")[0].removesuffix("rename/") + "delete/")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("link", name="Greetings", exact=True)).to_have_count(0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_size_and_colour_fits(context: BrowserContext, page: Page, size: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]
    ask(page, "Say hi.")
    wait_for_state(page, "done")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert context.complaints == []  # type: ignore[attr-defined]


def test_chat_works_without_javascript(context: BrowserContext, page: Page) -> None:
    plain = context.browser.new_context(java_script_enabled=False, storage_state=context.storage_state())  # type: ignore[union-attr]
    tab = plain.new_page()
    tab.goto(page.url)
    tab.get_by_role("textbox", name="Message").fill("Say hi.")
    tab.get_by_role("button", name="Send").click()
    tab.wait_for_url("**/chat/*-*/")
    expect(tab.locator("article.bot").last).to_have_attribute("data-state", "done", timeout=30_000)
    assert read_reply(tab)
    plain.close()
