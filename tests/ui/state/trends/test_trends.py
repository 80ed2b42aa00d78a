"""Trend lines and latency: whole seconds, gaps, and clocks that differ."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_trends_count_whole_seconds_and_leave_gaps(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const state = new FleetState();
        const frame = (n, fields) => Array.from({length: n}, () => event(fields));
        state.ingest(frame(7, {}), 1000.9);          // the page was opened within this second
        state.ingest(frame(4, {speed: 40}), 1001.5);
        state.ingest(frame(2, {speed: 70, is_anomaly: true, reconstruction_error: 3}), 1001.9);
        state.ingest(frame(2, {speed: null, reconstruction_error: 0.5}), 1003.1);
        const { trends } = state;
        const tail = (...sums) => trends.series(1004.2, ...sums).values.slice(-4);
        return [tail("events"), tail("anomalies", "events"), tail("speed", "speeds"), tail("ratio"),
          trends.rates(1004.2).values.slice(-4),
          trends.recent(1004.2, "events"), trends.recent(1004.2, "speed", "speeds"), trends.recent(1000.95, "events")];
    """) == [
        [None, 6, None, 2],
        [None, 1 / 3, None, 0],
        [None, 50, None, None],
        [None, 3, None, 0.5],
        [None, 6, 0, 2],
        8 / 3,
        50,
        None,
    ]


def test_latency_is_never_negative_and_says_when_clocks_differ(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const ages = (appended) => {
          const state = new FleetState();
          state.ingest(appended.map((appendedAt) => event({appendedAt})), 1000);
          return state.trends.latency.quantiles(999, 1001);
        };
        const some = ages([999.5, 999.75, 999.75, 998, 999.875]);
        return [some, ages([1003, 1003, 1003]), ages([null])];
    """) == [{"p50S": 0.25, "p95S": 2, "ahead": False}, {"p50S": 0, "p95S": 0, "ahead": True}, None]


def test_latency_line_waits_for_a_second_to_be_over(run: Run) -> None:
    assert run("""
        const { FleetState } = await load("state/fleet");
        const state = new FleetState();
        for (const second of [1000, 1001, 1002]) state.ingest([event({appendedAt: second - 0.25})], second);
        return state.trends.series(1003, "p50", "closed").values.slice(-3);
    """) == [None, 0.25, None]
