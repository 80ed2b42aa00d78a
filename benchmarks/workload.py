"""What every contestant reads: simulated telemetry of a fixed seed, with fixed times, laid into a topic at once.

The log's time is a fixed moment after the event's own (the topic keeps the times that it is given), so the features,
and with them the verdicts, are the same for every contestant and at every run. A segment is loaded in one
transaction: whoever reads committed records sees nothing of it, and then all of it, so a running system can be given a
full topic in one moment with no generator beside it.

Neighbours: `simulator.vehicles` drives the vehicles; `floor`, `peers` and `end_to_end` read what is loaded here.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from fleet.errors import KafkaUnavailableError
from fleet.kafka import OffsetRange, admin_client, client_config, held_offsets
from simulator.city import City
from simulator.pacing import phases
from simulator.publisher import FIELDS, encode_rows
from simulator.vehicles import SimulatedFleet

SEED = 7
BEGINS_AT_S = 1_780_000_000.0  # a Thursday in May 2026, in daylight
APPENDED_AFTER_S = 0.05
# The vehicles have driven so long, so that as many of them are faulty as ever will be.
DRIVEN_S = 300
MOST_SIMULATED = 10_000
_ID_BEGINS = b'{"vehicleId":"'
REQUEST_TIMEOUT_S = 30.0


Rows: TypeAlias = tuple[list[list[Any]], list[int]]
"""Columns in the order of the event's fields, and the log's times in Unix milliseconds."""


class Segment(NamedTuple):
    """Events in the order of the log: keys, values, and the log's time in Unix milliseconds."""

    keys: list[str]
    values: list[bytes]
    appended_at_ms: list[int]

    def part(self, start: int, end: int | None = None) -> "Segment":
        """Return a run of its events."""
        run = slice(start, end)
        return Segment(self.keys[run], self.values[run], self.appended_at_ms[run])

    def extend(self, other: "Segment") -> None:
        """Let another one follow."""
        self.keys.extend(other.keys)
        self.values.extend(other.values)
        self.appended_at_ms.extend(other.appended_at_ms)


def segments(
    sizes: Sequence[int], vehicles: int, first: int = 0, begins_at_s: float = BEGINS_AT_S
) -> Iterator[Segment]:
    """Yield segments of so many events each; the later ones go on where the earlier ones end.

    Every vehicle sends once a second; a segment that holds fewer events than there are vehicles is a part of a second.
    Fleets of other `first` vehicles have none in common. Beyond 10,000 vehicles the rest drive as the first ones do.
    """
    runs: Iterator[Segment] = _seconds(vehicles, first, begins_at_s)
    for events in sizes:
        segment = Segment([], [], [])
        while (missing := events - len(segment.values)) > 0:
            run = next(runs)
            segment.extend(run.part(0, missing))
            if missing < len(run.values):
                runs = chain([run.part(missing)], runs)
        yield segment


def _seconds(vehicles: int, first: int, begins_at_s: float) -> Iterator[Segment]:
    """Yield one event of every vehicle a second, at most 10,000 at once."""
    simulated = min(vehicles, MOST_SIMULATED)
    for columns, log_ms in _rows(simulated, first, begins_at_s):
        keys, values = columns[0], encode_rows(columns)
        yield Segment(keys, values, log_ms)
        for copy in range(1, -(-vehicles // simulated)):
            again = b"%b%d-" % (_ID_BEGINS, copy)
            yield Segment(
                [f"{copy}-{key}" for key in keys], [again + value[len(_ID_BEGINS) :] for value in values], log_ms
            )


def _rows(vehicles: int, first: int, begins_at_s: float) -> Iterator[Rows]:
    """Yield one event of every vehicle a second, as columns in the order of the event's fields."""
    share = phases(first, vehicles)
    order = np.argsort(share, kind="stable")
    fleet = SimulatedFleet(SEED, first, vehicles, City.generate(), start_s=begins_at_s - DRIVEN_S)
    for _ in range(DRIVEN_S):
        fleet.step(1.0)
    while True:
        second_s = fleet.time_s
        state: dict[str, Any] = {**fleet.step(1.0)}
        due_s = second_s + share[order]
        state["timestamp"] = np.empty(vehicles)
        state["timestamp"][order] = due_s + state["clock_skew_s"][order]
        levels = state["trafficLevel"]
        state["trafficLevel"] = np.array([None if np.isnan(level) else int(level) for level in levels], object)
        columns = [np.asarray(state[name], object if isinstance(state[name], list) else None) for name in FIELDS]
        yield (
            [column[order].tolist() for column in columns],
            np.rint((due_s + APPENDED_AFTER_S) * 1000).astype(int).tolist(),
        )


def make_topics(names: Sequence[str], partitions: int) -> None:
    """Create topics that keep the times that they are given, and all their records.

    Raises KafkaUnavailableError.
    """
    config = {
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": str(2**63 - 1),  # also where this machine's clock is behind the workload's
        "retention.ms": "-1",
        "retention.bytes": "-1",
    }
    wanted = [NewTopic(name, partitions, 1, config=config) for name in names]
    admin = admin_client()  # held until the answers are there
    for created in admin.create_topics(wanted, request_timeout=REQUEST_TIMEOUT_S).values():
        try:
            created.result()
        except KafkaException as exception:
            raise KafkaUnavailableError(f"Creating a topic: {exception.args[0].str()}") from None


def stamp_when_appended(topic: str) -> None:
    """Let the broker set the times of a topic from now on, as the product's own telemetry topic has it.

    Raises KafkaUnavailableError.
    """
    _alter(topic, "message.timestamp.type", "LogAppendTime")


def keep_given_times(topic: str) -> None:
    """Let a topic keep the times that it is given, as it did when it was made. Raises KafkaUnavailableError."""
    _alter(topic, "message.timestamp.type", "CreateTime")


def keep_the_newest(topic: str, bytes_a_partition: int) -> None:
    """Let a topic forget its oldest records from now on. Raises KafkaUnavailableError."""
    _alter(topic, "retention.bytes", str(bytes_a_partition))


def _alter(topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = admin_client()  # held until the answers are there
    for altered in admin.incremental_alter_configs([resource], request_timeout=REQUEST_TIMEOUT_S).values():
        try:
            altered.result()
        except KafkaException as exception:
            raise KafkaUnavailableError(f"Altering {topic}: {exception.args[0].str()}") from None


class Loader:
    """Lays segments into one topic, each in one transaction."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._producer = Producer(
            {
                **client_config(),
                "transactional.id": f"benchmark-loader-{topic}",
                "transaction.timeout.ms": 120_000,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "batch.num.messages": 20_000,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1_048_576,
                "log_level": 2,
            }
        )
        self._producer.init_transactions(REQUEST_TIMEOUT_S)
        self._admin = admin_client()

    def write(self, segment: Segment) -> dict[int, OffsetRange]:
        """Write a segment, and return where it stands; nobody who reads committed records sees it before `commit`.

        Raises KafkaUnavailableError.
        """
        before = held_offsets(self._admin, self.topic, committed=True)
        self._producer.begin_transaction()
        self._produce(segment)
        after = held_offsets(self._admin, self.topic, committed=False)
        return {
            partition: OffsetRange(before[partition].next, held.next)
            for partition, held in after.items()
            if held.next > before[partition].next
        }

    def _produce(self, segment: Segment) -> None:
        produce, topic = self._producer.produce, self.topic
        for key, value, appended_at_ms in zip(*segment, strict=True):
            try:
                produce(topic, value, key, timestamp=appended_at_ms)
            except BufferError:
                self._producer.poll(1.0)
                produce(topic, value, key, timestamp=appended_at_ms)
        if self._producer.flush(REQUEST_TIMEOUT_S):
            raise KafkaUnavailableError(f"Kafka did not take a segment of {topic} within {REQUEST_TIMEOUT_S:g} s.")

    def commit(self) -> None:
        """Make what was written visible. Raises KafkaUnavailableError."""
        try:
            self._producer.commit_transaction(REQUEST_TIMEOUT_S)
        except KafkaException as exception:
            raise KafkaUnavailableError(f"Loading {self.topic}: {exception.args[0].str()}") from None
