from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.verdicts import BenchmarkError, Reference, Said, Verdicts, _require_each_once, read_verdicts
from benchmarks.workload import make_topics
from fleet.kafka import OffsetRange
from simulator.local_kafka import LocalKafka

ORDINARY = Said(is_anomaly=False, cause=None, warming_up=False, repeat=False, in_episode=False)
EVENTS = {0: OffsetRange(5, 9)}


def written(kafka: LocalKafka, topic: str, offsets: list[int]) -> Verdicts:
    """Read what a contestant wrote that gave results of these events, in this order."""
    make_topics([topic], 1)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for offset in offsets:
        value = {"source": f"0:{offset}", "reconstruction_error": 0.5, "is_anomaly": False}
        producer.produce(topic, msgspec.json.encode(value), partition=0)
    assert producer.flush(20) == 0
    return read_verdicts(topic, {0: 0}, {0: len(offsets)}, EVENTS)


def test_results_of_every_event_once_and_in_order_are_read(kafka: LocalKafka) -> None:
    verdicts = written(kafka, "verdicts-complete", [5, 6, 7, 8])
    assert verdicts.said == {0: [ORDINARY] * 4}
    assert verdicts.last_offsets == {0: 3}


@pytest.mark.parametrize(
    ("offsets", "what"),
    [([5, 6, 8], "1 missing"), ([5, 6, 6, 7, 8], "1 too many"), ([5, 7, 6, 8], "out of order"), ([], "4 missing")],
)
def test_results_that_are_lost_doubled_or_reordered_are_refused(
    kafka: LocalKafka, offsets: list[int], what: str
) -> None:
    with pytest.raises(BenchmarkError, match=what):
        written(kafka, f"verdicts-{what.replace(' ', '-')}", offsets)


def verdicts_of(errors: list[float], said: list[Said]) -> Verdicts:
    return Verdicts({0: np.array(errors)}, {0: said}, {0: len(said) - 1})


def test_verdicts_that_differ_from_the_floors_are_counted() -> None:
    reference = Reference()
    reference.add(verdicts_of([0.1, 0.2], [ORDINARY] * 2))
    reference.add(verdicts_of([0.3, 9.0], [ORDINARY, ORDINARY._replace(is_anomaly=True)]))
    assert reference.differing(verdicts_of([0.3, 9.0], [ORDINARY] * 2), {0: 2}) == 1
    assert reference.differing(verdicts_of([0.1, 0.25], [ORDINARY] * 2), {}) == 1
    assert reference.differing(verdicts_of([0.2, 0.3], [ORDINARY] * 2), {0: 1}) == 0


def test_a_contestant_with_more_events_than_the_floor_is_refused() -> None:
    reference = Reference()
    reference.add(verdicts_of([0.1], [ORDINARY]))
    with pytest.raises(BenchmarkError, match="more events than the floor"):
        reference.differing(verdicts_of([0.1, 0.1], [ORDINARY] * 2), {})


@pytest.mark.parametrize(
    "other",
    [{"is_anomaly": True}, {"cause": "engine"}, {"warming_up": True}, {"repeat": True}, {"in_episode": True}],
    ids=lambda change: next(iter(change)),
)
def test_one_event_of_which_anything_else_is_said_is_counted(other: dict[str, Any]) -> None:
    reference = Reference()
    reference.add(verdicts_of([0.1] * 3, [ORDINARY] * 3))
    said = [ORDINARY, ORDINARY._replace(**other), ORDINARY]
    assert reference.differing(verdicts_of([0.1] * 3, said), {}) == 1


@pytest.mark.parametrize(("error", "differing"), [(1.0, 0), (1.0019, 0), (1.0021, 1), (0.99, 1), (float("nan"), 1)])
def test_an_error_may_differ_by_the_tolerance_and_no_more(error: float, differing: int) -> None:
    reference = Reference()
    reference.add(verdicts_of([1.0], [ORDINARY]))
    assert reference.differing(verdicts_of([error], [ORDINARY]), {}) == differing


def test_partitions_are_compared_with_themselves() -> None:
    reference, unusual = Reference(), ORDINARY._replace(is_anomaly=True)
    floor = Verdicts({0: np.array([0.1]), 1: np.array([9.0])}, {0: [ORDINARY], 1: [unusual]}, {0: 0, 1: 0})
    swapped = Verdicts({1: np.array([0.1]), 0: np.array([9.0])}, {1: [ORDINARY], 0: [unusual]}, {0: 0, 1: 0})
    reference.add(floor)
    assert reference.differing(floor, {}) == 0
    assert reference.differing(swapped, {}) == 2


def test_a_contestant_that_is_one_event_ahead_is_refused_not_cut() -> None:
    reference = Reference()
    reference.add(verdicts_of([0.1, 0.2], [ORDINARY] * 2))
    with pytest.raises(BenchmarkError, match="more events than the floor"):
        reference.differing(verdicts_of([0.2, 0.3], [ORDINARY] * 2), {0: 1})


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30), st.data())
def test_differences_are_counted_event_by_event_wherever_a_segment_begins(
    changes: list[tuple[bool, bool]], data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(changes) - 1))
    reference = Reference()
    for _ in changes:  # the floor's come one by one
        reference.add(verdicts_of([0.5], [ORDINARY]))
    ours = changes[begin:]
    errors = [0.6 if other_error else 0.5 for other_error, _ in ours]
    said = [ORDINARY._replace(repeat=other_word) for _, other_word in ours]
    assert reference.differing(verdicts_of(errors, said), {0: begin}) == sum(a or b for a, b in ours)


def test_all_that_is_said_of_an_event_is_read(kafka: LocalKafka) -> None:
    make_topics(["verdicts-said"], 2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    full = {
        "source": "1:0",
        "reconstruction_error": 9.5,
        "is_anomaly": True,
        "anomalyType": "engine",
        "warmingUp": True,
        "repeat": True,
        "episodeId": "e1",
    }
    producer.produce("verdicts-said", msgspec.json.encode(full), partition=1)
    producer.produce("verdicts-said", msgspec.json.encode({"source": "0:4"}), partition=0)
    assert producer.flush(20) == 0
    ranges = {0: OffsetRange(4, 5), 1: OffsetRange(0, 1)}
    verdicts = read_verdicts("verdicts-said", {0: 0, 1: 0}, {0: 1, 1: 1}, ranges)
    assert verdicts.said == {0: [ORDINARY], 1: [Said(True, "engine", True, True, True)]}
    assert {p: errors.tolist() for p, errors in verdicts.errors.items()} == {0: [0.0], 1: [9.5]}
    with pytest.raises(BenchmarkError, match="partition 1: of 1 events, 1 missing, 1 too many"):
        read_verdicts("verdicts-said", {0: 0, 1: 0}, {0: 1, 1: 1}, {0: OffsetRange(4, 5), 1: OffsetRange(1, 2)})


@example([1, 0, 2, 3, 4])
@given(st.lists(st.integers(0, 9), max_size=12))
def test_anything_but_each_event_once_and_in_order_is_refused(offsets: list[int]) -> None:
    held = OffsetRange(0, 5)
    sources = [f"3:{offset}" for offset in offsets]
    if offsets == list(range(5)):
        _require_each_once("topic", 3, sources, held)
    else:
        with pytest.raises(BenchmarkError, match="topic, partition 3: of 5 events, "):
            _require_each_once("topic", 3, sources, held)
