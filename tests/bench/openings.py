"""How soon a conversation is on the screen of a real browser, and how soon the pages above it."""

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.bench.installation import Installation
from tests.journeys import chromium

EMAIL = "viewer0@example.test"
PAGES_UP = 5
# Both end with two frames, so that what was found has been painted. The page's own clock begins with its navigation.
SHOWN = """async (newest) => {
  const frame = () => new Promise(requestAnimationFrame);
  const isShown = () => {
    const turn = [...document.querySelectorAll("#thread article")].at(-1);
    const box = turn?.getBoundingClientRect();
    return box && turn.innerText.includes(newest) && box.top < innerHeight && box.bottom > 0;
  };
  while (!isShown()) await frame();
  await frame(), await frame();
  return performance.now();
}"""
OLDER = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  const count = () => document.querySelectorAll("#thread article").length;
  const before = count(), began = performance.now();
  document.querySelector("#scroll").scrollTop = 0;
  while (count() === before) await frame();
  await frame(), await frame();
  return performance.now() - began;
}"""


@dataclass(frozen=True, slots=True)
class Opening:
    """`shown_ms`: navigation's start to the newest message on the screen. `older_ms`: a page of older ones, by scrolling up."""

    length: str
    shown_ms: list[float]
    older_ms: list[float]


def measure(installation: Installation, *, times: int) -> list[Opening]:
    """In turns, each in a browser that was never here. Nothing where there is no Chromium."""
    if not chromium.find():
        return []
    made = [Opening(length, [], []) for length in installation.conversations]
    cookies = installation.call("sign_in", email=EMAIL)
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        _open(browser, installation, cookies, made[0])
        made[0].shown_ms.clear()  # the browser's own first page
        for _ in range(times):
            for opening in made:
                _open(browser, installation, cookies, opening)
        browser.close()
    return made


def _open(browser: Browser, installation: Installation, cookies: dict[str, Any], opening: Opening) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_cookies([{"name": name, "value": value, "url": installation.address} for name, value in cookies.items()])
    page = context.new_page()
    conversation = installation.conversations[opening.length][0]
    page.goto(f"{installation.address}/chat/{conversation}/", wait_until="commit")
    opening.shown_ms.append(page.evaluate(SHOWN, f"Turn {int(opening.length) - 1}:"))
    if len(opening.older_ms) < PAGES_UP:
        opening.older_ms.extend(_scroll_up(page))
    context.close()


def _scroll_up(page: Page) -> list[float]:
    """As far as there is more, but not for ever."""
    page.wait_for_load_state("load")
    taken: list[float] = []
    while len(taken) < PAGES_UP and page.locator("a.earlier").count():
        taken.append(page.evaluate(OLDER))
    return taken
