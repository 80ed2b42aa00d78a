"""`fleet replay`: a recorded data set streams through the live system as vehicles."""

import math
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.stopping import StopFlag
from fleet.errors import MappingError, RecordingError
from fleet.kafka import bootstrap_servers
from fleet.settings import TopicNames
from simulator.replay.mapping import read_mapping
from simulator.replay.recording import Recording, read_recording
from simulator.replay.sending import ReplayPlan, first_events, start_without_future_s
from simulator.replay.sending import replay as send
from simulator.sender import ProgressReport, Sender, sentence


class Start(StrEnum):
    """Which event times a replay has."""

    NOW = "now"
    RECORDED = "recorded"


_TELEMETRY = TopicNames().telemetry
_EVENTS_SHOWN = 5

_File = Annotated[Path, typer.Argument(help="The recording: a CSV file of any dialect, plain or gzipped.")]
_Mapping = Annotated[
    str | None,
    typer.Option(
        show_default="by the columns' names",
        help="How its columns are read: a mapping's name (kit_obd, nds_blackbox) or a .toml file.",
    ),
]
_SpeedUp = Annotated[str, typer.Option(help="How many times faster than it was recorded, or max.")]
_Start = Annotated[Start, typer.Option(help="Whether event times begin now, or are those recorded.")]
_LimitVehicles = Annotated[int | None, typer.Option(min=1, help="Send only the first so many vehicles.")]
_InSequence = Annotated[bool, typer.Option("--in-sequence", help="Send one vehicle after the other, not all at once.")]
_Label = Annotated[
    str, typer.Option(help="Ending of the vehicles' ids, so that a second replay has vehicles of its own.")
]
_DayFirst = Annotated[
    bool | None, typer.Option("--day-first/--month-first", help="Whether 01/11/2026 is in November or in January.")
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how the file is read, show the first events, and send nothing.")
]
_Topic = Annotated[str, typer.Option(help="The topic to publish to.")]


def replay(
    file: _File,
    mapping: _Mapping = None,
    speed_up: _SpeedUp = "1",
    start: _Start = Start.NOW,
    limit_vehicles: _LimitVehicles = None,
    in_sequence: _InSequence = False,
    label: _Label = "",
    day_first: _DayFirst = None,
    dry_run: _DryRun = False,
    topic: _Topic = _TELEMETRY,
) -> None:
    """Stream a recording to Kafka as vehicles, with the fields of the mapping's channel specification.

    Event times keep the spacing of the recording, whatever the pace. No event comes before its time: a faster replay
    begins in the past and ends now. Give a second replay of a recording another --label, or its events count as late.
    Exit status 1 where no row gives an event, or Kafka did not acknowledge all.
    """
    plan = ReplayPlan(_speed_up(speed_up), None, in_sequence)
    columns = read_mapping(mapping) if mapping else None
    recording = read_recording(file, columns, limit_vehicles, label, typer.echo, day_first)
    typer.echo(f"{file.name}: {recording.description}")
    _check_start(start, recording)
    if dry_run:
        _show(recording, _started(plan, start, recording))
    elif not _sent(recording, plan, start, topic):
        raise typer.Exit(1)


def _show(recording: Recording, plan: ReplayPlan) -> None:
    typer.echo(_counts(recording))
    for event in first_events(recording, plan, _EVENTS_SHOWN):
        typer.echo(event.decode())
    shown = min(_EVENTS_SHOWN, len(recording))
    typer.echo(f"Nothing was sent: these are the first {shown} of {len(recording):,} events.")


def _sent(recording: Recording, plan: ReplayPlan, start: Start, topic: str) -> bool:
    """Send a recording; returns whether Kafka acknowledged all of it, or somebody asked to stop."""
    kafka = bootstrap_servers()
    typer.echo(f"{len(recording):,} events of {len(recording.vehicle_ids)} vehicles to {topic} of Kafka at {kafka}")
    report = ProgressReport(typer.echo, kafka)
    with StopFlag() as stop:
        with Sender(topic, "replay", stop, lambda sender: report.update(sender.progress())) as sender:
            send(recording, _started(plan, start, recording), sender, stop)
        final = sender.progress()
    typer.echo(_counts(recording))
    typer.echo(f"Sent: {sentence(final)}")
    return final.acknowledged >= len(recording) or stop.is_set()


def _started(plan: ReplayPlan, start: Start, recording: Recording) -> ReplayPlan:
    if start is Start.RECORDED:
        return plan
    return replace(plan, start_s=start_without_future_s(recording, plan, time.time()))


def _speed_up(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        pace = float(text)
    except ValueError:
        pace = math.nan
    if not 0 < pace < math.inf:
        raise MappingError(f"--speed-up is {text!r}: give a number above 0, or max.")
    return pace


def _check_start(start: Start, recording: Recording) -> None:
    if start is Start.RECORDED and not recording.is_unix:
        raise RecordingError(
            "--start recorded needs times since 1970, but those of this recording are relative: use --start now."
        )


def _counts(recording: Recording) -> str:
    parts = [f"Read: {recording.rows_read:,} rows, {len(recording):,} events"]
    parts += [f"{count:,} rows skipped ({reason})" for reason, count in recording.skipped.most_common()]
    parts += [f"{count:,} cells of {column} left out" for column, count in recording.left_out.most_common()]
    return ", ".join(parts)
