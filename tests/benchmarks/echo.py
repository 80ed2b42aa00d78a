"""A contestant that runs in a thread of the test: says of each event what its bytes say, rightly or crookedly."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import msgspec
import psutil
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks.costs import Roles
from benchmarks.workload import make_topics
from fleet.kafka import OffsetRange, client_config

PARTITIONS = 2
Results = list[tuple[int, bytes]]
"""Of one turn: the partition and the value of each."""
Tamper = Callable[[Results], Results]


def result(message: Message) -> tuple[int, bytes]:
    """Say something of an event that only its bytes decide."""
    value = message.value()
    said = {
        "source": f"{message.partition()}:{message.offset()}",
        "reconstruction_error": float(sum(value[-40:])),
        "is_anomaly": value[-2] % 7 == 0,
    }
    return message.partition(), msgspec.json.encode(said)


class Echo:
    """Takes what is visible in its topic to results, one transaction a turn, its offsets with them.

    `holds_open_s`: commits its offsets first, and its results so much later. `is_deaf`: never reads.
    """

    def __init__(self, name: str, tamper: Tamper = list, holds_open_s: float = 0.0, is_deaf: bool = False) -> None:
        self.name, self.telemetry, self.scored = name, f"{name}-telemetry", f"{name}-scored"
        self.group_id = f"{name}-group"
        self.announced: list[Mapping[int, OffsetRange]] = []
        self._tamper, self._holds_open_s, self._is_deaf = tamper, holds_open_s, is_deaf
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        make_topics([self.telemetry, self.scored], PARTITIONS)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def announce(self, ranges: Mapping[int, OffsetRange]) -> None:
        self.announced.append(dict(ranges))

    def roles(self) -> Roles:
        return {"echo": [psutil.Process()]}

    def _run(self) -> None:
        group = {"group.id": self.group_id, "enable.auto.commit": False, "isolation.level": "read_committed"}
        consumer = Consumer({**client_config(), **group})
        consumer.assign([TopicPartition(self.telemetry, partition, 0) for partition in range(PARTITIONS)])
        producer = Producer({**client_config(), "transactional.id": self.name})
        producer.init_transactions(30)
        while not self._stop.is_set():
            messages = [] if self._is_deaf else consumer.consume(10_000, 0.1)
            self._stop.wait(0.1 * self._is_deaf)
            if messages:
                self._turn(consumer, producer, messages)
        consumer.close()

    def _turn(self, consumer: Consumer, producer: Producer, messages: Sequence[Message]) -> None:
        following = {message.partition(): message.offset() + 1 for message in messages}
        positions = [TopicPartition(self.telemetry, partition, offset) for partition, offset in following.items()]
        producer.begin_transaction()
        for partition, value in self._tamper([result(message) for message in messages]):
            producer.produce(self.scored, value, partition=partition)
        if self._holds_open_s:
            assert producer.flush(30) == 0
            consumer.commit(offsets=positions, asynchronous=False)
            time.sleep(self._holds_open_s)  # the length of the mistake
        else:
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
