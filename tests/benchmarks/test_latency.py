"""Latency: figures only when every event is accounted for, percentiles by when events were due, and keeping up."""

import math
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import latency
from benchmarks.costs import Costs
from benchmarks.figures import Figure
from benchmarks.latency import PERCENTILES, WARM_UP_S, LatencyResult, result_of
from benchmarks.open_loop import Sent
from benchmarks.screen import Screen, Seen
from benchmarks.verdicts import BenchmarkError
from fleet.errors import LocalServiceError

SECONDS = 6.0
FIRST_S = 1_000.0
COSTS = Costs({"ingest": 0.3}, {"ingest": 400.0})


def seen(due_s: Any, late_s: Any = 0.050) -> Seen:
    """Events due at these times and shown so much later; a tenth passes in each stage before the last."""
    due = np.asarray(due_s, np.float64)
    late = np.broadcast_to(np.asarray(late_s, np.float64), due.shape)
    return Seen(due, due + 0.1 * late, due + 0.2 * late, due + 0.3 * late, due + late)


def evenly(events: int) -> Any:
    return FIRST_S + np.linspace(0.0, WARM_UP_S + SECONDS, events, endpoint=False)


def result(shown: Seen, acknowledged: int, dropped: int = 0) -> LatencyResult:
    return result_of("system", 1_000, SECONDS, Sent(acknowledged, FIRST_S, 3.0), shown, dropped, COSTS)


def test_a_complete_run_has_the_figures_of_its_events() -> None:
    found = result(seen(evenly(800)), 800)
    assert found.events == 800
    assert found.not_shown == 0
    assert found.kept_up
    assert found.generator_late_p99_ms == 3.0
    for percentile in PERCENTILES:
        assert found.from_due_ms[percentile] == pytest.approx((50.0,) * 3)
        assert found.from_append_ms[percentile] == pytest.approx((45.0,) * 3)
    assert {name: figure.median for name, figure in found.stages_ms.items()} == pytest.approx(
        {"read": 5.0, "scored": 5.0, "shown": 35.0}
    )
    assert found.cpu_us == {"ingest": pytest.approx(375.0)}
    assert found.peak_mib == COSTS.peak_mib


@pytest.mark.parametrize(("acknowledged", "dropped"), [(801, 0), (799, 0), (800, 1), (802, 1)])
def test_one_event_that_is_not_accounted_for_leaves_no_figures(acknowledged: int, dropped: int) -> None:
    sentence = f"Of {acknowledged} events 800 were shown and {dropped} counted as dropped"
    with pytest.raises(BenchmarkError, match=sentence):
        result(seen(evenly(800)), acknowledged, dropped)


def test_events_that_were_dropped_and_counted_are_told_and_mean_it_did_not_keep_up() -> None:
    found = result(seen(evenly(800)), 801, dropped=1)
    assert found.not_shown == 1
    assert not found.kept_up


def test_the_warm_up_counts_for_nothing() -> None:
    due_s = evenly(800)
    late_s = np.where(due_s < FIRST_S + WARM_UP_S, 60.0, 0.010)
    assert result(seen(due_s, late_s), 800).from_due_ms[99] == pytest.approx((10.0,) * 3)


def test_an_event_counts_where_it_was_due_however_late_it_came() -> None:
    due_s = evenly(800)
    is_in_the_first_window = (due_s >= FIRST_S + WARM_UP_S) & (due_s < FIRST_S + WARM_UP_S + 2)
    found = result(seen(due_s, np.where(is_in_the_first_window, 5.0, 0.010)), 800)
    assert found.from_due_ms[50] == pytest.approx((10.0, 10.0, 5_000.0))


@pytest.mark.parametrize(("p99_ms", "kept_up"), [(0.0, True), (1_999.0, True), (2_000.0, False), (1e5, False)])
def test_keeping_up_is_the_99th_percentile_from_due(p99_ms: float, kept_up: bool) -> None:
    found = replace(result(seen(evenly(800)), 800), from_due_ms={99: Figure(p99_ms, 0.0, 1e9)})
    assert found.kept_up is kept_up


def test_a_run_of_which_nothing_is_left_after_the_warm_up_did_not_keep_up() -> None:
    found = result(seen([FIRST_S]), 1)
    assert math.isnan(found.from_due_ms[99].median)
    assert not found.kept_up


@given(st.lists(st.tuples(st.floats(0.0, 7.99), st.floats(0.0, 3.0)), min_size=1, max_size=80))
def test_percentiles_are_numpys_over_what_was_due_in_each_window(events: list[tuple[float, float]]) -> None:
    due_s = FIRST_S + np.array([at for at, _ in events])
    late_s = np.array([late for _, late in events])
    found = result(seen(due_s, late_s), len(events))
    for percentile in PERCENTILES:
        each = []
        for window in range(3):
            begin_s = FIRST_S + WARM_UP_S + 2.0 * window
            if (inside := (due_s >= begin_s) & (due_s < begin_s + 2.0)).any():
                each.append(float(np.percentile(late_s[inside] * 1000, percentile)))
        wanted = (np.median(each), min(each), max(each)) if each else (math.nan,) * 3
        assert found.from_due_ms[percentile] == pytest.approx(wanted, abs=1e-3, nan_ok=True)


def test_the_line_of_a_rate_that_was_too_much_says_so() -> None:
    kept = result(seen(evenly(800)), 800)
    assert "did NOT keep up" not in latency._line(kept)
    assert "p50 45, p95 45, p99 45 ms; it did NOT keep up" in latency._line(replace(kept, not_shown=1))


# What a screen of the benchmarks makes of frames


def frame(*sources: str) -> bytes:
    event = {"timestamp": 1.0, "appendedAt": 2.0, "ingestedAt": 3.0, "scoredAt": 4.0}
    return msgspec.json.encode([{**event, "source": source} for source in sources])


def shown(*frames: bytes) -> Screen:
    screen = Screen("http://127.0.0.1:1")
    for content in frames:
        screen.take(content)
    return screen


def test_frames_are_read_into_the_times_of_each_event() -> None:
    found = shown(frame("0:1", "1:1"), frame("0:2")).seen()
    assert found.due_s.tolist() == [1.0] * 3
    assert found.appended_at_s.tolist() == [2.0] * 3
    assert found.ingested_at_s.tolist() == [3.0] * 3
    assert found.scored_at_s.tolist() == [4.0] * 3
    assert (np.abs(found.arrived_at_s - time.time()) < 60).all()
    assert found.arrived_at_s[0] == found.arrived_at_s[1] <= found.arrived_at_s[2]


@pytest.mark.parametrize("late", ["0:2", "0:1", "0:0"])
def test_an_event_that_is_shown_twice_or_behind_a_later_one_is_refused(late: str) -> None:
    with pytest.raises(BenchmarkError, match=f"showed {late} twice, or too late"):
        shown(frame("0:1", "1:5"), frame("0:2", late)).seen()


def test_events_that_were_dropped_are_no_disorder() -> None:
    assert len(shown(frame("0:1"), frame("0:9", "1:0")).seen().due_s) == 3


def test_a_feed_that_ended_leaves_no_figures() -> None:
    screen = shown(frame("0:1"))
    screen.failure = "received 1011"
    with pytest.raises(LocalServiceError, match="The live feed ended: received 1011"):
        screen.seen()


def test_a_screen_that_was_shown_nothing_has_seen_nothing() -> None:
    assert len(shown().seen().due_s) == shown().events_so_far() == 0
    assert shown().last_frame_at_s == 0.0


def test_events_so_far_are_counted_as_frames_come() -> None:
    screen = shown(frame("0:1", "1:1"))
    assert screen.events_so_far() == 2
    screen.take(frame("0:2"))
    assert screen.events_so_far() == screen.events_so_far() == 3


# Waiting for the last event


def drained_after_s(screen: Any, acknowledged: int) -> float:
    began_s = time.monotonic()
    latency._drain(screen, Sent(acknowledged, 0.0, 0.0))
    return time.monotonic() - began_s


def test_draining_ends_when_all_has_arrived_or_nothing_more_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = SimpleNamespace(events_so_far=lambda: 9, last_frame_at_s=time.time())
    assert drained_after_s(screen, 9) < latency.POLL_S
    monkeypatch.setattr(latency, "SILENCE_S", 0.2)
    assert drained_after_s(screen, 10) < 60.0


def test_draining_waits_while_something_comes_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        last_frame_at_s = property(lambda _: time.time())

        def events_so_far(self) -> int:
            return 0

    monkeypatch.setattr(latency, "DRAIN_TIMEOUT_S", 0.3)
    assert 0.3 <= drained_after_s(Endless(), 1) < 60.0
