"""The page's modules in a real browser, served as files, without the rest of the system."""

import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.headless_chromium import running_browser

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


@pytest.fixture(scope="session")
def evaluate(served: str) -> Iterator[Run]:
    """Evaluate JavaScript in a blank page of a browser that all modules' tests share."""
    with ThreadPoolExecutor(1) as thread, ExitStack() as ending:
        started = ExitStack()
        ending.callback(lambda: thread.submit(started.close).result())
        browser = thread.submit(started.enter_context, running_browser()).result()
        page = thread.submit(browser.new_page).result()
        thread.submit(page.goto, f"{served}/ui/favicon.svg").result()
        yield lambda script: thread.submit(page.evaluate, script).result()


@pytest.fixture
def run(evaluate: Run) -> Run:
    """Run the body of an async JavaScript function, in which `load("state/ring")` imports a module of the page."""

    def run_body(body: str) -> Any:
        return evaluate(
            "async () => { const load = (name) => import(`/ui/js/${name}.js`);\n"
            "const event = (fields = {}) => ({vehicleId: 'V1', timestamp: 1000, latitude: -31.4, longitude: -64.2,"
            " speed: 50, reconstruction_error: 0.2, anomaly_threshold: 1, is_anomaly: false, severity: 0.1,"
            " anomalyType: null, contributions: {}, appendedAt: 1000, scoredAt: 1000, source: '0:1', ...fields});\n"
            f"{body} }}"
        )

    return run_body
