"""What stands where the application would: takes telemetry to results on the real broker, rightly or crookedly."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, Self

from fleet import kafka
from fleet.kafka import CommitPart, Consumer, Ledger, Message, Record, TopicPartition
from fleet.settings import Settings
from tests.fleet.operations.written_log import PARTITIONS, WrittenLog

Tamper = Callable[[Sequence[Message], list[Record]], list[Record]]


def honest(_messages: Sequence[Message], records: list[Record]) -> list[Record]:
    """Let everything come out as it must."""
    return records


class StandIn:
    """As much of a system as a trial needs; `tamper` is given each partition's turn before it is committed.

    It numbers turns from 0 in `turns`, so that a crooked one may strike once.
    """

    def __init__(self, log: WrittenLog, tamper: Tamper = honest) -> None:
        self._log, self._tamper = log, tamper
        self.is_well = True
        self.released = 0
        self.link = SimpleNamespace(release=self._release)
        self.kept_back = False
        self._ledgers = {p: Ledger() for p in range(PARTITIONS)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        for partition in range(PARTITIONS):
            self._log.come_out(partition, [], 0, Ledger())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    @property
    def settings(self) -> Settings:
        return self._log.settings

    def is_healthy(self) -> bool:
        return self.is_well

    def processes_by_role(self) -> dict[str, list[Any]]:
        return {}

    def _release(self) -> None:
        self.released += 1

    def _run(self) -> None:
        consumer = Consumer({**kafka.client_config(), "group.id": "stand-in", "enable.auto.commit": False})
        consumer.assign([TopicPartition(self._log.topics.telemetry, p, 0) for p in range(PARTITIONS)])
        while not self._stop.is_set():
            messages = [] if self.kept_back else consumer.consume(1_000, 0.05)
            self._stop.wait(0.05 * self.kept_back)
            for partition in range(PARTITIONS):
                if turn := [message for message in messages if message.partition() == partition]:
                    self._take(partition, turn)
        consumer.close()

    def _take(self, partition: int, turn: Sequence[Message]) -> None:
        records = self._tamper(turn, [self._result(message) for message in turn])
        topics = Counter(record.topic for record in records)
        before, dead = self._ledgers[partition], topics[self._log.topics.dlq]
        ledger = Ledger(before.read + len(turn), before.scored + len(turn) - dead, before.dead_lettered + dead)
        self._ledgers[partition] = ledger
        offset = kafka.offset_to_commit(self.settings.kafka, partition, turn[-1].offset() + 1, ledger)
        group = self._log._group.consumer_group_metadata()
        self._log._ingest[partition].commit([CommitPart(partition, records, offset)], group, 10.0)

    def _result(self, message: Message) -> Record:
        source = f"{message.partition()}:{message.offset()}".encode()
        value = message.value()[:-1] + b',"source":"' + source + b'","appendedAt":1.0}'
        return Record(self._log.topics.scored, message.key(), value, [("source", source)])
