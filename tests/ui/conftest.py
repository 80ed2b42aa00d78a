"""The page's modules in a real browser, served as files, without the rest of the system."""

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.headless_chromium import browser

__all__ = ["browser"]

Run = Callable[[str], Any]


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture(scope="session")
def served(project_folder: Path) -> Iterator[str]:
    """The address of the repository's files."""
    handler = functools.partial(_Silent, directory=str(project_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def blank_page(browser: Browser, served: str) -> Iterator[Page]:
    page = browser.new_page()
    page.goto(f"{served}/ui/favicon.svg")
    yield page
    page.close()


@pytest.fixture
def run(blank_page: Page) -> Run:
    """Run the body of an async JavaScript function, in which `load("state/ring")` imports a module of the page."""

    def evaluate(body: str) -> Any:
        return blank_page.evaluate(
            "async () => { const load = (name) => import(`/ui/js/${name}.js`);\n"
            "const event = (fields = {}) => ({vehicleId: 'V1', timestamp: 1000, latitude: -31.4, longitude: -64.2,"
            " speed: 50, reconstruction_error: 0.2, anomaly_threshold: 1, is_anomaly: false, severity: 0.1,"
            " anomalyType: null, contributions: {}, appendedAt: 1000, scoredAt: 1000, source: '0:1', ...fields});\n"
            f"{body} }}"
        )

    return evaluate
