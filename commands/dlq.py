"""`fleet dlq list|show|redrive`: dead letters looked at, and sent again."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from commands.moments import as_text, moment_s
from commands.stopping import StopFlag
from commands.tables import in_columns
from fleet.errors import FleetError
from fleet.events.source import Source
from fleet.kafka import bootstrap_servers
from fleet.operations.dead_letters import DeadLetterFilter, DeadLetters, Redrive, RedriveCounts, newest
from fleet.records.dead_letter import NO_SOURCE, DeadLetter
from fleet.settings import TopicNames
from launch.serve_config import CONFIG_FILE, configured_settings

KEY_CHARACTERS, DETAIL_CHARACTERS = 24, 72
HEX_ROW_BYTES = 16

dlq = typer.Typer(help="Look at dead letters, and send them again.", no_args_is_help=True)


def _source(text: str) -> Source:
    source = Source.read(text.encode())
    if source is None:
        raise typer.BadParameter(f"{text!r} is no partition:offset, as in 3:1042.")
    return source


_Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Choose dead letters of this reason; may be given several times.")
]
_Since = Annotated[
    float | None,
    typer.Option(
        parser=moment_s, metavar="TIME", help="Choose those written since then: ISO-8601, or 2h for two hours ago."
    ),
]
_Until = Annotated[
    float | None, typer.Option(parser=moment_s, metavar="TIME", help="Choose those written before then.")
]
_Partitions = Annotated[
    list[int] | None, typer.Option("--partition", help="Choose those of this partition; may be given several times.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Config = Annotated[Path, typer.Option(help="The Serve config that the settings come from.")]


@dlq.command("list")
def list_letters(
    reason: _Reasons = None,
    since: _Since = None,
    until: _Until = None,
    partition: _Partitions = None,
    limit: Annotated[int, typer.Option(min=0, max=100_000, help="How many of the newest to show.")] = 20,
    as_json: _Json = False,
    config: _Config = CONFIG_FILE,
) -> None:
    """Count dead letters by reason, and show the newest of them."""
    kafka = configured_settings(config).kafka
    counts, letters = newest(DeadLetters(kafka).chosen(_filter(reason, since, until, partition)), limit)
    if as_json:
        fields = {"total": counts.total(), "reasons": dict(counts.most_common()), "newest": [*map(_fields, letters)]}
        typer.echo(msgspec.json.encode(fields).decode())
        return
    typer.echo(f"{counts.total():,} dead letters in {kafka.topics.dlq} at {bootstrap_servers()}")
    _print_rows([[f"{count:,}", printable(name.encode())] for name, count in counts.most_common()], numbers=(0,))
    if letters:
        typer.echo(f"The newest {len(letters):,}:")
        _print_rows([["written", "source", "dlq", "reason", "key", "bytes", "detail"], *map(_row, letters)], (5,))


@dlq.command("show")
def show(
    place: Annotated[
        Source, typer.Argument(parser=_source, metavar="SOURCE", help="The telemetry record, as partition:offset.")
    ],
    in_dlq: Annotated[bool, typer.Option("--in-dlq", help="SOURCE is the place of the dead letter itself.")] = False,
    as_hex: Annotated[bool, typer.Option("--hex", help="Show the value as a hex dump.")] = False,
    most_bytes: Annotated[int, typer.Option(min=0, help="How many bytes of the value to show at most.")] = 4_096,
    as_json: _Json = False,
    config: _Config = CONFIG_FILE,
) -> None:
    """Show everything about one dead letter.

    What a terminal could act upon, and what is not UTF-8, is shown as escapes. A backslash is doubled, so that no two
    values look the same.
    """
    kafka = configured_settings(config).kafka
    letters = DeadLetters(kafka)
    found = letters.at(place) if in_dlq else list(letters.chosen(DeadLetterFilter(sources=frozenset({place}))))
    if not found:
        what = "at" if in_dlq else "of the telemetry record"
        raise FleetError(
            f"{kafka.topics.dlq} holds no dead letter {what} {place}: `fleet dlq list` shows what it holds."
        )
    if as_json:
        typer.echo(
            msgspec.json.encode([_fields(letter) | {"value": _value(letter.value)} for letter in found]).decode()
        )
        return
    for letter in found:
        _print_letter(letter, kafka.topics, as_hex=as_hex, most_bytes=most_bytes)


_Source = Annotated[
    list[Any] | None,
    typer.Option(
        "--source",
        parser=_source,
        metavar="SOURCE",
        help="Choose the one of this telemetry record; may be given several times.",
    ),
]
_EvenUntold = Annotated[
    bool,
    typer.Option(
        "--even-untold",
        help="Also send those that are older than the telemetry that Kafka still holds.",
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Send without asking.")]


@dlq.command("redrive")
def redrive(
    reason: _Reasons = None,
    since: _Since = None,
    until: _Until = None,
    partition: _Partitions = None,
    source: _Source = None,
    even_untold: _EvenUntold = False,
    dry_run: _DryRun = False,
    yes: _Yes = False,
    config: _Config = CONFIG_FILE,
) -> None:
    """Send dead letters to the telemetry topic again, each at most once.

    Without a choice, all of them are sent. A dead letter goes with its own key and bytes to the partition that it came
    from, where its vehicle's other events are. It is a new record there, behind what the vehicle has sent since.

    Its header `redriven` names its source. The telemetry is searched for that header first, and what was sent before is
    left out. So the same command may be given again, also after one that broke off. Dead letters older than the
    telemetry that Kafka still holds are left out, because nothing tells whether they were sent before.

    Exit status 1 when something could not be sent, or when another redrive has sent it at the same time.
    """
    settings = configured_settings(config).kafka
    topics = settings.topics
    wanted = _filter(reason, since, until, partition, source)
    plan = Redrive(settings, wanted, untold_too=even_untold, say=lambda line: typer.echo(line, err=True))
    counts = plan.plan()
    typer.echo("\n".join(_plan_lines(counts, topics)))
    if dry_run or not counts.to_send:
        return
    if not yes:
        typer.confirm(f"Send {counts.to_send.total():,} dead letters to {topics.telemetry} again?", abort=True)
    try:
        with StopFlag() as stop:
            plan.send(stop.is_set)
    finally:  # also where Kafka went away
        typer.echo("\n".join(_outcome_lines(counts, topics)))
    if counts.twice or counts.acknowledged < counts.to_send.total():
        raise typer.Exit(1)


def _filter(
    reasons: list[str] | None,
    since_s: float | None,
    until_s: float | None,
    partitions: list[int] | None,
    sources: list[Source] | None = None,
) -> DeadLetterFilter:
    return DeadLetterFilter(
        frozenset(reasons or ()), since_s, until_s, frozenset(partitions or ()), frozenset(sources or ())
    )


def _row(letter: DeadLetter) -> list[str]:
    return [
        as_text(letter.at_s),
        _source_text(letter) or "?",
        f"{letter.partition}:{letter.offset}",
        printable(letter.reason.encode()),
        _cut("null" if letter.key is None else printable(letter.key), KEY_CHARACTERS),
        "null" if letter.value is None else f"{len(letter.value):,}",
        _cut(printable(letter.detail.encode()), DETAIL_CHARACTERS),
    ]


def _fields(letter: DeadLetter) -> dict[str, Any]:
    return {
        "source": _source_text(letter),
        "dlq": f"{letter.partition}:{letter.offset}",
        "writtenAt": letter.at_s,
        "reason": letter.reason,
        "detail": letter.detail,
        "key": _value(letter.key),
        "bytes": None if letter.value is None else len(letter.value),
    }


def _value(value: bytes | None) -> dict[str, str] | None:
    """Carry bytes in JSON: as text where they are UTF-8, else in hex."""
    if value is None:
        return None
    try:
        return {"text": value.decode()}
    except UnicodeDecodeError:
        return {"hex": value.hex()}


def _source_text(letter: DeadLetter) -> str | None:
    return None if letter.source == NO_SOURCE else str(letter.source)


def _print_letter(letter: DeadLetter, topics: TopicNames, *, as_hex: bool, most_bytes: int) -> None:
    value = letter.value
    rows = [
        ["source", f"{_source_text(letter) or '?'}  in {topics.telemetry}"],
        ["dlq", f"{letter.partition}:{letter.offset}  in {topics.dlq}"],
        ["written", as_text(letter.at_s)],
        ["reason", printable(letter.reason.encode())],
        ["detail", printable(letter.detail.encode())],
        ["key", "null" if letter.key is None else printable(letter.key)],
        ["value", "null" if value is None else f"{len(value):,} bytes"],
    ]
    _print_rows(rows)
    if value:
        shown = value[:most_bytes]
        for line in hex_rows(shown) if as_hex else [printable(shown)]:
            typer.echo(line)
        if len(shown) < len(value):
            typer.echo(f"and {len(value) - len(shown):,} more bytes: --most-bytes shows more")


def _print_rows(rows: list[list[str]], numbers: tuple[int, ...] = ()) -> None:
    for line in in_columns(rows, numbers) if rows else []:
        typer.echo(line)


def _plan_lines(counts: RedriveCounts, topics: TopicNames) -> list[str]:
    rows = [
        (counts.chosen, f"dead letters chosen in {topics.dlq}"),
        (counts.already, "left: sent again before, or there twice"),
        (counts.untold, "left: so old that it cannot be told whether they were sent again before (--even-untold)"),
        (counts.omitted, "left: their value was too large for a dead letter, and stands at the source"),
        (counts.unsourced, f"left: they name no record of {topics.telemetry}"),
        (counts.to_send.total(), f"to send to {topics.telemetry} again{_reasons(counts.to_send)}"),
        (counts.came_back, "of these were sent again once, and came back"),
    ]
    return in_columns([[f"{count:,}", what] for count, what in rows if count or what == rows[0][1]], numbers=(0,))


def _reasons(counts: Counter[str]) -> str:
    named = ", ".join(f"{count:,} {printable(reason.encode())}" for reason, count in counts.most_common())
    return f": {named}" if named else ""


def _outcome_lines(counts: RedriveCounts, topics: TopicNames) -> list[str]:
    lines = [f"{counts.acknowledged:,} sent and acknowledged, {counts.failed:,} failed"]
    if counts.last_failure:
        lines[0] += f" (the last: {counts.last_failure})"
    if left := counts.to_send.total() - counts.acknowledged - counts.failed:
        lines.append(f"{left:,} not sent, or not acknowledged: the same redrive, given again, sends what is missing")
    if counts.twice:
        lines.append(f"{counts.twice:,} stand in {topics.telemetry} twice: another redrive ran at the same time")
    return lines


def printable(value: bytes) -> str:
    """Write bytes as text that a terminal only shows: what is no printable character, or no UTF-8, as escapes."""
    text = value.replace(b"\\", b"\\\\").decode(errors="backslashreplace")
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return _SHORT_ESCAPES.get(character) or "".join(f"\\x{byte:02x}" for byte in character.encode())


_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def hex_rows(value: bytes) -> list[str]:
    """Write bytes as rows of place, hex and ASCII."""
    rows = [(start, value[start : start + HEX_ROW_BYTES]) for start in range(0, len(value), HEX_ROW_BYTES)]
    return [
        f"{start:08x}  {row.hex(' '):<{3 * HEX_ROW_BYTES}} {''.join(chr(b) if 32 <= b < 127 else '.' for b in row)}"
        for start, row in rows
    ]


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[: characters - 1]}…"
