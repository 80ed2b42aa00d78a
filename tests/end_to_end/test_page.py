"""The page in a real browser against the real system: what a user sees, and that it comes back by itself."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, WebSocketRoute, expect

from tests.calm_drive import calm_drive
from tests.headless_chromium import browser

pytestmark = pytest.mark.whole_system

__all__ = ["browser"]

PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

Open = Callable[..., Page]


@pytest.fixture
def vehicle() -> str:
    return f"car-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def open_page(browser: Browser, running_system: Any) -> Iterator[Open]:
    """Open the page, live; in the end nothing may have gone wrong in it, and nothing may have left the host."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    asked: list[str] = []

    def opened(path: str = "/", routed: Callable[[WebSocketRoute], None] | None = None, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        if routed:
            page.route_web_socket(re.compile("/ws/telemetry"), routed)
        page.goto(running_system.url + path)
        expect(page.get_by_role("status")).to_have_text("Live")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    host = running_system.url.split("://")[1]
    assert asked
    assert [url for url in asked if not re.match(rf"(http|ws)://{re.escape(host)}/|data:", url)] == []


def received(page: Page) -> int:
    """How many events the page says it has received."""
    note = page.locator("[data-figure=rate] [data-part=note]").inner_text()
    return int(re.sub(r"\D", "", note) or 0)


def expect_received(page: Page, least: int) -> None:
    """Wait until the page has received that many events."""
    page.wait_for_function(
        """least => {
            const note = document.querySelector("[data-figure=rate] [data-part=note]");
            return Number(note.textContent.replace(/[^0-9]/g, "")) >= least;
        }""",
        arg=least,
    )


def rows(page: Page, vehicle: str, cause: str) -> Any:
    """The rows of the anomaly list for one vehicle and cause."""
    of_vehicle = page.locator("#anomalies button").filter(has_text=vehicle)
    return of_vehicle.filter(has=page.locator(".cause", has_text=cause))


def test_events_arrive_and_are_counted(open_page: Open, running_system: Any, vehicle: str) -> None:
    page = open_page()
    before = received(page)
    running_system.produce(calm_drive(vehicle, 30))
    expect_received(page, before + 30)
    expect(page.locator("#events tbody tr").filter(has_text=vehicle).first).to_be_visible()
    expect(page.locator("[data-figure=latency] [data-part=value]")).to_have_text(re.compile(r"\d (ms|s|min)$"))
    expect(page.locator("#pipeline")).to_contain_text(re.compile(r"Scored\s*[\d,]+"))
    expect(page.locator("#empty")).to_be_hidden()


@pytest.mark.parametrize(
    ("fault", "cause", "reason"),
    [
        ({"speed": 170}, "Overspeed", "170 km/h where 60 is allowed"),
        ({"temperature": 135}, "Engine overheating", "Engine at 135 °C"),
    ],
    ids=["overspeed", "overheat"],
)
def test_a_fault_stands_in_red_once_with_its_reason(
    open_page: Open, running_system: Any, vehicle: str, fault: dict[str, float], cause: str, reason: str
) -> None:
    page = open_page()
    running_system.produce(calm_drive(vehicle, 30, **fault))
    row = rows(page, vehicle, cause)
    expect(row).to_have_count(1)
    expect(row).to_contain_text(reason)
    expect(row.locator("[data-part=severity]")).to_have_text(re.compile(r"· ([2-9]|[12]\d|30)×$"))
    red, green, blue = (
        int(part)
        for part in re.findall(r"\d+", row.locator(".cause").evaluate("node => getComputedStyle(node).color"))[:3]
    )
    assert red > 2 * max(green, blue)
    expect(page).to_have_title(re.compile(r"^\(\d+\) "))


def test_a_clicked_anomaly_shows_the_vehicles_details(open_page: Open, running_system: Any, vehicle: str) -> None:
    page = open_page()
    running_system.produce(
        calm_drive(vehicle, 20, range(10, 20), speed=170, anomaly=True, anomalyType="overspeed", driver="Ana")
    )
    rows(page, vehicle, "Overspeed").click()
    details = page.get_by_role("complementary")
    expect(details.get_by_role("heading", name=vehicle)).to_be_focused()
    for text in ("170.0 km/h", "90.0 °C", "80.0 %", "Ground truth", "driver", "Ana", "What weighed most"):
        expect(details).to_contain_text(text)
    expect(details.locator(".verdict")).to_contain_text("Overspeed")
    latest = running_system.get(f"v1/vehicles/{vehicle}")["latest"]
    for name in ("source", "modelVersion"):
        expect(details).to_contain_text(latest[name])
    expect(details.get_by_role("img", name=re.compile("Speed and limit over the last 20 events"))).to_be_visible()
    assert page.url.endswith(f"#vehicleId={vehicle}")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    assert "#" not in page.url


def test_an_anomaly_that_is_over_stands_below_with_how_it_ended(
    open_page: Open, running_system: Any, vehicle: str
) -> None:
    page = open_page()
    events = calm_drive(vehicle, 220, range(40, 52), speed=170)
    running_system.produce(events[:52])
    expect(page.get_by_role("list", name="Ongoing anomalies").locator("button", has_text=vehicle)).to_have_count(1)
    running_system.produce(events[52:])
    ended = page.get_by_role("list", name="Earlier anomalies").locator("button", has_text=vehicle)
    expect(ended).to_have_count(1)
    expect(page.get_by_role("list", name="Ongoing anomalies").locator("button", has_text=vehicle)).to_have_count(0)
    ended.click()
    details = page.locator("#details [data-part=episodes]")
    for text in ("Overspeed", "Recovered", "170 km/h where 60 is allowed", "events anomalous"):
        expect(details).to_contain_text(text)


def test_an_operator_acts_on_an_anomaly_and_another_screen_shows_it(
    open_page: Open, running_system: Any, vehicle: str
) -> None:
    running_system.produce(calm_drive(vehicle, 52, range(40, 52), speed=170))
    one, other = open_page(f"/#vehicleId={vehicle}"), open_page()
    past = one.locator("#details .past").first
    past.get_by_role("button", name="Acknowledge").click()
    past.get_by_role("combobox", name="What the alarm was worth").select_option("True alarm")
    past.get_by_role("textbox", name="Comment").fill("The driver was told")
    past.get_by_role("textbox", name="Comment").press("Enter")
    for text in ("acknowledged it", "called it: true alarm", "wrote: The driver was told"):
        expect(past).to_contain_text(text)
    expect(past.get_by_role("button", name="Acknowledge")).to_be_hidden()
    row = rows(other, vehicle, "Overspeed")
    expect(row).to_contain_text("Acknowledged · True alarm · 1 comment")
    other.get_by_role("combobox", name="Which anomalies").select_option("New")
    expect(row).to_have_count(0)
    past.get_by_role("button", name="Snooze 1 h").click()
    other.get_by_role("combobox", name="Which anomalies").select_option("Not snoozed")
    expect(row).to_have_count(0)
    other.get_by_role("combobox", name="Which anomalies").select_option("Snoozed")
    expect(row).to_have_count(1)


def test_a_link_leads_to_a_vehicle_and_the_search_finds_another(
    open_page: Open, running_system: Any, vehicle: str
) -> None:
    running_system.produce([*calm_drive(vehicle, 4), *calm_drive(f"{vehicle}-two", 4)])
    running_system.until(
        lambda: {vehicle, f"{vehicle}-two"} <= {v["vehicleId"] for v in running_system.get("v1/vehicles")["vehicles"]},
        "both vehicles",
    )
    page = open_page(f"/#vehicleId={vehicle}")
    heading = page.locator("#details-title")
    expect(heading).to_have_text(vehicle)
    expect(page.locator("#details")).to_contain_text("48.0 km/h")
    page.keyboard.press("/")
    page.keyboard.type(f"{vehicle}-t")
    expect(page.get_by_role("listbox", name="Vehicles").get_by_role("option")).to_have_text([f"{vehicle}-two"])
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(heading).to_have_text(f"{vehicle}-two")
    page.go_back()
    expect(heading).to_have_text(vehicle)


def test_text_from_a_vehicle_is_never_markup(open_page: Open, running_system: Any, vehicle: str) -> None:
    page = open_page()
    hostile = f"<img src=x onerror=alert(1)>{vehicle}"
    running_system.produce(
        calm_drive(hostile, 12, range(6, 12), speed=170, note="<script>alert(2)</script><b>bold</b>")
    )
    rows(page, hostile, "Overspeed").click()
    expect(page.locator("#details-title")).to_have_text(hostile)
    expect(page.locator("#details")).to_contain_text("<script>alert(2)</script><b>bold</b>")
    assert page.locator("body img, #details b:not([data-part])").count() == 0


def test_the_map_is_painted_and_a_click_on_it_picks_a_vehicle(
    open_page: Open, running_system: Any, vehicle: str
) -> None:
    page = open_page()
    running_system.produce(calm_drive(vehicle, 12, range(6, 12), speed=170))
    rows(page, vehicle, "Overspeed").click()
    page.get_by_role("button", name="Show on the map").click()
    page.get_by_role("button", name="Close the details").click()
    page.wait_for_function(
        """() => {
            const canvas = document.querySelector("#map-canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3] > 200 && data[i] > 150 && data[i + 1] < 110 && data[i + 2] < 110) return true;
            }
            return false;
        }"""
    )
    page.locator("#map-canvas").click()  # its middle, where the vehicle was brought
    expect(page.locator("#details-title")).to_have_text(vehicle)


def test_the_page_comes_back_after_its_socket_was_cut(open_page: Open, running_system: Any, vehicle: str) -> None:
    routes: list[WebSocketRoute] = []
    blocked = False

    def routed(route: WebSocketRoute) -> None:
        if blocked:
            route.close(code=1013, reason="Try again later")
            return
        route.connect_to_server()
        routes.append(route)

    page = open_page(routed=routed)
    running_system.produce(calm_drive(f"{vehicle}-before", 5))
    expect_received(page, 5)
    blocked = True
    routes[0].close(code=1012, reason="Going away for a moment")
    expect(page.get_by_role("status")).to_have_text("Reconnecting")
    expect(page.get_by_role("button", name="Retry now")).to_be_visible()
    expect(page.locator("#stale")).to_have_text(re.compile(r"^No connection\. Data from \d\d:\d\d:\d\d$"))
    running_system.produce(calm_drive(vehicle, 12, temperature=135))
    running_system.until(
        lambda: vehicle in {v["vehicleId"] for v in running_system.get("v1/vehicles")["vehicles"]}, "the lost events"
    )
    blocked = False
    expect(page.get_by_role("status")).to_have_text("Live")
    expect(page.locator("#stale")).to_be_hidden()
    assert len(routes) == 2
    # What was missed is caught up on from the snapshot, and what comes next comes live.
    expect(rows(page, vehicle, "Engine overheating")).to_have_count(1)
    before = received(page)
    running_system.produce(calm_drive(f"{vehicle}-later", 5))
    expect_received(page, before + 5)


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (820, 1100)])
def test_a_narrow_screen_never_scrolls_sideways(
    open_page: Open, running_system: Any, vehicle: str, width: int, height: int
) -> None:
    page = open_page(viewport={"width": width, "height": height})
    long_name = f"{vehicle}-{'x' * 120}"
    running_system.produce(calm_drive(long_name, 12, range(6, 12), speed=170, note="y" * 200))
    row = rows(page, long_name, "Overspeed")
    expect(row).to_be_visible()

    def overflow() -> int:
        return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    assert overflow() <= 0
    row.click()
    expect(page.locator("#details-title")).to_have_text(long_name)
    assert overflow() <= 0
    page.get_by_role("button", name="Close the details").click()
    expect(page.locator("#details")).to_be_hidden()
    assert overflow() <= 0


def test_the_strip_says_what_the_ledger_says_and_opens_it(open_page: Open, running_system: Any, vehicle: str) -> None:
    page = open_page()
    running_system.until(lambda: running_system.get("v1/pipeline")["lag"] == 0, "earlier tests' events to be committed")
    before = running_system.get("v1/pipeline")["read"]
    running_system.produce([*calm_drive(vehicle, 20), b"not an event"])

    def settled() -> bool:
        pipeline = running_system.get("v1/pipeline")
        return bool(pipeline["read"] >= before + 21 and pipeline["lag"] == 0)

    running_system.until(settled, "everything to be committed")
    books = page.get_by_role("button", name="Books balance")
    books.focus()
    page.keyboard.press("Enter")
    expect(books).to_have_attribute("aria-expanded", "true")
    pipeline = running_system.get("v1/pipeline")
    rows = page.get_by_role("region", name="Ledger by partition").get_by_role("row")
    expect(rows).to_have_count(len(pipeline["partitions"]) + 2)
    named = {"All": pipeline} | {str(part["partition"]): part for part in pipeline["partitions"]}
    for i, (name, part) in enumerate(named.items(), start=1):
        numbers = [f"{part[number]:,}" for number in ("read", "scored", "deadLettered", "inFlight")]
        cells = rows.nth(i).locator("th, td")
        expect(cells).to_have_text([name, *numbers, "Balances", "0", "0 ms"])
    for name, number in (
        ("Read", "read"),
        ("Scored", "scored"),
        ("Dead letters", "deadLettered"),
        ("In flight", "inFlight"),
    ):
        expect(page.locator("#pipeline dl div", has_text=re.compile(f"^{name}"))).to_have_text(
            f"{name}{pipeline[number]:,}"
        )
    page.keyboard.press("Escape")
    expect(page.locator("#ledger")).to_be_hidden()
    expect(books).to_be_focused()


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_books_that_do_not_balance_stand_in_red_with_their_partition(open_page: Open, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 900})
    changes: dict[str, Any] = {}

    def changed(route: Route) -> None:
        pipeline = route.fetch().json()
        if changes:
            pipeline["read"] += changes["missing"]
            pipeline["partitions"][changes["partition"]]["read"] += changes["missing"]
        route.fulfill(json=pipeline)

    page.route(re.compile("/v1/pipeline$"), changed)
    books = page.locator("#pipeline button")
    expect(books).to_have_text("Books balance")
    calm = books.evaluate("node => getComputedStyle(node).color")
    changes |= {"partition": 3, "missing": 1012}
    expect(books).to_have_text("Books do not balance: 1,012 missing in partition 3")
    red, green, blue = (
        int(part) for part in re.findall(r"\d+", books.evaluate("node => getComputedStyle(node).color"))[:3]
    )
    assert red > 2 * max(green, blue)
    books.click()
    wrong = page.locator("#ledger tr[data-unbalanced]")
    expect(wrong.locator("th")).to_have_text(["All", "3"])
    expect(wrong.locator(".balance")).to_have_text(["1,012 missing"] * 2)
    expect(page.locator("#ledger")).to_contain_text("fleet audit names the records")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    changes.clear()
    expect(books).to_have_text("Books balance")
    expect(wrong).to_have_count(0)
    assert books.evaluate("node => getComputedStyle(node).color") == calm


def test_the_strip_says_when_the_gateway_cannot_say(open_page: Open) -> None:
    page = open_page()
    unknown = dict.fromkeys(
        ("read", "scored", "deadLettered", "inFlight", "lag", "oldestUnscoredSeconds", "ledgerReadAt")
    )
    page.route(
        re.compile("/v1/pipeline$"),
        lambda route: route.fulfill(json={**route.fetch().json(), **unknown, "partitions": []}),
    )
    expect(page.locator("#pipeline button")).to_have_text("Books not known yet")
    expect(page.locator("#pipeline")).to_contain_text("Kafka has not told the gateway its counts yet.")


def test_dark_follows_the_system_and_the_button_overrides_it(open_page: Open) -> None:
    page = open_page(color_scheme="dark")

    def brightness() -> int:
        colour = page.evaluate("getComputedStyle(document.querySelector('.bar')).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert brightness() < 150
    page.get_by_role("button", name="Dark theme").click()
    assert brightness() > 600
    page.reload()
    expect(page.get_by_role("status")).to_have_text("Live")
    assert brightness() > 600


def test_what_can_be_operated_has_a_name(open_page: Open) -> None:
    page = open_page()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, [role=application], [role=region]")]
            .filter((node) => node.checkVisibility() && !(node.textContent.trim() || node.ariaLabel ||
                node.getAttribute("aria-labelledby") || node.labels?.length))
            .map((node) => node.outerHTML)"""
    )
    assert nameless == []
