"""One event, checked at the edge."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]


def test_scored_event_takes_what_is_missing_or_wrong_as_unknown(run: Run) -> None:
    reading = run("""
        const { readEvent } = await load("state/records/scored_event");
        return readEvent({vehicleId: "__proto__", timestamp: "soon", latitude: 900, longitude: "1", speed: null,
          severity: "high", contributions: [], is_anomaly: "yes", anomalyType: 7});
    """)
    assert reading["vehicleId"] == "__proto__"
    unknown = ("timeS", "latitude", "longitude", "speedKmh", "temperatureC", "severity", "cause", "error", "source")
    assert [reading[name] for name in unknown] == [None] * len(unknown)
    assert reading["isAnomaly"] is False


@pytest.mark.parametrize(
    "not_an_event",
    ["null", "7", "'text'", "[]", "{}", "{vehicleId: 7}", "{vehicleId: ''}", "{vehicleId: 'v'.repeat(257)}"],
)
def test_scored_event_refuses_what_is_not_an_event(run: Run, not_an_event: str) -> None:
    assert (
        run(f"const {{ readEvent }} = await load('state/records/scored_event'); return readEvent({not_an_event})")
        is None
    )


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("1764533865.5", 1764533865.5),
        ("'2026-01-01T00:00:00Z'", 1767225600),
        ("'2026-01-01T00:00:00'", 1767225600),
        ("'2026-01-01T02:00:00.250+02:00'", 1767225600.25),
        ("'2026-01-01T02:00:00+0200'", 1767225600),
        ("NaN", None),
    ],
)
def test_scored_event_understands_timestamps(run: Run, timestamp: str, seconds: float | None) -> None:
    assert (
        run(f"const {{ timestampS }} = await load('state/records/scored_event'); return timestampS({timestamp})")
        == seconds
    )
