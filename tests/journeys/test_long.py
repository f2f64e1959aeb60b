"""A conversation of 5,000 messages opens at its end, and older ones come as a person scrolls up."""

import pytest
from playwright.sync_api import Page, expect

from tests.journeys.conftest import EMAIL
from tests.journeys.product import Product

LENGTH = 5000
PAGES_UP = 4
ONE_PAGE = 50  # turns; more than that at once is not what one screen asks for
MAKE = f"""
from accounts.models import User
from providers.models import ChatModel
from tests.bench.seed import make_conversation
print(make_conversation(User.objects.get(email={EMAIL!r}), ChatModel.objects.first(), {LENGTH}).id)
"""


@pytest.fixture(scope="module")
def address(product: Product, admin_state: dict[str, object]) -> str:
    made = product.run("shell", "--no-imports", "-c", MAKE)
    assert made.returncode == 0, made.stderr
    return f"{product.address}/chat/{made.stdout.split()[-1]}/"


def list_turns(page: Page) -> list[int]:
    """The numbers of the turns on the page, from the top."""
    heads: list[str] = page.locator("#thread article").evaluate_all(
        "all => all.map(one => one.textContent.match(/Turn (\\d+):/)[1])"
    )
    return [int(head) for head in heads]


def scroll_to_the_top(page: Page) -> None:
    page.locator("#scroll").hover()
    page.mouse.wheel(0, -1_000_000)


def find_turn(page: Page, number: int) -> float:
    """Where it stands on the screen: the pixels above it."""
    box = page.locator("#thread article").filter(has_text=f"Turn {number}:").bounding_box()
    assert box
    return box["y"]


def test_newest_message_is_on_the_screen_and_the_rest_is_not_loaded(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text(f"Turn {LENGTH - 1}:")).to_be_in_viewport()
    turns = list_turns(page)
    assert turns == list(range(LENGTH - len(turns), LENGTH))
    assert len(turns) <= ONE_PAGE
    assert page.context.complaints == []  # type: ignore[attr-defined]


def test_scrolling_up_loads_older_messages_page_by_page(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.get_by_text(f"Turn {LENGTH - 1}:")).to_be_in_viewport()
    for _ in range(PAGES_UP):
        before = list_turns(page)
        scroll_to_the_top(page)
        expect(page.locator("#thread article")).not_to_have_count(len(before))
        turns = list_turns(page)
        assert turns == list(range(turns[0], LENGTH)), "in order, nothing twice, nothing left out"
        assert 0 < len(turns) - len(before) <= ONE_PAGE, "a page at a time"
        assert 0 <= find_turn(page, before[0]) < 800, "the reader stays where they were"
    assert page.context.complaints == []  # type: ignore[attr-defined]
