"""The gateway's two background threads: one follows the results, one watches how the pipeline is doing.

`ScoredTail` hands what it reads to the gateway's event loop and waits until it was taken, so no more than one poll
is ever between them. `PipelineWatch` keeps a snapshot of the ingest group's ledger and of Serve's replicas. Kafka
being away is said (`problem`) and tried again with a back-off; it ends neither thread.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from fleet import kafka
from fleet.backoff import BackOff
from fleet.delivery.feed.block import Place
from fleet.delivery.fleet_view import EpisodeRecord
from fleet.delivery.sender_view import SenderRecord
from fleet.errors import FleetError
from fleet.kafka import Message, PartitionLedger
from fleet.settings import KafkaSettings

POLL_RECORDS: Final = 4_096
IDLE_POLL_S: Final = 0.25
LINGER_S: Final = 0.001
# Kafka answers a fetch as soon as something comes; while nothing does, fewer are asked for.
FETCH_WAIT_MS: Final = 250
FIRST_BACK_OFF_S: Final = 0.2
LONGEST_BACK_OFF_S: Final = 5.0
WATCH_INTERVAL_S: Final = 1.0
REPLICAS_INTERVAL_S: Final = 3.0  # a look is dear, and replicas seldom change
APPEND_TIME_TIMEOUT_S: Final = 0.5
LOOK_INTERVAL_S: Final = 10.0  # between two looks for partitions that were added

logger = logging.getLogger(__name__)


class Followed(NamedTuple):
    """From where on the scored topic is read: its id, and the next offset of each partition."""

    epoch: str
    start: dict[int, int]


class Polled(NamedTuple):
    """What one poll brought, in the order of each partition; `places` are those of the scored records."""

    scored: list[bytes | None]
    episodes: list[EpisodeRecord]
    places: list[Place]
    senders: Sequence[SenderRecord] = ()
    actions: Sequence[Message] = ()
    followed: Followed | None = None


class ReplicaCounts(NamedTuple):
    """Serve's word on this application: running replicas by deployment, and whether it is in order or being deleted."""

    running: dict[str, int]
    in_order: bool
    deleting: bool


@dataclass(frozen=True, slots=True)
class PipelineSnapshot:
    """The last answers of Kafka and of Serve; times are Unix seconds."""

    ledgers: Sequence[PartitionLedger] = ()
    oldest_unscored_s: Mapping[int, float] = field(default_factory=dict)  # age by partition, where there is lag
    read_at_s: float | None = None
    replicas: ReplicaCounts | None = None


class RetryingThread:
    """Runs `work` until it is told to stop; a FleetError is said and tried again, any other ends it and is kept."""

    def __init__(self, name: str, work: Callable[[threading.Event], None]) -> None:
        self._work = work
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._failure: BaseException | None = None
        self._back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        self._problem: str | None = "not connected yet"

    @property
    def problem(self) -> str | None:
        """Say in a sentence why the work does not go on at the moment; None while it does."""
        return self._problem

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Tell the thread to end and wait a bounded time for it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def check(self) -> None:
        """Raise RuntimeError when the thread has ended without being told to."""
        if not self._stopping.is_set() and self._thread.ident is not None and not self._thread.is_alive():
            raise RuntimeError(f"{self._thread.name} has ended: {self._failure!r}")

    def working(self) -> None:
        """Note that the work goes on (called by the work itself)."""
        self._problem = None
        self._back_off.reset()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._work(self._stopping)
            except FleetError as problem:
                self._problem = str(problem)
                logger.warning("%s: %s", self._thread.name, problem, extra={"retry_s": self._back_off.delay_s})
                self._stopping.wait(self._back_off.next_s())
            except BaseException as failure:
                self._failure = failure
                self._problem = f"{self._thread.name} has ended: {failure!r}"
                if not self._stopping.is_set():
                    logger.exception("%s has ended", self._thread.name)
                return


class ScoredTail(RetryingThread):
    """Follows the topics of results, episodes, senders and actions, all partitions, with positions of its own.

    It begins `records` back from the end of the scored topic, so that a fresh gateway knows its fleet. `deliver` is
    called in this thread and returns when the records were taken.
    """

    def __init__(self, settings: KafkaSettings, records: int, deliver: Callable[[Polled], None]) -> None:
        super().__init__("gateway-tail", self._follow)
        self._settings, self._records, self._deliver = settings, records, deliver
        self._next_offsets: dict[tuple[str, int], int] = {}

    def _follow(self, stopping: threading.Event) -> None:
        topics = self._settings.topics
        per_partition = max(1, self._records // self._settings.partitions)
        consumer = kafka.tail_consumer(self._settings, "gateway", **{"fetch.wait.max.ms": FETCH_WAIT_MS})
        try:
            epoch = kafka.topic_id(kafka.admin_client(), topics.scored)
            whole = dict.fromkeys((topics.episodes, topics.senders, topics.actions))
            begun = kafka.follow(consumer, {topics.scored: per_partition, **whole}, self._next_offsets)
            start = {partition: offset for (topic, partition), offset in begun.items() if topic == topics.scored}
            self._deliver(Polled([], [], [], followed=Followed(epoch, start)))
            self.working()
            look_at_s = time.monotonic() + LOOK_INTERVAL_S
            while not stopping.is_set():
                if time.monotonic() > look_at_s:
                    if self._is_partial(consumer):
                        return  # to be called again: what was followed goes on where it was read to
                    look_at_s = time.monotonic() + LOOK_INTERVAL_S
                messages = kafka.poll_values(consumer, POLL_RECORDS, IDLE_POLL_S, LINGER_S)
                if messages:
                    self._deliver(self._sorted(messages))
        finally:
            consumer.close()

    def _is_partial(self, consumer: kafka.Consumer) -> bool:
        """Tell whether partitions were added since the topic was assigned."""
        topic = self._settings.topics.scored
        followed = len([assigned for assigned in consumer.assignment() if assigned.topic == topic])
        return kafka.partition_count(consumer, topic) > followed

    def _sorted(self, messages: Sequence[Any]) -> Polled:
        senders, actions, topics = list[SenderRecord](), list[Message](), self._settings.topics
        polled = Polled([], [], [], senders, actions)
        for message in messages:
            topic = message.topic()
            self._next_offsets[topic, message.partition()] = message.offset() + 1
            if topic == topics.scored:
                polled.scored.append(message.value())
                polled.places.append(Place(message.partition(), message.offset()))
            elif topic == topics.actions:
                actions.append(message)
            elif topic == topics.senders:
                senders.append(SenderRecord(message.key(), message.value()))
            else:
                polled.episodes.append(EpisodeRecord(message.key(), message.value(), message.timestamp()[1] / 1000))
        return polled


class PipelineWatch(RetryingThread):
    """Reads the ingest group's ledger once a second and Serve's replicas; `snapshot` is the last answer.

    Serve is asked as often while the application is not in order, and seldom while it is.

    The age of the oldest unscored event is exact: the append time of the record at the committed offset is read from
    the telemetry topic wherever there is lag. `after_each` is called in this thread after every round.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        read_replicas: Callable[[], ReplicaCounts | None],
        after_each: Callable[[PipelineSnapshot], None],
    ) -> None:
        super().__init__("gateway-watch", self._watch)
        self._settings, self._read_replicas, self._after_each = settings, read_replicas, after_each
        self.snapshot = PipelineSnapshot()

    def _watch(self, stopping: threading.Event) -> None:
        replicas_due_s = 0.0
        with ExitStack() as clients:
            group, reader = kafka.ledger_reader(self._settings), kafka.single_record_reader(self._settings)
            clients.callback(group.close)
            clients.callback(reader.close)
            while not stopping.is_set():
                # Serve is asked first: it answers when Kafka does not, and a shutdown is seen there.
                if time.monotonic() >= replicas_due_s:
                    self.snapshot = replace(self.snapshot, replicas=(replicas := self._read_replicas()))
                    in_order = replicas is not None and replicas.in_order
                    replicas_due_s = time.monotonic() + (REPLICAS_INTERVAL_S if in_order else 0.0)
                self.snapshot = self._read_ledgers(group, reader)
                self.working()
                self._after_each(self.snapshot)
                stopping.wait(WATCH_INTERVAL_S)

    def _read_ledgers(self, group: Any, reader: Any) -> PipelineSnapshot:
        ledgers, now_s = kafka.partition_ledgers(group, self._settings), time.time()
        behind = {
            entry.partition: entry.low_offset if entry.committed_offset is None else entry.committed_offset
            for entry in ledgers
            if entry.lag_records > 0
        }
        appended_s = (
            kafka.append_times_s(reader, self._settings.topics.telemetry, behind, APPEND_TIME_TIMEOUT_S)
            if behind
            else {}
        )
        ages_s = {partition: max(now_s - at_s, 0.0) for partition, at_s in appended_s.items()}
        return PipelineSnapshot(ledgers, ages_s, now_s, self.snapshot.replicas)
