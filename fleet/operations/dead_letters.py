"""The dead-letter topic as an operator works with it: counted, looked at, and sent again.

`fleet.ingest.worker` writes dead letters, `fleet.kafka` reads and sends, `commands/dlq.py` is the operator's side.

A dead letter is sent again to the telemetry topic with its own key and bytes, to the partition number of its source:
there its vehicle's other events are and there its state is kept; the key's hash would name that partition only to the
client library that hashes as the sender's does. It becomes a new record at the end of that partition, behind what the
vehicle has sent since, with the header `redriven` = its source.

That header is the only mark of a redrive, in the very record that was sent: there is nothing else that a crash could
leave in disagreement with it. So before anything is sent, the telemetry is read from the time of the oldest chosen
dead letter on, and what stands there already is left out. After the sending, what was appended meanwhile is read as
well: another redrive at the same time shows as records that stand there twice.
"""

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from fleet import kafka
from fleet.errors import KafkaUnavailableError
from fleet.events.source import Source
from fleet.kafka import KafkaError, KafkaException, Message, OffsetRange, Producer
from fleet.records.dead_letter import REDRIVEN_HEADER, DeadLetter, read_dead_letter
from fleet.settings import KafkaSettings

CLOCK_SKEW_S: Final = 600.0  # dead letters carry the time of the replica that wrote them, telemetry the broker's
FLUSH_TIMEOUT_S: Final = 150.0  # above the producer's delivery.timeout.ms
_CLIENT_ID: Final = "dead-letters"


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters are meant; empty means all."""

    reasons: frozenset[str] = frozenset()
    since_s: float | None = None  # when they were written, Unix seconds
    until_s: float | None = None
    partitions: frozenset[int] = frozenset()
    sources: frozenset[Source] = frozenset()

    def takes(self, letter: DeadLetter) -> bool:
        """Tell whether a dead letter is meant."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.since_s is None or letter.at_s >= self.since_s)
            and (self.until_s is None or letter.at_s < self.until_s)
            and (not self.partitions or letter.partition in self.partitions)
            and (not self.sources or letter.source in self.sources)
        )


class DeadLetters:
    """The dead letters that stand in the topic at this moment, as a read_committed reader sees them.

    Every method may raise KafkaUnavailableError, and TopicMismatchError where there is no such topic.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = kafka.admin_client()
        self._held = kafka.held_offsets(self._admin, settings.topics.dlq, committed=True)

    def chosen(self, wanted: DeadLetterFilter) -> Iterator[DeadLetter]:
        """Read those that a filter takes, in the order of each partition."""
        topic = self._settings.topics.dlq
        # A dead letter stands in the partition number of its source.
        partitions = wanted.partitions or {source.partition for source in wanted.sources} or self._held.keys()
        held = {partition: offsets for partition, offsets in self._held.items() if partition in partitions}
        if wanted.since_s is not None:
            first = kafka.offsets_at(self._admin, topic, dict.fromkeys(held, wanted.since_s))
            held = {p: OffsetRange(_or(first[p], held[p].next), held[p].next) for p in held}
        for _, messages in kafka.read_ranges(self._settings, topic, held, _CLIENT_ID):
            yield from filter(wanted.takes, map(dead_letter, messages))

    def at(self, place: Source) -> list[DeadLetter]:
        """Return the dead letter at a place of its own topic, if one stands there."""
        held = self._held.get(place.partition, OffsetRange(0, 0))
        if not held.first <= place.offset < held.next:
            return []
        ranges = {place.partition: OffsetRange(place.offset, place.offset + 1)}
        found = kafka.read_ranges(self._settings, self._settings.topics.dlq, ranges, _CLIENT_ID)
        return [dead_letter(message) for _, messages in found for message in messages]


def dead_letter(message: Message) -> DeadLetter:
    """Read a record of the dead-letter topic."""
    place, written_at_s = Source(message.partition(), message.offset()), message.timestamp()[1] / 1000
    return read_dead_letter(place, written_at_s, message.key(), message.value(), message.headers() or ())


def newest(letters: Iterable[DeadLetter], most: int) -> tuple[Counter[str], list[DeadLetter]]:
    """Count dead letters by reason, and return the newest of them, the latest first."""
    counts: Counter[str] = Counter()

    def counted() -> Iterator[DeadLetter]:
        for letter in letters:
            counts[letter.reason] += 1
            yield letter

    latest = heapq.nlargest(most, counted(), key=lambda letter: (letter.at_s, letter.partition, letter.offset))
    return counts, latest


class OffsetSet:
    """A set of offsets from `first` up to and without `following`, a bit for each that may be in it."""

    def __init__(self, first: int, following: int) -> None:
        self._first, self._span = first, max(following - first, 0)
        self._bits = bytearray((self._span + 7) // 8)

    def __contains__(self, offset: int) -> bool:
        place = offset - self._first
        return self.spans(offset) and bool(self._bits[place >> 3] & 1 << (place & 7))

    def spans(self, offset: int) -> bool:
        """Tell whether an offset may be in it."""
        return 0 <= offset - self._first < self._span

    def add(self, offset: int) -> None:
        """Put an offset in; one that may not be in it is left out."""
        place = offset - self._first
        if self.spans(offset):
            self._bits[place >> 3] |= 1 << (place & 7)

    def copy(self) -> "OffsetSet":
        """Return another one with the same offsets."""
        copied = OffsetSet(self._first, self._first + self._span)
        copied._bits[:] = self._bits
        return copied


@dataclass(slots=True)
class RedriveCounts:
    """What becomes of the chosen dead letters: each is left for one of the reasons, or is to be sent.

    What is to be sent is acknowledged or failed in the end, or was left: somebody asked to stop, or Kafka is away.
    """

    chosen: int = 0
    already: int = 0  # left: sent again before, or standing in the dead-letter topic twice
    untold: int = 0  # left: so old that the telemetry no longer shows whether they were sent again before
    unsourced: int = 0  # left: they name no record that the telemetry can have held
    omitted: int = 0  # left: their value was too large to come along
    to_send: Counter[str] = field(default_factory=Counter)  # by reason
    came_back: int = 0  # of those to send: were sent again once, and came back
    acknowledged: int = 0
    failed: int = 0
    last_failure: str = ""
    twice: int = 0  # stand in the telemetry once more: another redrive ran at the same time


class Redrive:
    """One redrive of what is wanted: `plan` looks, `send` acts. Memory: a few bits for each offset between the sources.

    `untold_too` sends those too of which the telemetry no longer shows whether they were sent again before.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        wanted: DeadLetterFilter,
        *,
        untold_too: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings, self._filter, self._untold_too, self._say = settings, wanted, untold_too, say
        self._letters = DeadLetters(settings)
        self._topic = settings.topics.telemetry
        self._admin = kafka.admin_client()
        self._sent: dict[int, OffsetSet] = {}  # by partition: sources that were sent again
        self._redriven: dict[int, OffsetSet] = {}  # by partition: where they stand now, as far as they are sources
        self._told_since_s: dict[int, float] = {}
        self._read_to: dict[int, int] = {}
        self.counts = RedriveCounts()

    def plan(self) -> RedriveCounts:
        """Find what is chosen and what of it was sent again before. Raises KafkaUnavailableError."""
        # To its very end: behind a transaction that somebody has open, earlier redrives would not be seen.
        held = kafka.held_offsets(self._admin, self._topic, committed=False)
        spans, oldest_s = self._survey(held)
        self._sent = {partition: OffsetSet(*span) for partition, span in spans.items()}
        self._redriven = {partition: OffsetSet(*span) for partition, span in spans.items()}
        self._told_since_s = self._beginnings({partition: held[partition] for partition in spans})
        self._read_to = {partition: held[partition].next for partition in spans}
        self._note_redriven(self._since(oldest_s, held))
        for letter in self._new_letters(self.counts):
            self.counts.to_send[letter.reason] += 1
            self.counts.came_back += letter.source.offset in self._redriven[letter.source.partition]
        return self.counts

    def send(self, asked_to_stop: Callable[[], bool]) -> RedriveCounts:
        """Send what `plan` has found, and wait until Kafka has it. Raises KafkaUnavailableError."""
        producer = self._producer()
        handed_over = 0
        for letter in itertools.takewhile(lambda _: not asked_to_stop(), self._new_letters(RedriveCounts())):
            handed_over += 1
            self._produce(producer, letter)
        unsent = producer.flush(FLUSH_TIMEOUT_S)
        self.counts.acknowledged = handed_over - self.counts.failed - unsent
        if unsent:
            raise KafkaUnavailableError(f"Kafka at {kafka.bootstrap_servers()} did not acknowledge {unsent:,} records.")
        end = kafka.held_offsets(self._admin, self._topic, committed=False)
        since_plan = {
            partition: OffsetRange(offset, end[partition].next) for partition, offset in self._read_to.items()
        }
        self.counts.twice = self._note_redriven(since_plan)
        return self.counts

    def _survey(self, held: Mapping[int, OffsetRange]) -> tuple[dict[int, OffsetRange], dict[int, float]]:
        """Return between which offsets the sources of a partition lie, and when its oldest letter was written."""
        spans: dict[int, OffsetRange] = {}
        oldest_s: dict[int, float] = {}
        for letter in self._letters.chosen(self._filter):
            source = letter.source
            if 0 <= source.offset < held.get(source.partition, _NOTHING).next:
                first, following = spans.get(source.partition, OffsetRange(source.offset, source.offset + 1))
                spans[source.partition] = OffsetRange(min(first, source.offset), max(following, source.offset + 1))
                oldest_s[source.partition] = min(letter.at_s, oldest_s.get(source.partition, math.inf))
        return spans, oldest_s

    def _beginnings(self, held: Mapping[int, OffsetRange]) -> dict[int, float]:
        """Return since when the telemetry of a partition is complete, Unix seconds."""
        reader = kafka.single_record_reader(self._settings)
        try:
            trimmed = {partition: offsets.first for partition, offsets in held.items() if offsets.first > 0}
            found = kafka.append_times_s(reader, self._topic, trimmed, kafka.READ_PATIENCE_S)
        finally:
            reader.close()
        return {p: found.get(p, math.inf) if p in trimmed else -math.inf for p in held}

    def _since(self, oldest_s: Mapping[int, float], held: Mapping[int, OffsetRange]) -> dict[int, OffsetRange]:
        since_s = {partition: at_s - CLOCK_SKEW_S for partition, at_s in oldest_s.items()}
        found = kafka.offsets_at(self._admin, self._topic, since_s)
        return {p: OffsetRange(_or(offset, held[p].next), held[p].next) for p, offset in found.items()}

    def _note_redriven(self, ranges: Mapping[int, OffsetRange]) -> int:
        """Enter what was sent again into a stretch of the telemetry; returns how much of it had been before."""
        repeated = 0
        for partition, messages in kafka.read_ranges(self._settings, self._topic, ranges, _CLIENT_ID, say=self._say):
            for message in messages:
                if (source := _redriven_source(message)) is not None and source.partition == partition:
                    repeated += source.offset in self._sent[partition]
                    self._sent[partition].add(source.offset)
                    self._redriven[partition].add(message.offset())
        return repeated

    def _new_letters(self, counts: RedriveCounts) -> Iterator[DeadLetter]:
        """Read the chosen dead letters that are to be sent, and count why others are not."""
        sent = {partition: sent.copy() for partition, sent in self._sent.items()}
        for letter in self._letters.chosen(self._filter):
            counts.chosen += 1
            partition, offset = letter.source
            if letter.is_omitted:
                counts.omitted += 1
            elif partition not in sent or not sent[partition].spans(offset):
                counts.unsourced += 1
            elif offset in sent[partition]:
                counts.already += 1
            elif not self._untold_too and letter.at_s - CLOCK_SKEW_S < self._told_since_s[partition]:
                counts.untold += 1
            else:
                sent[partition].add(offset)
                yield letter

    def _producer(self) -> Producer:
        return kafka.telemetry_producer(
            f"{self._settings.application_id}-{_CLIENT_ID}",
            **{
                "message.max.bytes": self._settings.max_message_bytes,
                "queue.buffering.max.kbytes": 65_536,
                "delivery.report.only.error": True,
                "on_delivery": self._note_failure,
            },
        )

    def _produce(self, producer: Producer, letter: DeadLetter) -> None:
        headers = [(REDRIVEN_HEADER, str(letter.source).encode())]
        while True:
            try:
                producer.produce(
                    self._topic, letter.value, letter.key, partition=letter.source.partition, headers=headers
                )
            except BufferError:
                producer.poll(0.1)
                continue
            except KafkaException as exception:
                self._note_failure(exception.args[0], None)
            producer.poll(0)
            return

    def _note_failure(self, error: KafkaError | None, _message: Message | None) -> None:
        if error is not None:
            self.counts.failed += 1
            self.counts.last_failure = error.str()


_NOTHING: Final = OffsetRange(0, 0)


def _redriven_source(message: Message) -> Source | None:
    for name, value in message.headers() or ():
        if name == REDRIVEN_HEADER:
            return Source.read(value)
    return None


def _or(offset: int | None, otherwise: int) -> int:
    return otherwise if offset is None else offset
