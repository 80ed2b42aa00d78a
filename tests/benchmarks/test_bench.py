"""The benchmarks, shortened: every one checks its own output, so here it is enough that all of it is there.

No time is asserted: a busy machine is no error.
"""

from pathlib import Path

import pytest

from benchmarks import suite

pytestmark = pytest.mark.whole_system

NAMES = ("parts", "throughput", "latency", "requests", "vehicles")


def test_short_benchmarks_check_their_output_and_leave_all_results(models_folder: Path) -> None:
    results = dict(suite.run(NAMES, models_folder, suite.SHORT, print))
    assert set(results) == set(NAMES)
    assert [value["contestant"] for value in results["throughput"]] == ["floor", "system"]
    for value in results["throughput"]:
        assert value["events"] == suite.SHORT.amount.events
        assert value["repeats"] == suite.SHORT.amount.repeats
        assert value["verdicts_unlike_the_floor"] <= 0.0005 * value["events"]
        assert value["events_per_second"]["median"] > 0
    assert set(results["throughput"][1]["cpu_us_per_event"]) == {"ingest", "scorer", "gateway", "ray", "kafka"}
    assert [asked["path"] for asked in results["requests"]] == ["/predict", "/v1/score"]
    assert all(asked["requests_per_second"]["low"] > 0 for asked in results["requests"])
    [grown] = results["vehicles"]
    assert set(grown["append_to_screen_ms"]) == {"p50", "p95", "p99"}
    [late] = results["latency"]
    assert late["events"] > 0
    assert set(late["append_to_screen_ms"]) == {"p50", "p95", "p99"}
    assert {"decode", "windows and features", "encode", "gateway: view"} <= {v["part"] for v in results["parts"]}
