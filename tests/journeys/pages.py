"""What journeys do on the chat page, in the words of a person."""

from playwright.sync_api import Page, expect

from tests.journeys.product import wait_until

LONG = "Write a long story about a lighthouse keeper, with many paragraphs."
ANSWER_MS = 60_000


def ask(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_url("**/chat/*-*/")


def read_reply(page: Page) -> str:
    """The newest reply's text as a person sees it; empty while there is none."""
    replies = page.locator("article.bot .prose")
    return replies.last.inner_text() if replies.count() else ""


def wait_for_text(page: Page, characters: int = 80) -> str:
    return str(wait_until(lambda: (text := read_reply(page)) and len(text) >= characters and text, 30, "text of a reply"))


def wait_for_state(page: Page, state: str) -> None:
    expect(page.locator("article.bot").last).to_have_attribute("data-state", state, timeout=ANSWER_MS)


def stop(page: Page) -> None:
    page.get_by_role("button", name="Stop writing").click()
