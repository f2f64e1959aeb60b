"""The real browser: which one, and how it is started."""

import shutil

from playwright.sync_api import Browser, Playwright

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def find() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def launch(playwright: Playwright) -> Browser:
    executable = find()
    assert executable, "Install Chromium (the package `chromium` on Debian) for the browser journeys."
    return playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
