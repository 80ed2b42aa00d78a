"""What Prometheus would scrape of the running system is what the page of the metrics says."""

import http.client
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from fleet.counters import (
    BOUND_TAG,
    EPISODES_OPENED_TOTAL,
    EVENT_SECONDS,
    GATEWAY_TOTAL,
    INGEST_TOTAL,
    LEG_TAG,
    METRICS,
    TAG,
    GatewayCount,
    IngestCount,
    Leg,
    Metric,
)
from reference.metrics import ADDED_TAGS, PREFIX, scraped_name

pytestmark = pytest.mark.whole_system

AGENT = "ray::DashboardAgent"


def scrape(pid: int) -> str:
    """Read the metrics that Ray's agent serves below a process; nothing while there is none."""
    return "".join(filter(lambda text: "ray_" in text, map(_get_metrics, agent_ports(pid))))


def agent_ports(pid: int) -> Iterator[int]:
    for process in psutil.Process(pid).children(recursive=True):
        if process.name().startswith(AGENT[:15]):
            ports = {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}
            yield from ports


def _get_metrics(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
            text: str = response.read().decode()
            return text
    except (OSError, http.client.HTTPException):
        return ""  # another port of the agent


def samples(text: str, name: str) -> list[dict[str, str]]:
    """Return the tags of each sample of a series."""
    found = re.findall(rf"^{name}\{{(.*)\}} [0-9.e+]+$", text, re.MULTILINE)
    return [dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', tags)) for tags in found]


def series(metric: Metric) -> list[str]:
    return [f"{PREFIX}{name}" for name in metric.series]


def test_scraped_metrics_have_the_names_and_tags_that_the_page_says(running_system: Any) -> None:
    event = {"vehicleId": "scraped", "timestamp": 1_700_000_000, "speed": 50.0}
    running_system.produce([event, b"{", event | {"timestamp": 1_700_000_001}])
    always_there = [metric for metric in METRICS if metric not in (GATEWAY_TOTAL, EPISODES_OPENED_TOTAL)]
    text = ""

    def is_complete() -> bool:
        nonlocal text
        text = scrape(running_system.process.pid)
        legs = {tags[LEG_TAG] for tags in samples(text, f"{scraped_name(EVENT_SECONDS)}_count")}
        counts = {tags[TAG] for tags in samples(text, scraped_name(INGEST_TOTAL))}
        complete = all(samples(text, name) for metric in always_there for name in series(metric))
        return complete and legs == set(Leg) and {IngestCount.SCORED, IngestCount.REJECTED_NOT_JSON} <= counts

    running_system.until(is_complete, "all metrics of the catalogue at Ray's metrics port")
    assert {tags[TAG] for tags in samples(text, scraped_name(INGEST_TOTAL))} <= set(IngestCount)
    assert {tags[TAG] for tags in samples(text, scraped_name(GATEWAY_TOTAL))} <= set(GatewayCount)
    bounds = {tags[BOUND_TAG] for tags in samples(text, f"{scraped_name(EVENT_SECONDS)}_bucket")}
    assert bounds == {*(f"{bound:g}" for bound in EVENT_SECONDS.bounds), "+Inf"}
    for metric in always_there:
        for name in series(metric):
            for tags in samples(text, name):
                assert set(ADDED_TAGS) | set(metric.tags) <= set(tags), name
                assert tags["application"] == "fleet"
    ours = set(re.findall(rf"^({PREFIX}fleet_\w+)", text, re.MULTILINE))
    assert ours <= {name for metric in METRICS for name in series(metric)}, "a metric that no page names"
