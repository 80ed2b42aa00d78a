"""The books of a stretch of the log: what Kafka accepted against what came out, as a read_committed reader sees it.

`fleet.operations.audit` proves that every record of the stretch came out exactly once, in order and in its place. Here
is added what only a sender can know: that everything acknowledged is in the log, and that each result says what its
source said. A case is some hundred thousand events; about 200 bytes of each are held.

Neighbours: `load` says what was accepted, `trial` asks for the balance at the end of each case.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from faults.load import Entry, content_of
from fleet import kafka
from fleet.events.source import Source
from fleet.kafka import Message, OffsetRange
from fleet.operations.audit import AuditReport, Wanted, audit
from fleet.operations.audit_books import MEANING, DiscrepancyKind
from fleet.records.dead_letter import OMITTED_HEADER
from fleet.records.record import SOURCE_HEADER
from fleet.settings import KafkaSettings, Settings

EXAMPLES_SHOWN = 5
_CLIENT_ID = "faults-books"

Positions = Mapping[str, Mapping[int, int]]
"""Where each partition of each topic ends."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Counts of a stretch, None where it could not be read, and a sentence for everything that is wrong with it."""

    events: int
    lost: int | None
    doubled: int | None
    reordered: int | None
    sentences: list[str]


def ends(settings: KafkaSettings) -> dict[str, dict[int, int]]:
    """Return where the partitions of telemetry, results and dead letters end now. Raises KafkaUnavailableError."""
    admin = kafka.admin_client()  # a new one: after a broker's restart an old one asks with an outdated leader epoch
    topics = settings.topics
    return {
        topic: {partition: held.next for partition, held in kafka.held_offsets(admin, topic, committed=True).items()}
        for topic in (topics.telemetry, topics.scored, topics.dlq)
    }


def balance(settings: Settings, begin: Positions, accepted: Iterable[Entry]) -> Balance:
    """Compare everything since `begin`. Raises KafkaUnavailableError."""
    end = ends(settings.kafka)
    telemetry = settings.kafka.topics.telemetry
    report = audit(settings, Wanted(offsets=_ranges(telemetry, begin, end)), EXAMPLES_SHOWN)
    contents = _contents(settings.kafka, begin, end)
    topics = settings.kafka.topics
    out = (read_stretch(settings.kafka, topic, begin, end) for topic in (topics.scored, topics.dlq))
    return balance_of(report, forgotten(accepted, contents), exchanged(chain.from_iterable(out), contents))


def balance_of(report: AuditReport, forgotten: Sequence[Source], exchanged: Sequence[Source]) -> Balance:
    """Sum up what the audit found, what Kafka acknowledged and does not have, and what says something else."""
    not_yet = sum(partition.not_yet for partition in report.partitions)
    found = report.books.discrepancies
    sentences = [
        f"{found[kind]:,} {MEANING[kind]}, the first from "
        + ", ".join(f"{one.source_partition}:{one.source_offset}" for one in report.books.kept(kind))
        for kind in DiscrepancyKind
        if found[kind]
    ]
    sentences += _sentence("acknowledged events that Kafka no longer has", forgotten)
    sentences += _sentence("results that say something else than their source", exchanged)
    sentences += [f"{not_yet:,} events beyond the committed offsets"] * bool(not_yet)
    events = report.events + not_yet
    sentences += ["no event stands in the log: this proves nothing"] * (not events)
    return Balance(
        events=events,
        lost=found[DiscrepancyKind.MISSING] + not_yet + len(forgotten),
        doubled=found[DiscrepancyKind.DOUBLED],
        reordered=found[DiscrepancyKind.REORDERED],
        sentences=[*sentences, *report.ledger_differences, *report.notes],  # a note says what was left out
    )


def forgotten(accepted: Iterable[Entry], contents: Mapping[Source, int]) -> list[Source]:
    """Return the places of acknowledged events at which the log holds nothing, or something else."""
    places = ((Source(entry.partition, entry.offset), entry.content) for entry in accepted)
    return [place for place, content in places if contents.get(place) != content]


def exchanged(out: Iterable[Message], contents: Mapping[Source, int]) -> list[Source]:
    """Return the sources of results and dead letters that say something else than their source does.

    Where no source is named, or one that is not in the log, the audit has a word for it.
    """
    found = []
    for message in out:
        source, said = source_of(message), content_of(message.value())
        is_omitted = OMITTED_HEADER in dict(message.headers() or ())  # too large to come along: its case looks at these
        if source is not None and not is_omitted and contents.get(source, said) != said:
            found.append(source)
    return found


def read_stretch(settings: KafkaSettings, topic: str, begin: Positions, end: Positions) -> Iterator[Message]:
    """Read what was added to a topic, each partition in order; one that is new begins at 0."""
    for _, messages in kafka.read_ranges(settings, topic, _ranges(topic, begin, end), _CLIENT_ID):
        yield from messages


def source_of(message: Message) -> Source | None:
    """Return which telemetry record a result or a dead letter comes from."""
    return Source.read(dict(message.headers() or ()).get(SOURCE_HEADER))


def _ranges(topic: str, begin: Positions, end: Positions) -> dict[int, OffsetRange]:
    return {partition: OffsetRange(begin[topic].get(partition, 0), stop) for partition, stop in end[topic].items()}


def _contents(settings: KafkaSettings, begin: Positions, end: Positions) -> dict[Source, int]:
    messages = read_stretch(settings, settings.topics.telemetry, begin, end)
    return {Source(message.partition(), message.offset()): content_of(message.value()) for message in messages}


def _sentence(what: str, sources: Sequence[Source]) -> list[str]:
    shown = ", ".join(map(str, sources[:EXAMPLES_SHOWN]))
    return [f"{len(sources):,} {what}, the first from {shown}"] if sources else []
