"""The whole page in a real browser, on answers and events that a test makes up: a first trial with little to show."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, WebSocketRoute, expect

from tests.headless_chromium import browser

__all__ = ["browser"]

PATIENCE_MS = 20_000
CORDOBA, HAMBURG = (-31.41, -64.18), (53.55, 9.99)
BOOKS = {"read": 40, "scored": 40, "deadLettered": 0, "inFlight": 0, "lag": 0, "partitions": []}


class Trial:
    """The page, and what its gateway would say."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.pipeline: dict[str, Any] = {**BOOKS, "keyless": 0}
        self._sockets: list[WebSocketRoute] = []
        self._events = 0
        page.route(re.compile("/v1/"), self._answer)
        page.route_web_socket(re.compile("/ws/telemetry"), self._connected)

    def send(self, vehicle: str, place: tuple[float, float]) -> None:
        """Let one vehicle say where it is."""
        self._events += 1
        times = dict.fromkeys(("timestamp", "appendedAt", "scoredAt"), time.time())
        verdict = {"reconstruction_error": 0.1, "anomaly_threshold": 1.0, "is_anomaly": False, "severity": 0.1}
        where = dict(zip(("latitude", "longitude"), place, strict=True))
        event = {"vehicleId": vehicle, "speed": 50.0, "source": f"0:{self._events}", **times, **verdict, **where}
        for socket in self._sockets:
            socket.send(json.dumps([event]))

    def scale_m(self) -> float:
        """Metres that the map's scale bar stands for."""
        number, unit = self.page.locator("[data-part=scale-text]").inner_text().split()
        return float(number) * (1_000 if unit == "km" else 1)

    def _connected(self, socket: WebSocketRoute) -> None:
        self._sockets.append(socket)

    def _answer(self, route: Route) -> None:
        kind = route.request.url.split("/v1/")[1].split("?")[0]
        answers: dict[str, Any] = {
            "pipeline": self.pipeline,
            "vehicles": {"vehicles": []},
            "channels": {"channels": []},
        }
        route.fulfill(json=answers.get(kind, {"episodes": []}))


@pytest.fixture
def trial(browser: Browser, served: str, project_folder: Path) -> Iterator[Trial]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.route(f"{served}/page", lambda route: route.fulfill(path=project_folder / "ui" / "index.html"))
    trial = Trial(page)
    page.goto(f"{served}/page")
    expect(page.get_by_role("status")).to_have_text("Live")
    yield trial
    context.close()


def test_the_map_goes_to_the_first_vehicle(trial: Trial) -> None:
    assert trial.scale_m() > 1_000_000, "the world, while there is nothing to see"
    trial.send("TRUCK-7", CORDOBA)
    trial.page.wait_for_function("() => /^\\d+ m$/.test(document.querySelector('[data-part=scale-text]').textContent)")
    assert 10 <= trial.scale_m() <= 500
    expect(trial.page.locator("[data-part=outside]")).to_be_hidden()


@pytest.mark.parametrize("moved_first", [True, False], ids=["moved before", "moved afterwards"])
def test_the_map_is_left_where_somebody_has_moved_it(trial: Trial, moved_first: bool) -> None:
    canvas = trial.page.locator("#map-canvas")
    if moved_first:
        canvas.press("ArrowLeft")
    trial.send("TRUCK-7", CORDOBA)
    trial.page.wait_for_function("() => /^\\d+ m$/.test(document.querySelector('[data-part=scale-text]').textContent)")
    canvas.press("-")
    trial.send("TRUCK-8", HAMBURG)
    expect(trial.page.locator("[data-part=outside]")).to_have_text("1 outside this view")
    chosen_m = trial.scale_m()
    trial.send("TRUCK-7", HAMBURG)
    expect(trial.page.locator("[data-part=outside]")).to_have_text("2 outside this view")
    assert trial.scale_m() == chosen_m


def test_the_strip_says_what_to_do_about_records_without_a_key(trial: Trial) -> None:
    notice = trial.page.locator("#pipeline [data-part=problem]")
    expect(trial.page.locator("#pipeline")).to_contain_text("Books balance")
    expect(notice).to_be_hidden()
    trial.pipeline["keyless"] = 7
    expect(notice).to_contain_text("Set the record's key to vehicleId")
    expect(trial.page.locator("#pipeline dl div", has_text="Without a key")).to_have_text("Without a key7")
    for width in (390, 820, 1440):
        trial.page.set_viewport_size({"width": width, "height": 900})
        expect(notice).to_be_visible()
        assert trial.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
