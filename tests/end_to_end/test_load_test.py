"""The load test with everything it has, against the whole system: producers, requests, the feed, and the page."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from commands.loadtest import loadtest

pytestmark = pytest.mark.whole_system

RATE, SECONDS, PREDICTS, SCORES, FEED_CLIENTS = 200, 3, 10, 2, 3
# Whether everything arrives, not how fast: the machine is anybody's.
LIMITS = """
[scored]
p99_ms = 120000
[websocket]
p99_ms = 120000
[feed]
p99_ms = 120000
lost = 0
[predict]
p99_ms = 10000
[score]
p99_ms = 10000
[pipeline]
lag_max = 1000
lag_at_end = 0
[generator]
lateness_p99_ms = 60000
reader_busy_share = 1
"""


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(loadtest)
    return app


def test_load_test_of_the_whole_system_passes_and_its_page_shows_it(
    running_system: Any, command: typer.Typer, tmp_path: Path
) -> None:
    limits, page = tmp_path / "limits.toml", tmp_path / "page.html"
    limits.write_text(LIMITS)
    options: dict[str, Any] = {
        "rate": RATE,
        "vehicles": 50,
        "seconds": SECONDS,
        "processes": 2,
        "profile": "ramp",
        "gateway": running_system.url,
        "predict-rate": PREDICTS,
        "score-rate": SCORES,
        "score-events": 50,
        "feed-clients": FEED_CLIENTS,
        "client-processes": 2,
        "websocket": running_system.url.replace("http", "ws", 1) + "/ws/telemetry?batch=true",
        "thresholds": limits,
        "report": page,
    }
    result = CliRunner().invoke(command, [f"--{name}={value}" for name, value in options.items()])
    assert result.exit_code == 0, result.output
    assert "0 failed" in result.output
    assert f"{FEED_CLIENTS} clients" in result.output
    assert "0 events lost over all clients" in result.output
    text = page.read_text()
    for heading in ("Rate", "Latency: POST /predict", "Latency: POST /v1/score", "Lag", "Replicas", "Losses"):
        assert f"<h2>{heading}</h2>" in text
    assert "Passed: every limit was kept." in text
