"""What single cases judge beside the books: each kind of wrong is found, and named."""

import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.cases import kafka_away, scaling
from faults.cases.deploys import versions_in_order, wrong_versions
from faults.cases.records import (
    HUGE_BYTES,
    HUGE_RECORDS,
    LATE_S,
    POISON,
    SCORED,
    OddTimes,
    Scored,
    outcomes,
    wrong_outcomes,
    wrong_repeats,
    wrong_sizes,
)
from faults.cases.scaling import SCALED_UP_WITHIN_S, flapping, late_ones, turns
from faults.load import content_of
from faults.system import INGEST, SCORER
from fleet.kafka import Message
from fleet.records.dead_letter import OMITTED_HEADER
from simulator.publisher import FIELDS


def message(value: bytes | None, partition: int = 0, **headers: bytes) -> Message:
    return Message("out", partition, 0, b"v", value, [("source", b"0:0"), *headers.items()])


# What became of poison

BROKEN = b"{broken"
BY_CONTENT = {content_of(BROKEN): "truncated", 7: "unknown field"}
SENT = Counter({"truncated": 2, "unknown field": 1})
RIGHT = [
    message(BROKEN, reason=b"not_json"),
    message(BROKEN, reason=b"not_json"),
    message(b'{"sequence":7,"is_anomaly":false}'),
    message(b'{"sequence":8}'),
    message(b"somebody else's", reason=b"empty"),
]


def judged(*out: Message) -> list[str]:
    return list(wrong_outcomes(SENT, outcomes(out, BY_CONTENT)))


def test_poison_that_became_what_the_corpus_says_is_right() -> None:
    assert outcomes(RIGHT, BY_CONTENT) == {"truncated": Counter(not_json=2), "unknown field": Counter({SCORED: 1})}
    assert judged(*RIGHT) == []


@pytest.mark.parametrize(
    ("out", "became"),
    [
        (RIGHT[1:], "{'not_json': 1}"),
        ([*RIGHT, RIGHT[0]], "{'not_json': 3}"),
        ([message(BROKEN, reason=b"empty"), *RIGHT[1:]], "{'empty': 1, 'not_json': 1}"),
        ([message(BROKEN), *RIGHT[1:]], "{'scored': 1, 'not_json': 1}"),
        ([message(BROKEN + b" ", reason=b"not_json"), *RIGHT[1:]], "{'not_json': 1}"),
    ],
    ids=["one lost", "one doubled", "another reason", "scored", "other bytes"],
)
def test_poison_that_became_anything_else_is_named(out: list[Message], became: str) -> None:
    assert judged(*out) == [f"2 x truncated must become not_json, became {became}"]


def test_poison_that_is_to_be_scored_may_not_be_condemned() -> None:
    dead = message(b'{"sequence":7}', reason=b"wrong_type")
    assert judged(*RIGHT[:2], dead) == ["1 x unknown field must become scored, became {'wrong_type': 1}"]


def test_poison_of_every_kind_is_missed_when_nothing_came_out() -> None:
    assert len(list(wrong_outcomes(dict.fromkeys(POISON, 1), {}))) == len(POISON)
    assert list(wrong_outcomes({}, {})) == []


# Dead letters that are too large to hold their event

OMITTED = {OMITTED_HEADER: str(HUGE_BYTES).encode()}
LARGE = [message(b"x"), *[message(None, **OMITTED)] * HUGE_RECORDS]


def test_sizes_of_what_was_left_out_are_right() -> None:
    assert list(wrong_sizes(LARGE)) == []


@pytest.mark.parametrize(
    "dead",
    [
        LARGE[:-1],
        [*LARGE, LARGE[0]],
        [message(None, **OMITTED), *LARGE[1:]],
        [*LARGE[:-1], message(None, omitted=b"9")],
    ],
    ids=["one missing", "one too many", "left out without need", "another size"],
)
def test_sizes_that_are_wrong_are_named(dead: list[Message]) -> None:
    [sentence] = wrong_sizes(dead)
    assert "must be named by its size" in sentence


# Repeats

_numbers = st.integers(0, 20)


@given(st.sets(_numbers), st.dictionaries(_numbers, st.booleans()))
def test_repeats_are_right_only_where_each_and_no_other_event_is_marked(
    repeats: set[int], marked: dict[int, bool]
) -> None:
    found = list(wrong_repeats([Scored(number, mark) for number, mark in marked.items()], repeats))
    unmarked = sum(not mark and number in repeats for number, mark in marked.items())
    too_many = sum(mark and number not in repeats for number, mark in marked.items())
    wanted = [f"{unmarked} repeats that are not marked"] * bool(unmarked)
    wanted += [f"{too_many} marked events that are no repeats"] * bool(too_many)
    assert sorted(found) == sorted(wanted)


def _columns(rows: Sequence[Sequence[Any]]) -> Any:
    return [list(column) for column in zip(*rows, strict=True)]


def _events(second: int, vehicles: int = 200) -> list[list[Any]]:
    row = dict.fromkeys(FIELDS)
    return [list({**row, "vehicleId": f"V{v}", "timestamp": 1e9 + second}.values()) for v in range(vehicles)]


def test_odd_times_remembers_exactly_the_events_that_it_repeats() -> None:
    content = OddTimes(Random(1))
    sent = [content.alter(_columns(_events(second))) for second in range(10)]
    rows = [row for columns in sent for row in zip(*columns, strict=True)]
    assert len(rows) == 2_000
    seen, repeats = set(), set()
    for number, row in enumerate(rows):
        if row in seen:
            repeats.add(number)
        seen.add(row)
    assert content.repeats_by_number == repeats
    assert 10 <= len(repeats) <= 100


def test_odd_times_has_late_events_and_wrong_clocks_besides() -> None:
    columns = OddTimes(Random(1)).alter(_columns(_events(0, 2_000)))
    errors_s = Counter(round(at_s - 1e9) for at_s in columns[FIELDS.index("timestamp")])
    assert errors_s[0] > 1_000
    assert errors_s[-round(LATE_S)] > 5
    assert errors_s[86_400] > 100
    assert errors_s[-3_600] > 100


# Versions of the model

WANTED = ["v1", "v2", "v1"]


def results(partition: int, *versions: str) -> list[Message]:
    return [message(msgspec.json.encode({"modelVersion": version}), partition) for version in versions]


def test_versions_are_those_that_follow_one_another_in_each_partition() -> None:
    mixed = [*results(0, "v1", "v1", "v2"), *results(1, "v1"), *results(0, "v2", "v1"), *results(1, "v2", "v1")]
    found = versions_in_order(mixed)
    assert found == {0: WANTED, 1: WANTED}
    assert list(wrong_versions(found, WANTED)) == []


@pytest.mark.parametrize(
    "versions", [["v1", "v2"], ["v1"], ["v2", "v1"], ["v1", "v2", "v1", "v2", "v1"], ["v1", "v3", "v1"]]
)
def test_versions_of_one_partition_that_differ_are_named(versions: list[str]) -> None:
    found = versions_in_order([*results(0, *WANTED), *results(1, *versions)])
    assert list(wrong_versions(found, WANTED)) == [f"partition 1 was scored by {versions}, not by {WANTED}"]


# Scaling


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ((2,), 0),
        ((2, 3), 0),
        ((2, 3, 2), 1),
        ((2, 3, 4, 3, 2), 1),
        ((2, 3, 3, 2), 1),
        ((2, 3, 2, 3), 2),
        ((3, 2, 3), 1),
    ],
)
def test_turns_count_each_change_of_direction(counts: tuple[int, ...], wanted: int) -> None:
    assert turns(counts) == wanted


def test_one_rise_and_one_fall_is_no_flapping() -> None:
    assert list(flapping([(2, 2), (2, 3), (3, 3), (3, 2), (2, 2)])) == []


def test_whoever_flaps_or_never_moves_is_named() -> None:
    [one] = flapping([(2, 2), (3, 3), (2, 3), (3, 3), (2, 2)])
    assert one == f"{INGEST} flapped: (2, 3, 2, 3, 2)"
    [other] = flapping([(2, 2), (3, 2), (2, 2)])
    assert other.startswith(f"{SCORER} flapped")


def test_more_replicas_in_time_are_fine_and_late_ones_are_named() -> None:
    assert list(late_ones({INGEST: SCALED_UP_WITHIN_S, SCORER: 0.1})) == []
    late = SCALED_UP_WITHIN_S + 0.1
    assert list(late_ones({INGEST: 1.0, SCORER: late})) == [f"more {SCORER} took {late:.1f} s, not 15 s"]


class Replicas:
    """A trial's system that tells, one after the other, how many replicas run."""

    def __init__(self, *running: tuple[int, int], there: tuple[int, int] | None = None) -> None:
        self._running = list(running)
        self._there = there
        self.system = self

    def running_replicas(self) -> dict[str, int]:
        counts = self._running.pop(0) if len(self._running) > 1 else self._running[0]
        return dict(zip((INGEST, SCORER), counts, strict=True)) if any(counts) else {}

    def replicas(self) -> dict[str, int]:
        return dict(zip((INGEST, SCORER), self._there or self._running[0], strict=True))

    def until(self, condition: Any, _what: str, _timeout_s: float) -> None:
        for _ in range(10):
            if condition():
                return
        raise AssertionError


def test_replicas_that_changed_are_noted_once_and_no_answer_is_no_change() -> None:
    trial: Any = Replicas((2, 2), (3, 2), (0, 0), (3, 2), (3, 3))
    seen = [(2, 2)]
    for _ in range(5):
        scaling._note(trial, seen)
    assert seen == [(2, 2), (3, 2), (3, 3)]


def test_seconds_until_more_are_taken_for_each_deployment_at_its_own_rise() -> None:
    trial: Any = Replicas((2, 2), (3, 2), (3, 3))
    took_s = scaling._until_more(trial, [(2, 2)], time.monotonic() - 100.0)
    assert list(took_s) == [INGEST, SCORER]
    assert 100.0 <= took_s[INGEST] <= took_s[SCORER]


def test_replicas_that_are_on_their_way_are_not_settled() -> None:
    settled: Any = Replicas((2, 2), there=(2, 2))
    starting: Any = Replicas((2, 2), there=(3, 2))
    assert scaling._is_settled(settled, (2, 2))
    assert not scaling._is_settled(settled, (3, 2))
    assert not scaling._is_settled(starting, (2, 2))


# How busy an ingest is that can do nothing


class Ingest:
    """A process that has used so many CPU seconds when it is asked first, and then; None: it has gone."""

    def __init__(self, *cpu_s: float | None) -> None:
        self._cpu_s = list(cpu_s)

    def cpu_times(self) -> Any:
        cpu_s = self._cpu_s.pop(0)
        if cpu_s is None:
            raise psutil.NoSuchProcess(1)
        return SimpleNamespace(user=cpu_s, system=1.0)


def share(monkeypatch: pytest.MonkeyPatch, *processes: Ingest) -> float:
    times_s = iter([100.0, 110.0])
    monkeypatch.setattr(kafka_away.time, "monotonic", lambda: next(times_s))
    trial: Any = SimpleNamespace(system=SimpleNamespace(processes=lambda role: list(processes)))
    return kafka_away._Busy(trial).share()


def test_busy_is_the_busiest_processs_share_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share(monkeypatch, Ingest(5.0, 6.0), Ingest(50.0, 57.0)) == pytest.approx(0.7)


def test_busy_without_a_process_or_with_one_that_has_gone_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share(monkeypatch) == 0.0
    assert share(monkeypatch, Ingest(5.0, None), Ingest(2.0, 3.0)) == pytest.approx(0.1)
