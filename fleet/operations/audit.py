"""Walks the topics and proves, for a stretch of the log, that every event came out exactly once, in order, in place.

`fleet.operations.audit_books` keeps the books, `fleet.kafka` reads; `commands/audit.py` prints the report.

Where the walk begins and ends: the committed offsets are read first, the ends of the result topics after them, the
telemetry's end last. So the results of everything committed lie before the ends that are read to, and no result there
may name a source beyond the telemetry's end. A transaction that is still being completed is waited for.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from fleet import kafka
from fleet.errors import SettingsError
from fleet.events.source import Source, read_sources
from fleet.kafka import Ledger, Message, OffsetRange
from fleet.operations.audit_books import Books, Outcome, Results, Stretch
from fleet.records.record import SOURCE_HEADER
from fleet.settings import KafkaSettings, Settings, TopicNames

MOST_OFFSETS = 1_000_000_000  # a byte each
CLOCK_SKEW_S = 600.0  # results carry the time of the replica that wrote them, telemetry the broker's
_CLIENT_ID = "audit"
# A reaper looks every 10 s for transactions whose time is over.
_REAPER_S = 20.0
_VERDICT_BYTES = 320  # about what a scored event ends in; `source` is found there without reading all of it


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which stretch of the telemetry to audit; without a bound, everything that is held and committed."""

    since_s: float | None = None  # append time, Unix seconds
    until_s: float | None = None
    offsets: Mapping[int, OffsetRange] | None = None  # by partition; others are not audited


@dataclass(frozen=True, slots=True)
class PartitionAudit:
    """The counts of one audited partition, from offset `first` up to and without `next`."""

    partition: int
    first: int
    next: int
    events: int
    scored: int
    dead_lettered: int
    not_yet: int  # events of the stretch beyond the committed offset
    ledger: Ledger | None  # where it counts what the stretch holds: from the log's start to the committed offset


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found."""

    partitions: list[PartitionAudit]
    books: Books
    ledger_differences: list[str]
    notes: list[str]
    seconds: float

    @property
    def is_balanced(self) -> bool:
        """Whether every event came out exactly once, in order and in its place, and the ledger says the same."""
        return self.books.is_balanced and not self.ledger_differences

    @property
    def events(self) -> int:
        """How many telemetry records were audited."""
        return sum(partition.events for partition in self.partitions)


def audit(
    settings: Settings,
    wanted: Wanted | None = None,
    kept_discrepancies: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> AuditReport:
    """Audit a stretch, remembering at most `kept_discrepancies` discrepancies of each kind; `say` is told of progress.

    Raises TopicMismatchError, KafkaUnavailableError, RetentionGapError, and SettingsError for a stretch too long.
    """
    began_s = time.monotonic()
    walk = _Walk(settings, wanted or Wanted(), say)
    books = Books(walk.stretches, kept_discrepancies)
    appended_at_s = walk.read_telemetry(books)
    for outcome in Outcome:
        walk.read_results(books, outcome, appended_at_s)
    books.close()
    partitions = [walk.partition_audit(books, partition) for partition in walk.audited]
    differences = [sentence for audited in partitions for sentence in ledger_differences(audited)]
    return AuditReport(partitions, books, differences, walk.notes, time.monotonic() - began_s)


def topic_of(outcome: Outcome, topics: TopicNames) -> str:
    """Name the topic of an outcome."""
    return topics.scored if outcome is Outcome.SCORED else topics.dlq


def ledger_differences(audited: PartitionAudit) -> list[str]:
    """Compare a partition's counts with its ledger; returns a sentence for each difference."""
    ledger, name = audited.ledger, f"partition {audited.partition}"
    if ledger is None:
        return []
    sentences = [
        f"{name}: the ledger says {said:,} {outcome}, the log holds {found:,}"
        for outcome, said, found in (
            (Outcome.SCORED, ledger.scored, audited.scored),
            (Outcome.DEAD_LETTERED, ledger.dead_lettered, audited.dead_lettered),
        )
        if said != found
    ]
    in_flight = ledger.read - ledger.scored - ledger.dead_lettered
    if not 0 <= in_flight <= audited.not_yet:
        sentences.append(
            f"{name}: the ledger says {in_flight:,} read and neither scored nor dead-lettered, but {audited.not_yet:,} "
            "events stand beyond the committed offset"
        )
    return sentences


class _Walk:
    """The topics as they stood at the start, and where to read them."""

    def __init__(self, settings: Settings, wanted: Wanted, say: Callable[[str], None]) -> None:
        """Take the snapshot, in the order that the module's docstring explains."""
        self._settings, self._kafka, self._wanted, self._say = settings, settings.kafka, wanted, say
        self._admin = kafka.admin_client()
        telemetry = self._kafka.topics.telemetry
        partitions = list(kafka.held_offsets(self._admin, telemetry, committed=True))
        self._committed = _committed(self._kafka, partitions)
        self._held = {
            outcome: kafka.held_offsets(self._admin, self._topic(outcome), committed=False) for outcome in Outcome
        }
        self._log = kafka.held_offsets(self._admin, telemetry, committed=True)
        self.notes = self._notes_on_commits()
        self._read = self._without_lost_results(self._wanted_ranges())  # the stretches and what is not out yet
        self.stretches = {partition: self._stretch(partition, wanted) for partition, wanted in self._read.items()}
        offsets = sum(stretch.next - stretch.first for stretch in self.stretches.values())
        if offsets > MOST_OFFSETS:
            raise SettingsError(
                f"{offsets:,} offsets are more than one audit holds ({MOST_OFFSETS:,}): audit a part with --since "
                "and --until."
            )

    @property
    def audited(self) -> list[int]:
        """The partitions that are not left out."""
        return [p for p in self._log if self._wanted.offsets is None or p in self._wanted.offsets]

    def read_telemetry(self, books: Books) -> dict[int, float]:
        """Enter which offsets exist; returns when a partition's first one was appended, in Unix seconds."""
        appended_at_s: dict[int, float] = {}
        for partition, messages in self._records_of(self._kafka.topics.telemetry, self._read):
            appended_at_s.setdefault(partition, messages[0].timestamp()[1] / 1000)
            books.take_telemetry(partition, np.array([message.offset() for message in messages], np.int64))
        return appended_at_s

    def read_results(self, books: Books, outcome: Outcome, appended_at_s: Mapping[int, float]) -> None:
        """Enter what came out into one of the two topics, up to its end: a doubled record may stand anywhere."""
        ranges = self._result_ranges(outcome, appended_at_s)
        for partition, messages in self._records_of(self._topic(outcome), ranges):
            books.take_results(_results(outcome, partition, messages))

    def partition_audit(self, books: Books, partition: int) -> PartitionAudit:
        """Sum one partition up."""
        stretch = self.stretches[partition]
        committed, ledger = self._committed[partition]
        is_whole = stretch.first == 0 and committed == stretch.next
        return PartitionAudit(
            partition,
            stretch.first,
            stretch.next,
            books.events[partition],
            books.outcomes[partition, Outcome.SCORED],
            books.outcomes[partition, Outcome.DEAD_LETTERED],
            books.not_yet[partition],
            ledger if is_whole and committed else None,
        )

    def _topic(self, outcome: Outcome) -> str:
        return topic_of(outcome, self._kafka.topics)

    def _result_ranges(self, outcome: Outcome, appended_at_s: Mapping[int, float]) -> dict[int, OffsetRange]:
        """Begin at the start of the log where the stretch does, else with what was written since its first event."""
        held = {p: offsets for p, offsets in self._held[outcome].items() if p in self.audited}
        from_start = {p: offsets for p, offsets in held.items() if not self._begins_late(p)}
        began_s = {p: appended_at_s[p] - CLOCK_SKEW_S for p in held.keys() & appended_at_s.keys() - from_start.keys()}
        found = kafka.offsets_at(self._admin, self._topic(outcome), began_s)
        since = {p: OffsetRange(held[p].next if o is None else o, held[p].next) for p, o in found.items()}
        return {**from_start, **since}

    def _begins_late(self, partition: int) -> bool:
        return self.stretches[partition].first > self._log[partition].first

    def _stretch(self, partition: int, wanted: OffsetRange) -> Stretch:
        committed, _ = self._committed[partition]
        following = wanted.first if committed is None else max(min(committed, wanted.next), wanted.first)
        return Stretch(wanted.first, following, self._log[partition].next)

    def _wanted_ranges(self) -> dict[int, OffsetRange]:
        """Cut the log to what is asked for."""
        self._check_partitions()
        since, until = self._offsets_at(self._wanted.since_s), self._offsets_at(self._wanted.until_s)
        ranges = {}
        for partition, log in self._log.items():
            asked = log if self._wanted.offsets is None else self._wanted.offsets.get(partition, OffsetRange(0, 0))
            following = min(log.next, asked.next, until.get(partition, log.next))
            first = max(log.first, asked.first, since.get(partition, 0))
            ranges[partition] = OffsetRange(min(first, following), max(following, 0))
        return ranges

    def _check_partitions(self) -> None:
        for partition in self._wanted.offsets or ():
            if partition not in self._log:
                raise SettingsError(
                    f"--offsets names partition {partition}, but {self._kafka.topics.telemetry} has "
                    f"{len(self._log)} partitions, from 0 on."
                )

    def _notes_on_commits(self) -> list[str]:
        """Say where the group has not read what an audit would be expected to cover."""
        notes, group = [], self._kafka.group_id
        for partition in self.audited:
            committed, log = self._committed[partition][0], self._log[partition]
            if committed is None and log.first < log.next:
                notes.append(f"partition {partition}: the group {group} has committed nothing")
            elif committed is not None and committed < log.first:
                notes.append(
                    f"partition {partition}: retention has deleted the offsets {committed} to {log.first - 1}, which "
                    f"the group {group} had not read"
                )
        return notes

    def _offsets_at(self, time_s: float | None) -> dict[int, int]:
        if time_s is None:
            return {}
        found = kafka.offsets_at(self._admin, self._kafka.topics.telemetry, dict.fromkeys(self._log, time_s))
        return {p: self._log[p].next if offset is None else offset for p, offset in found.items()}

    def _without_lost_results(self, ranges: Mapping[int, OffsetRange]) -> dict[int, OffsetRange]:
        """Leave out the beginning of a stretch whose results retention may have deleted already."""
        first = {partition: wanted.first for partition, wanted in ranges.items()}
        for outcome, held in self._held.items():
            for partition, offset in self._first_with_results(outcome, held).items():
                if first[partition] < offset and ranges[partition].first < ranges[partition].next:
                    first[partition] = min(offset, ranges[partition].next)
                    self.notes.append(
                        f"partition {partition}: {self._topic(outcome)} no longer holds what came of the offsets "
                        f"before {first[partition]}; they are left out"
                    )
        return {partition: OffsetRange(first[partition], wanted.next) for partition, wanted in ranges.items()}

    def _first_with_results(self, outcome: Outcome, held: Mapping[int, OffsetRange]) -> dict[int, int]:
        """Return from which telemetry offset on nothing that came out has been deleted, where anything has been."""
        trimmed = [p for p, offsets in held.items() if offsets.first > 0 and p in self._log]
        if not trimmed:
            return {}
        kept_s = kafka.kept_for_s(self._admin, self._topic(outcome))
        by_time = self._offsets_at(None if kept_s in (None, math.inf) else time.time() - kept_s + CLOCK_SKEW_S)
        return {p: min(self._first_source(outcome, p), by_time.get(p, self._log[p].next)) for p in trimmed}

    def _first_source(self, outcome: Outcome, partition: int) -> int:
        """Return the source of the oldest record that a result topic still holds; nothing before it is held."""
        for _, messages in self._records_of(self._topic(outcome), {partition: self._held[outcome][partition]}):
            source = Source.read(_source_header(messages[0]))
            if source is not None:
                return source.offset
        return self._log[partition].next

    def _records_of(self, topic: str, ranges: Mapping[int, OffsetRange]) -> Iterator[tuple[int, list[Message]]]:
        patience_s = self._settings.ingest.transaction_timeout_s + _REAPER_S
        return kafka.read_ranges(self._kafka, topic, ranges, _CLIENT_ID, patience_s, self._say)


def _committed(settings: KafkaSettings, partitions: Sequence[int]) -> dict[int, tuple[int | None, Ledger]]:
    reader = kafka.ledger_reader(settings)
    try:
        return kafka.committed_positions(reader, settings.topics.telemetry, partitions)
    finally:
        reader.close()


class _Body(msgspec.Struct, gc=False):
    source: str


_decode_body = msgspec.json.Decoder(_Body).decode


def _results(outcome: Outcome, partition: int, messages: Sequence[Message]) -> Results:
    """Lay out the records of one partition of a result topic as columns."""
    texts = [_source_header(message) for message in messages]
    source_partitions, source_offsets = read_sources(texts)
    if outcome is Outcome.SCORED:
        differs = [_body_differs(message.value(), text) for message, text in zip(messages, texts, strict=True)]
    else:
        differs = [False] * len(messages)  # a dead letter is the sender's own bytes
    return Results(
        outcome,
        partition,
        np.array([message.offset() for message in messages], np.int64),
        source_partitions,
        source_offsets,
        [message.key() for message in messages],
        np.array(differs, np.bool_),
    )


def _source_header(message: Message) -> bytes:
    for name, value in message.headers() or ():
        if name == SOURCE_HEADER:
            return value or b""
    return b""


def _body_differs(value: bytes | None, source: bytes) -> bool:
    """Whether a scored event names another source than its header."""
    if value is None:
        return True
    if b'"source":"' + source + b'",' in value[-_VERDICT_BYTES:]:
        return False
    try:
        return _decode_body(value).source.encode() != source
    except (msgspec.MsgspecError, UnicodeError):
        return True
