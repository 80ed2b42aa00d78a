"""A lap on the real broker: when it is finished, what it measured, and what makes it no lap at all."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec
import pytest

from benchmarks import race
from benchmarks.race import Course, Lap, _first_with
from benchmarks.verdicts import BenchmarkError
from benchmarks.workload import Segment
from fleet.errors import LocalServiceError
from simulator.local_kafka import LocalKafka
from tests.benchmarks.echo import PARTITIONS, Echo, Results, Tamper

EVENTS = 200
AT_MS = 1_780_000_000_000


def segment(events: int = EVENTS, first: int = 0) -> Segment:
    numbers = range(first, first + events)
    keys = [f"v{number % 20}" for number in numbers]
    values = [b'{"vehicleId":"v%d","number":%d}' % (number % 20, number) for number in numbers]
    return Segment(keys, values, [AT_MS + number for number in numbers])


@contextmanager
def course(echo: Echo) -> Iterator[Course]:
    with echo, closing(Course(echo, os.getpid())) as on:
        yield on


def test_a_lap_counts_every_event_from_visible_to_committed(kafka: LocalKafka) -> None:
    echo = Echo("race-right")
    with course(echo) as on:
        lap, verdicts = on.lap(segment())
        again, more = on.lap(segment(EVENTS // 2, EVENTS))
    assert (lap.contestant, lap.events, again.events) == ("race-right", EVENTS, EVENTS // 2)
    assert sum(map(len, verdicts.said.values())) == EVENTS
    assert sum(map(len, more.said.values())) == EVENTS // 2
    assert lap.seconds > 0
    assert lap.events_per_second == EVENTS / lap.seconds
    assert set(lap.cpu_s) == set(lap.peak_mib) == {"echo", "kafka"}
    assert len(echo.announced) == 2
    assert sum(held.next - held.first for held in echo.announced[0].values()) == EVENTS


def once(tamper: Tamper) -> Tamper:
    """Spoil one turn of a lap, which may have many; more than two results leave a partition with two to swap."""
    is_done = False

    def spoil(values: Results) -> Results:
        nonlocal is_done
        if is_done or len(values) <= PARTITIONS:
            return values
        is_done = True
        return tamper(values)

    return spoil


def lost(values: Results) -> Results:
    return values[1:]


def doubled(values: Results) -> Results:
    return [values[0], *values]


def reordered(values: Results) -> Results:
    return values[::-1]


def misplaced(values: Results) -> Results:
    partition, value = values[0]
    return [(1 - partition, value), *values[1:]]


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (lost, "1 missing, 0 too many"),
        (doubled, "0 missing, 1 too many"),
        (reordered, "out of order"),
        (misplaced, "of .* events, (1 missing, 0|0 missing, 1) too many"),
    ],
)
def test_a_lap_with_one_wrong_result_is_no_lap(kafka: LocalKafka, tamper: Tamper, what: str) -> None:
    name = f"race-{tamper.__name__}"  # type: ignore[attr-defined]
    with (
        course(Echo(name, once(tamper))) as on,
        pytest.raises(BenchmarkError, match=f"{name}-scored, partition .*{what}"),
    ):
        on.lap(segment())


def test_results_that_are_still_in_an_open_transaction_are_waited_for(kafka: LocalKafka) -> None:
    """The group's offsets are there long before the results: half a lap is no lap."""
    with course(Echo("race-open", holds_open_s=1.5)) as on:
        lap, verdicts = on.lap(segment())
    assert lap.seconds >= 1.5
    assert sum(map(len, verdicts.said.values())) == EVENTS


def test_a_contestant_that_does_not_finish_is_named(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "LAP_TIMEOUT_S", 1.0)
    with (
        course(Echo("race-deaf", is_deaf=True)) as on,
        pytest.raises(LocalServiceError, match="race-deaf did not finish a lap within 1 s"),
    ):
        on.lap(segment())


def test_an_idle_contestant_is_measured_by_the_share_of_a_core(kafka: LocalKafka) -> None:
    with course(Echo("race-idle", is_deaf=True)) as on:
        shares = on.idle_cpu_share(0.3)
    assert set(shares) == {"echo", "kafka"}
    assert all(0.0 <= share < 10.0 for share in shares.values())


def test_a_lap_ends_with_the_first_sample_that_holds_the_last_results() -> None:
    samples = [(1.0, {0: 0, 1: 0}), (2.0, {0: 5, 1: 0}), (3.0, {0: 5, 1: 3}), (4.0, {0: 9, 1: 3})]
    assert _first_with(samples, {0: 4, 1: 2}) == 3.0
    assert _first_with(samples, {0: 4}) == 2.0
    assert _first_with(samples, {0: 5, 1: 2}) == 4.0
    assert _first_with(samples, {}) == 1.0


@pytest.mark.parametrize("last", [{0: 9, 1: 2}, {0: 4, 1: 3}])
def test_results_that_no_sample_holds_came_too_late(last: dict[int, int]) -> None:
    with pytest.raises(LocalServiceError, match="Results came after their offsets were committed"):
        _first_with([(1.0, {0: 5, 1: 0}), (2.0, {0: 9, 1: 3})], last)


def test_what_a_lap_cost_is_told_per_event_and_in_events_per_second() -> None:
    lap = Lap("floor", 50_000, 2.0, {"floor": 1.5, "kafka": 0.5}, {})
    assert lap.events_per_second == 25_000.0
    assert lap.cpu_us() == {"floor": pytest.approx(30.0), "kafka": pytest.approx(10.0)}


def test_segments_of_the_tests_reach_every_partition() -> None:
    """Else the tests above would prove less than they say."""
    assert PARTITIONS == 2
    assert len(set(segment().keys)) == 20
    assert msgspec.json.decode(segment().values[7])["number"] == 7
