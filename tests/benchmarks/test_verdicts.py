import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer

from benchmarks.verdicts import BenchmarkError, Reference, Said, Verdicts, read_verdicts
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
