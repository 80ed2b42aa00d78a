"""The load: what counts as accepted, what is refused, and that a load that breaks off is no quiet one."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from faults.load import FIRST_VEHICLE, Content, Entry, Load, content_of
from fleet.errors import LocalServiceError
from fleet.kafka import KafkaError, Message
from simulator.local_kafka import LocalKafka
from simulator.publisher import FIELDS
from tests.fleet.operations.written_log import WrittenLog

RATE = 2_000.0
PATIENCE_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def delivered(load: Load, partition: int, offset: int, value: bytes | None, error: KafkaError | None = None) -> None:
    load._delivered(error, Message("telemetry", partition, offset, b"v", value))


def test_what_kafka_acknowledged_is_accepted_with_its_place_and_content() -> None:
    load = Load("telemetry", RATE, seed=1)
    delivered(load, 2, 14, b'{"sequence":9}')
    delivered(load, 0, 0, b"{broken")
    assert load.accepted == [Entry(2, 14, 9), Entry(0, 0, content_of(b"{broken"))]
    assert load.refused == {}


def test_what_kafka_refused_is_counted_by_reason_and_never_accepted() -> None:
    load = Load("telemetry", RATE, seed=1)
    for code in (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._MSG_TIMED_OUT):
        delivered(load, 0, 0, b'{"sequence":9}', KafkaError(code))
    assert load.accepted == []
    assert sorted(load.refused.values()) == [1, 2]


def test_a_load_accepts_exactly_what_stands_in_the_log(kafka: LocalKafka) -> None:
    log = WrittenLog()
    with Load(log.topics.telemetry, RATE, seed=1) as load:
        until(lambda: len(load.accepted) > 500)
    assert load.stopped_s > 0
    assert load.seconds > 0
    held = [Entry(m.partition(), m.offset(), content_of(m.value())) for m in log.read(log.topics.telemetry)]
    assert sorted(load.accepted) == sorted(held)
    assert {entry.content for entry in held} == set(range(load.sent))
    assert all(int(m.key().removeprefix(b"V")) >= FIRST_VEHICLE for m in log.read(log.topics.telemetry))
    log.close()


class Half(Content):
    """Every other event becomes something else."""

    def alter(self, columns: Any) -> Any:
        vehicles = FIELDS.index("speed")
        return [*columns[:vehicles], [1.5] * len(columns[0]), *columns[vehicles + 1 :]]

    def mix(self, values: list[bytes]) -> Any:
        return [None if number % 2 else value for number, value in enumerate(values)]


def test_what_a_case_sends_instead_is_what_is_accepted(kafka: LocalKafka) -> None:
    log = WrittenLog()
    with Load(log.topics.telemetry, RATE, 1, Half()) as load:
        until(lambda: len(load.accepted) > 100)
    values = [m.value() for m in log.read(log.topics.telemetry)]
    assert all(value is None or b'"speed":1.5' in value for value in values)
    assert (
        sum(value is None for value in values) == sum(entry.content == content_of(None) for entry in load.accepted) > 0
    )
    log.close()


class Breaking(Content):
    def mix(self, values: list[bytes]) -> Any:
        raise RuntimeError("no more")


def test_a_load_that_breaks_off_says_so_when_it_is_stopped(kafka: LocalKafka) -> None:
    log = WrittenLog()
    load = Load(log.topics.telemetry, RATE, 1, Breaking())
    with pytest.raises(LocalServiceError, match="The load broke off: RuntimeError: no more"), load:
        until(lambda: not load._thread.is_alive())
    log.close()
