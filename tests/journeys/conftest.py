"""One running product for all journeys, with its first administrator, and a real browser."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.journeys import chromium
from tests.journeys.product import Product, make_product

EMAIL = "ada@example.test"
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="package")
def product() -> Iterator[Product]:
    product = make_product()
    try:
        product.start()
        yield product
        assert product.stop() == 0
    finally:
        if product.process is not None and not product.has_ended():
            product.process.kill()
        shutil.rmtree(product.home, ignore_errors=True)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def admin_state(product: Product, browser: Browser) -> dict[str, object]:
    """Cookies of the first administrator, who came in by the set-up link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(product.setup_link)
    page.get_by_label("Name").fill("Ada Lovelace")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/chat/")
    state = context.storage_state()
    context.close()
    return dict(state)


@pytest.fixture
def context(browser: Browser, admin_state: dict[str, object]) -> Iterator[BrowserContext]:
    """A signed-in browser. Whatever its pages complain about fails the test."""
    context = browser.new_context(storage_state=admin_state, viewport={"width": 1280, "height": 800})  # type: ignore[arg-type]
    complaints: list[str] = []
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.complaints = complaints  # type: ignore[attr-defined]
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, product: Product) -> Page:
    page = context.new_page()
    page.goto(f"{product.address}/chat/")
    return page
