"""When a lag counts as normal again, and what the watch makes of Kafka's offsets."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.lag import HOLD_S, INTERVAL_S, SECONDS_OF_LOAD, UNEVENNESS, LagWatch, Sample, recovered_after_s
from fleet.kafka import Ledger
from fleet.settings import KafkaSettings, read_settings
from simulator.local_kafka import LocalKafka
from tests.fleet.operations.written_log import PARTITIONS, WrittenLog, arguments

NORMAL, HOLD = 100.0, 3.0
PATIENCE_S = 30.0


def samples(*lags: int | None, since_s: float = 10.0) -> list[Sample]:
    """One every half second, the first at `since_s`."""
    return [Sample(since_s + 0.5 * i, lag, lag or 0) for i, lag in enumerate(lags)]


def recovered(*lags: int | None) -> float | None:
    return recovered_after_s(samples(*lags), 10.0, NORMAL, HOLD)


def test_a_lag_that_never_rose_was_normal_at_once() -> None:
    assert recovered(*[50] * 7) == 0.0


def test_the_seconds_end_where_the_lasting_calm_begins() -> None:
    assert recovered(50, 50, 400, 90, 300, *[80] * 7) == 2.5


def test_normal_for_less_than_the_hold_is_not_yet_normal() -> None:
    assert recovered(*[50] * 6) is None
    assert recovered(400, *[50] * 6) is None


def test_a_broker_that_does_not_answer_is_not_normal() -> None:
    assert recovered(None, None, *[50] * 7) == 1.0
    assert recovered(*[50] * 5, None, *[50] * 6) is None


def test_samples_before_the_fault_do_not_count() -> None:
    before = samples(*[50] * 7, since_s=5.0)
    assert recovered_after_s([*before, *samples(400, 400)], 10.0, NORMAL, HOLD) is None
    silent_first = [*before, *samples(*[50] * 7, since_s=12.0)]
    assert recovered_after_s(silent_first, 10.0, NORMAL, HOLD) == 2.0


@pytest.mark.parametrize(("lag", "is_normal"), [(100, True), (101, False)])
def test_the_largest_normal_lag_is_normal_and_one_more_is_not(lag: int, is_normal: bool) -> None:
    assert (recovered(*[lag] * 7) is not None) is is_normal


def test_a_first_sample_that_comes_late_is_not_taken_for_calm_from_the_beginning() -> None:
    soon, late = 2 * INTERVAL_S, 2 * INTERVAL_S + 0.01
    assert recovered_after_s(samples(*[50] * 8, since_s=soon), 0.0, NORMAL, HOLD) == 0.0
    assert recovered_after_s(samples(*[50] * 8, since_s=late), 0.0, NORMAL, HOLD) == late


def test_no_sample_is_no_recovery() -> None:
    assert recovered() is None


_lags = st.lists(st.one_of(st.none(), st.integers(0, 200)), max_size=40)


@given(_lags)
def test_what_counts_as_recovered_is_normal_throughout_the_hold(lags: list[int | None]) -> None:
    seconds = recovered(*lags)
    calm = [lag is not None and lag <= NORMAL for lag in lags]
    length = int(HOLD / 0.5) + 1
    starts = [i for i in range(len(lags) - length + 1) if all(calm[i : i + length])]
    assert seconds == (0.5 * starts[0] if starts and starts[0] else None if not starts else 0.0)


class Watched:
    """A watch whose samples are given, not taken."""

    def __init__(self, *lags: int | None, until_s: float) -> None:
        self.watch = LagWatch(KafkaSettings(), rate=600.0)
        first_s = until_s - 0.5 * (len(lags) - 1)
        self.watch.samples += samples(*lags, since_s=first_s)


def test_normal_is_a_second_of_load_on_a_partition_and_the_hashes_unevenness() -> None:
    watch = Watched(until_s=0.0).watch
    assert watch.normal_records == pytest.approx(UNEVENNESS * 600.0 / KafkaSettings().partitions)


def test_a_standstill_is_not_normal_for_as_long_as_the_hold() -> None:
    assert UNEVENNESS * SECONDS_OF_LOAD < HOLD_S / 2


def test_a_watch_wants_calm_for_the_suites_hold() -> None:
    few = int(HOLD_S / 0.5)
    assert Watched(*[0] * few, until_s=100.0).watch.recovered_after_s(90.0) is None
    assert Watched(*[0] * (few + 1), until_s=100.0).watch.recovered_after_s(100.0 - HOLD_S) == 0.0


def test_the_mean_leaves_out_what_is_old_and_what_was_not_answered() -> None:
    watch = LagWatch(KafkaSettings(), rate=600.0)
    now_s = time.monotonic()
    watch.samples += [Sample(now_s - 50, 900, 900), Sample(now_s - 3, 10, 10), Sample(now_s - 2, None)]
    watch.samples += [Sample(now_s - 1, 15, 30)]
    assert watch.mean_records(10.0) == 20.0
    assert watch.mean_records(0.0) == 0.0


@pytest.mark.parametrize(
    ("sample", "is_drained"),
    [
        (Sample(11.0, 0), True),
        (Sample(11.0, 1), False),
        (Sample(11.0, None), False),
        (Sample(10.0, 0), False),
        (Sample(9.0, 0), False),
    ],
)
def test_drained_is_a_later_sample_without_any_lag(sample: Sample, is_drained: bool) -> None:
    watch = LagWatch(KafkaSettings(), rate=600.0)
    assert not watch.is_drained_since(10.0)
    watch.samples += [Sample(10.5, 0), sample]
    assert watch.is_drained_since(10.0) is is_drained


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_watch_samples_the_largest_and_the_total_lag_of_the_real_broker(kafka: LocalKafka) -> None:
    log = WrittenLog()
    log.publish(0, [b"{}"] * 3)
    log.publish(1, [b"{}"] * 5)
    log.come_out(0, [], 0, Ledger())
    log.come_out(1, [], 1, Ledger(1, 1, 0))
    with LagWatch(log.settings.kafka, rate=10.0) as watch:
        until(lambda: any(sample.total_lag_records == 7 for sample in watch.samples))
        assert watch.samples[-1].largest_lag_records == 4
        drained_from_s = time.monotonic()
        log.come_out(0, [], 3, Ledger(3, 3, 0))
        log.come_out(1, [], 5, Ledger(5, 5, 0))
        until(lambda: watch.is_drained_since(drained_from_s))
    taken = len(watch.samples)
    assert [sample.at_s for sample in watch.samples] == sorted(sample.at_s for sample in watch.samples)
    log.close()
    assert len(watch.samples) == taken


def test_a_broker_that_is_not_there_is_sampled_as_not_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("fleet.kafka.ledger.REQUEST_TIMEOUT_S", 0.2)
    with LagWatch(read_settings(arguments()).kafka, rate=10.0 * PARTITIONS) as watch:
        until(lambda: len(watch.samples) > 1)
    assert {sample.largest_lag_records for sample in watch.samples} == {None}
