"""What Prometheus would scrape of the running system is what the page of the metrics says."""

import http.client
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from fleet.counters import METRICS, TAG, GatewayCount, IngestCount
from reference.metrics import ADDED_TAGS, scraped_name

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
    """Return the tags of each sample of a metric."""
    found = re.findall(rf"^{name}\{{(.*)\}} [0-9.e+]+$", text, re.MULTILINE)
    return [dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', tags)) for tags in found]


def test_scraped_metrics_have_the_names_and_tags_that_the_page_says(running_system: Any) -> None:
    running_system.produce([{"vehicleId": "scraped", "timestamp": 1_700_000_000, "speed": 50.0}])
    total, lag, gateway = map(scraped_name, METRICS)
    text = ""

    def is_complete() -> bool:
        nonlocal text
        text = scrape(running_system.process.pid)
        counts = {tags[TAG] for tags in samples(text, total)}
        return IngestCount.SCORED in counts and bool(samples(text, lag)) and bool(samples(text, gateway))

    running_system.until(is_complete, "the counts of an event at Ray's metrics port")
    assert {tags[TAG] for tags in samples(text, total)} <= set(IngestCount)
    assert {tags[TAG] for tags in samples(text, gateway)} == set(GatewayCount)
    for tags in (*samples(text, total), *samples(text, lag), *samples(text, gateway)):
        assert set(ADDED_TAGS) <= set(tags)
        assert tags["application"] == "fleet"
