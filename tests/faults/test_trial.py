"""A whole case on the real broker, with an application that is right, and with ones that are wrong in one way each."""

import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import msgspec
import psutil
import pytest

from faults import lag, trial
from faults.load import Content, Entry
from faults.system import INGEST
from faults.trial import Case, Result, Trial, run_case
from fleet.errors import LocalServiceError
from fleet.kafka import Message, Record
from simulator.local_kafka import LocalKafka
from tests.faults.stand_in import StandIn, Tamper, honest
from tests.fleet.operations.written_log import WrittenLog

RATE = 500.0
SEED = 7
FLOWS_S = 0.5


@pytest.fixture
def log(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch) -> Iterator[WrittenLog]:
    monkeypatch.setattr(lag, "HOLD_S", 0.6)
    monkeypatch.setattr(lag, "INTERVAL_S", 0.05)
    monkeypatch.setattr(lag, "SECONDS_OF_LOAD", 0.25)
    written = WrittenLog()
    yield written
    written.close()


def flowing(trial_: Trial) -> None:
    """The mildest of faults."""
    began_s = time.monotonic()
    trial_.flow(FLOWS_S)
    trial_.recover(began_s)


def run(log: WrittenLog, tamper: Tamper = honest, act: Callable[[Trial], None] = flowing, **changes: Any) -> Result:
    case = Case(1, "a case", act, 30.0, lambda _random: Content())
    with StandIn(log, tamper) as system:
        for name, value in changes.items():
            setattr(system, name, value)
        return run_case(case, system, SEED, RATE, lambda _: None)  # type: ignore[arg-type]


def once(strike: Callable[[Sequence[Message], list[Record]], list[Record]]) -> Tamper:
    """Strike the first turn of partition 1 that is long enough, and no other."""
    struck = False

    def tamper(messages: Sequence[Message], records: list[Record]) -> list[Record]:
        nonlocal struck
        if struck or messages[0].partition() != 1 or len(records) < 3:
            return records
        struck = True
        return strike(messages, records)

    return tamper


def test_a_case_on_an_application_that_is_right_meets_every_target(log: WrittenLog) -> None:
    result = run(log)
    assert result.failures == []
    assert result.met_targets
    assert (result.lost, result.doubled, result.reordered) == (0, 0, 0)
    assert result.accepted > FLOWS_S * RATE / 2
    assert result.normal_after_s is not None
    assert result.events_per_second == pytest.approx(RATE, rel=0.5)


def changed(record: Record, **fields: Any) -> Record:
    return msgspec.structs.replace(record, **fields)


def swapped(_messages: Sequence[Message], records: list[Record]) -> list[Record]:
    one = records[0].key  # two events of one vehicle
    return [changed(records[1], key=one), changed(records[0], key=one), *records[2:]]


def exchanged(_messages: Sequence[Message], records: list[Record]) -> list[Record]:
    other = msgspec.json.encode({**msgspec.json.decode(records[0].value), "sequence": 10**9})
    return [changed(records[0], value=other), *records[1:]]


def condemned(messages: Sequence[Message], records: list[Record]) -> list[Record]:
    """Make a dead letter of an event, with one byte too few."""
    dead = [*records[0].headers, ("reason", b"not_json"), ("detail", b"none")]
    topic = records[0].topic.replace("scored", "dlq")
    return [changed(records[0], topic=topic, value=messages[0].value()[:-1], headers=dead), *records[1:]]


@pytest.mark.parametrize(
    ("strike", "counts", "sentence"),
    [
        (lambda _, records: records[1:], (1, 0, 0), "1 events without a result or a dead letter"),
        (lambda _, records: [records[0], *records], (0, 1, 0), "1 results or dead letters of an event that already"),
        (swapped, (0, 0, 1), "1 results behind a later one of the same vehicle"),
        (exchanged, (0, 0, 0), "1 results that say something else than their source"),
        (condemned, (0, 0, 0), "1 results that say something else than their source"),
    ],
    ids=["lost", "doubled", "reordered", "exchanged", "dead letter with other bytes"],
)
def test_a_case_on_an_application_that_is_wrong_once_fails_with_the_sentence_that_names_it(
    log: WrittenLog, strike: Tamper, counts: tuple[int, int, int], sentence: str
) -> None:
    result = run(log, once(strike))
    assert (result.lost, result.doubled, result.reordered) == counts
    assert not result.met_targets
    assert any(failure.startswith(sentence) and "1:" in failure for failure in result.failures), result.failures


def test_a_case_whose_application_stops_committing_says_what_it_waited_for(
    log: WrittenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_it(trial_: Trial) -> None:
        monkeypatch.setattr(trial, "RECOVERY_TIMEOUT_S", 2.0)
        monkeypatch.setattr(trial, "DRAIN_TIMEOUT_S", 1.0)
        trial_.system.kept_back = True  # type: ignore[attr-defined]
        struck_s = time.monotonic()
        trial_.recover(struck_s)

    result = run(log, act=stop_it)
    assert result.lost is not None
    assert result.lost > RATE
    assert result.is_late
    assert result.failures[:2] == [
        "Waited 2 s in vain for the lag to be normal.",
        "Waited 1 s in vain for the log to be drained.",
    ]
    assert any("events beyond the committed offsets" in failure for failure in result.failures)


def test_the_seconds_of_a_case_are_its_slowest_recovery_and_not_the_calm_before(log: WrittenLog) -> None:
    def strike(trial_: Trial) -> None:
        trial_.normal(time.monotonic())
        trial_.system.kept_back = True  # type: ignore[attr-defined]
        struck_s = time.monotonic()
        trial_.until(lambda: trial_.lag_records > 6 * trial_.lag.normal_records, "a lag", 30.0)
        trial_.system.kept_back = False  # type: ignore[attr-defined]
        trial_.recover(struck_s)
        trial_.normal(time.monotonic())

    result = run(log, act=strike)
    assert result.failures == []
    assert result.normal_after_s is not None
    assert result.normal_after_s > 0.6


def test_a_case_that_raises_is_a_failure_and_its_books_are_read_all_the_same(log: WrittenLog) -> None:
    def give_up(trial_: Trial) -> None:
        raise LocalServiceError("No Ingest process is running.")

    result = run(log, act=give_up)
    assert result.failures == ["No Ingest process is running."]
    assert result.lost == 0
    assert result.normal_after_s is None


def test_a_system_that_does_not_become_whole_again_fails(log: WrittenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def hurt(trial_: Trial) -> None:
        monkeypatch.setattr(trial, "RECOVERY_TIMEOUT_S", 3.0)
        monkeypatch.setattr(trial, "DRAIN_TIMEOUT_S", 3.0)
        trial_.system.is_well = False  # type: ignore[attr-defined]
        trial_.recover(time.monotonic())

    assert run(log, act=hurt).failures == [
        "Waited 3 s in vain for every replica to be back.",
        "Waited 3 s in vain for the system to be healthy.",
    ]


def test_what_a_case_expects_and_notes_stands_in_its_result(log: WrittenLog) -> None:
    said: list[str] = []

    def look(trial_: Trial) -> None:
        flowing(trial_)
        trial_.expect(True, "this holds")
        trial_.expect(False, "this does not hold")
        trial_.note("seen")
        said.extend(("times", str(trial_.times(6, in_brief=3))))

    result = run(log, act=look)
    assert result.failures == ["this does not hold"]
    assert result.notes == ["seen"]
    assert said == ["times", "6"]


def test_books_that_cannot_be_read_are_a_failure_and_no_zeros(log: WrittenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*_: object) -> None:
        raise LocalServiceError("Kafka is away.")

    monkeypatch.setattr(trial.books, "balance", unreadable)
    result = run(log)
    assert (result.lost, result.doubled, result.reordered) == (None, None, None)
    assert result.failures == ["The books could not be read: Kafka is away."]


def test_memory_that_has_not_come_back_is_a_failure(log: WrittenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = iter([{INGEST: 100.0}])
    monkeypatch.setattr(trial.MemoryWatch, "levels_mib", lambda _: next(levels, {INGEST: 500.0}))
    monkeypatch.setattr("faults.memory.INTERVAL_S", 3_600.0)
    assert run(log).failures == ["Ingest holds 500 MiB, 100 before"]


def test_more_load_comes_from_vehicles_of_its_own_and_is_in_the_books(log: WrittenLog) -> None:
    seen: list[Trial] = []

    def more(trial_: Trial) -> None:
        seen.append(trial_)
        with trial_.more_load(RATE) as load:
            trial_.until(lambda: len(load.accepted) > 0, "more load", 30.0)
        trial_.recover(time.monotonic())

    result = run(log, act=more)
    assert result.failures == []
    assert result.accepted == sum(len(load.accepted) for load in seen[0].loads)
    keys = {message.key() for message in log.read(log.topics.telemetry)}
    assert len({int(key[1:]) // 1_000 for key in keys}) == 2


def test_what_any_of_the_loads_had_acknowledged_must_be_in_the_log(log: WrittenLog) -> None:
    def forget(trial_: Trial) -> None:
        for place, load in enumerate((trial_.load, trial_.more_load(RATE))):
            load.accepted.append(Entry(place, 10**6, 1))

    result = run(log, act=forget)
    assert result.lost == 2
    assert result.failures == [
        "2 acknowledged events that Kafka no longer has, the first from 0:1000000, 1:1000000",
    ]


def test_a_process_that_is_not_there_cannot_be_struck(log: WrittenLog) -> None:
    result = run(log, act=lambda trial_: trial_.kill(trial_.any_process(INGEST)), processes=lambda _: [])
    assert result.failures == ["No Ingest process is running."]


def test_a_struck_process_is_chosen_by_the_seed(log: WrittenLog) -> None:
    chosen: list[psutil.Process] = []
    several = [psutil.Process() for _ in range(8)]
    run(log, act=lambda trial_: chosen.append(trial_.any_process(INGEST)), processes=lambda _: several)
    random = Random(f"{SEED}:1")
    random.getrandbits(32)
    assert chosen[0] is random.choice(several)
