"""Contestants beside one another: the first is the reference, and whoever judges otherwise has no figures."""

import os
from typing import Any

import msgspec
import pytest

from benchmarks import throughput
from benchmarks.race import Lap
from benchmarks.throughput import MOST_DIFFERING, Amount, Entry, Standing, _checked, _line, _segments, compete
from benchmarks.verdicts import BenchmarkError
from simulator.local_kafka import LocalKafka
from tests.benchmarks.echo import Echo, Results, Tamper

AMOUNT = Amount(events=400, repeats=2, vehicles=20)


def lap(events: int, seconds: float = 1.0, contestant: str = "system") -> Lap:
    return Lap(contestant, events, seconds, {}, {})


@pytest.mark.parametrize(("events", "differing"), [(10_000, 0), (10_000, 5), (100_000, 50), (1, 0)])
def test_as_many_verdicts_may_differ_as_an_additions_order_decides(events: int, differing: int) -> None:
    assert _checked(lap(events), differing) == differing


@pytest.mark.parametrize(("events", "differing"), [(10_000, 6), (100_000, 51), (1_999, 1), (1, 1)])
def test_one_differing_verdict_more_leaves_no_figures(events: int, differing: int) -> None:
    with pytest.raises(BenchmarkError, match=f"system judges {differing} of {events:,} events unlike the floor"):
        _checked(lap(events), differing)


def test_the_share_that_may_differ_is_one_in_two_thousand() -> None:
    assert MOST_DIFFERING == 1 / 2_000


def unlike(values: Results) -> Results:
    """Judge one event of a turn otherwise."""
    partition, value = values[0]
    return [(partition, msgspec.json.encode({**msgspec.json.decode(value), "repeat": True})), *values[1:]]


@pytest.fixture
def run(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(throughput, "IDLE_S", 0.05)

    def compete_(name: str, tamper: Tamper = list, events: int | None = None, has_model: bool = True) -> list[Standing]:
        with Echo(f"{name}-floor") as floor, Echo(f"{name}-other", tamper) as other:
            entries = [Entry(floor), Entry(other, events, has_model)]
            return compete(AMOUNT, entries, os.getpid(), said.append)

    said: list[str] = []
    compete_.said = said  # type: ignore[attr-defined]
    return compete_


def test_contestants_that_judge_alike_have_their_laps_without_the_warm_up(run: Any) -> None:
    standings = run("alike")
    assert [standing.name for standing in standings] == ["alike-floor", "alike-other"]
    for standing in standings:
        assert [one.events for one in standing.laps] == [AMOUNT.events] * AMOUNT.repeats
        assert standing.differing == 0
        assert standing.seen.total() == 100 + 2 * AMOUNT.events
        assert set(standing.idle) == {"echo", "kafka"}
    assert [line.split(":")[0].strip() for line in run.said] == ["warm-up", "lap 1", "lap 2"]


def test_a_contestant_that_judges_one_event_unlike_the_floor_is_refused(run: Any) -> None:
    with pytest.raises(BenchmarkError, match=r"unlike-other judges \d+ of 100 events unlike the floor"):
        run("unlike", unlike)


def test_differences_within_the_share_are_added_up_for_the_report(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "MOST_DIFFERING", 0.5)
    floor, other = run("added", unlike)
    assert floor.differing == 0
    assert other.differing >= 3


def test_a_contestant_with_a_smaller_share_is_compared_with_the_beginning_of_the_floors(run: Any) -> None:
    _, other = run("share", events=40)
    assert [one.events for one in other.laps] == [40, 40]
    assert other.differing == 0


def test_a_contestant_without_a_model_says_nothing_that_could_differ(run: Any) -> None:
    _, other = run("bare", unlike, has_model=False)
    assert other.differing == 0
    assert len(other.laps) == AMOUNT.repeats


def test_smaller_segments_are_the_beginning_of_the_larger_ones() -> None:
    entries: list[Any] = [Entry(None), Entry(None, 10)]  # type: ignore[arg-type]
    found = list(_segments(Amount(events=40, repeats=2, vehicles=20), entries))
    assert [{size: len(part.values) for size, part in by_size.items()} for by_size in found] == [
        {10: 2, 40: 10},
        {10: 10, 40: 40},
        {10: 10, 40: 40},
    ]
    large = [value for by_size in found for value in by_size[40].values]
    small = [value for by_size in found for value in by_size[10].values]
    assert small == large[: len(small)]


def test_a_line_tells_each_contestants_rate() -> None:
    laps = [lap(1_000, 0.5, "floor"), lap(1_000, 1.0)]
    assert _line(0, laps) == "  warm-up: floor 2,000/s, system 1,000/s"
    assert _line(2, laps) == "  lap 2: floor 2,000/s, system 1,000/s"
