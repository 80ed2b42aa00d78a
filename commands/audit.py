"""`fleet audit`: proves from the topics themselves that every event came out exactly once, in order, in its place."""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from commands.moments import moment_s
from commands.tables import in_columns
from fleet.kafka import OffsetRange, bootstrap_servers
from fleet.operations import audit as audits
from fleet.operations.audit_books import MEANING, Discrepancy, DiscrepancyKind
from fleet.settings import TopicNames
from launch.serve_config import CONFIG_FILE, configured_settings

SHOWN_DISCREPANCIES = 20
_END = 2**62
_offsets = re.compile(r"(\d{1,9}):(\d{0,18})-(\d{0,18})").fullmatch


def _offset_range(text: str) -> tuple[int, OffsetRange]:
    match = _offsets(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no stretch: give PARTITION:FIRST-LAST, as in 3:1000-1999 or 3:1000-.")
    first = int(match[2] or 0)
    following = int(match[3]) + 1 if match[3] else _END
    if following <= first:
        raise typer.BadParameter(f"{text!r} ends before it begins.")
    return int(match[1]), OffsetRange(first, following)


_Since = Annotated[
    float | None,
    typer.Option(
        parser=moment_s,
        metavar="TIME",
        help="Audit telemetry appended since then: ISO-8601, or 2h for two hours ago.",
    ),
]
_Until = Annotated[
    float | None, typer.Option(parser=moment_s, metavar="TIME", help="Audit telemetry appended before then.")
]
_Offsets = Annotated[
    list[Any] | None,
    typer.Option(
        parser=_offset_range,
        metavar="PARTITION:FIRST-LAST",
        help="Audit these offsets alone. Either end may be left out, and several partitions may be given.",
    ),
]
_Verbose = Annotated[
    bool, typer.Option("--verbose", help=f"Show every discrepancy, not only {SHOWN_DISCREPANCIES} of a kind.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, with every discrepancy.")]
_Config = Annotated[Path, typer.Option(help="The Serve config that the settings come from.")]


def audit(
    since: _Since = None,
    until: _Until = None,
    offsets: _Offsets = None,
    verbose: _Verbose = False,
    as_json: _AsJson = False,
    config: _Config = CONFIG_FILE,
) -> None:
    """Prove that every event came out exactly once, in order and in its place.

    Each telemetry record up to the committed offset must have one result or one dead letter, in the partition of the
    same number. A vehicle's results must stand in the order of its events. No result may name a record that is not in
    the log. Records beyond the committed offset are not out yet, which is no discrepancy. An audit from the start of
    the log also compares the counts with the ledger that is committed with the offsets.

    Without a bound, everything that Kafka still holds is audited. Results are always read to their end, because a
    doubled one may stand anywhere. Exit status 1 when the books do not balance.
    """
    settings = configured_settings(config)
    wanted = audits.Wanted(since, until, dict(offsets) if offsets else None)
    kept_discrepancies = None if verbose or as_json else SHOWN_DISCREPANCIES
    report = audits.audit(settings, wanted, kept_discrepancies, lambda line: typer.echo(line, err=True))
    if as_json:
        typer.echo(msgspec.json.encode(_as_object(report, settings.kafka.topics)).decode())
    else:
        _print(report, settings.kafka.topics)
    if not report.is_balanced:
        raise typer.Exit(1)


def _print(report: audits.AuditReport, topics: TopicNames) -> None:
    typer.echo(f"{topics.telemetry} at {bootstrap_servers()}, and what came out:")
    for line in in_columns(_table(report), numbers=range(1, 6)):
        typer.echo(line)
    for note in report.notes:
        typer.echo(f"note: {note}")
    for kind in DiscrepancyKind:
        _print_discrepancies(report, kind, report.books.discrepancies[kind], topics)
    for sentence in report.ledger_differences:
        typer.echo(f"ledger: {sentence}")
    rate = report.events / report.seconds
    verdict = "The books balance" if report.is_balanced else "The books do not balance"
    typer.echo(f"{verdict}: {report.events:,} events in {report.seconds:.1f} s ({rate:,.0f} events/s).")


def _table(report: audits.AuditReport) -> list[list[str]]:
    names = ["partition", "offsets", "events", "scored", "dead-lettered", "not yet"]
    counts = [(part.events, part.scored, part.dead_lettered, part.not_yet) for part in report.partitions]
    sums = [sum(column) for column in zip(*counts, strict=True)]
    named = [(str(part.partition), _stretch(part)) for part in report.partitions]
    return [
        names,
        *(
            [*name, *(f"{n:,}" for n in row)]
            for name, row in zip([*named, ("total", "")], [*counts, sums], strict=True)
        ),
    ]


def _stretch(part: audits.PartitionAudit) -> str:
    return f"{part.first}-{part.next - 1}" if part.next > part.first else "none"


def _print_discrepancies(report: audits.AuditReport, kind: DiscrepancyKind, count: int, topics: TopicNames) -> None:
    if count:
        typer.echo(f"{kind}: {count:,} {MEANING[kind]}")
    for discrepancy in report.books.kept(kind):
        typer.echo(f"  {_sentence(discrepancy, topics)}")
    if (more := count - report.books.kept_count(kind)) > 0:
        typer.echo(f"  and {more:,} more: --verbose shows all")


def _sentence(discrepancy: Discrepancy, topics: TopicNames) -> str:
    place = _place(discrepancy, topics)
    source = _source(discrepancy) or "?"
    return source if place is None else f"{source}  in {place}"


def _source(discrepancy: Discrepancy) -> str | None:
    return None if discrepancy.source_partition < 0 else f"{discrepancy.source_partition}:{discrepancy.source_offset}"


def _place(discrepancy: Discrepancy, topics: TopicNames) -> str | None:
    if discrepancy.outcome is None:
        return None
    return f"{audits.topic_of(discrepancy.outcome, topics)} {discrepancy.partition}:{discrepancy.offset}"


def _as_object(report: audits.AuditReport, topics: TopicNames) -> dict[str, Any]:
    return {
        "balanced": report.is_balanced,
        "events": report.events,
        "seconds": round(report.seconds, 3),
        "partitions": [
            {
                "partition": part.partition,
                "first": part.first,
                "next": part.next,
                "events": part.events,
                "scored": part.scored,
                "deadLettered": part.dead_lettered,
                "notYet": part.not_yet,
                "ledger": part.ledger,
            }
            for part in report.partitions
        ],
        "faults": {
            kind: [
                {"source": _source(discrepancy), "at": _place(discrepancy, topics)}
                for discrepancy in report.books.kept(kind)
            ]
            for kind in DiscrepancyKind
        },
        "ledger": report.ledger_differences,
        "notes": report.notes,
    }
