"""Debian's Chromium, headless, for the tests of the page.

As long as Playwright's synchronous interface is alive its event loop counts as running in its thread, and other
modules' tests could not start one of their own there. So a browser ends with its module or lives in another thread.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser for as long as the context lasts, in the thread that entered it."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for one module's tests."""
    with running_browser() as chromium:
        yield chromium
