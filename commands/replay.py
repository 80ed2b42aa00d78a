"""`fleet replay`: a recorded data set streams through the live system as vehicles."""

import math
import time
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.stopping import StopFlag
from fleet.errors import MappingError
from fleet.kafka import bootstrap_servers
from fleet.settings import TopicNames
from simulator.replay import Recording, ReplayPlan, read_recording, start_without_future_s
from simulator.replay import replay as send
from simulator.replay_mapping import RecordingMapping, read_mapping
from simulator.sender import ProgressReport, Sender, sentence


class Start(StrEnum):
    """Which event times a replay has."""

    NOW = "now"
    RECORDED = "recorded"


_TELEMETRY = TopicNames().telemetry

_File = Annotated[Path, typer.Argument(help="The recording: a CSV file, plain or .gz.")]
_Mapping = Annotated[
    str, typer.Option(help="How its columns are read: a mapping's name (kit_obd, nds_blackbox) or a .toml file.")
]
_SpeedUp = Annotated[str, typer.Option(help="How many times faster than it was recorded, or max.")]
_Start = Annotated[Start, typer.Option(help="Whether event times begin now, or are those recorded.")]
_LimitVehicles = Annotated[int | None, typer.Option(min=1, help="Send only the first so many vehicles.")]
_InSequence = Annotated[bool, typer.Option("--in-sequence", help="Send one vehicle after the other, not all at once.")]
_Label = Annotated[
    str, typer.Option(help="Ending of the vehicles' ids, so that a second replay has vehicles of its own.")
]
_Topic = Annotated[str, typer.Option(help="The topic to publish to.")]


def replay(
    file: _File,
    mapping: _Mapping,
    speed_up: _SpeedUp = "1",
    start: _Start = Start.NOW,
    limit_vehicles: _LimitVehicles = None,
    in_sequence: _InSequence = False,
    label: _Label = "",
    topic: _Topic = _TELEMETRY,
) -> None:
    """Stream a recording to Kafka as vehicles, with the fields of the mapping's channel specification.

    Event times keep the spacing of the recording, whatever the pace. No event comes before its time: a faster replay
    begins in the past and ends now. Give a second replay of a recording another --label, or its events count as late.
    """
    pace = _speed_up(speed_up)
    recording_mapping = read_mapping(mapping)
    _check_start(start, recording_mapping)
    recording = read_recording(file, recording_mapping, limit_vehicles, label, typer.echo)
    typer.echo(
        f"{len(recording):,} events of {len(recording.vehicle_ids)} vehicles "
        f"to {topic} of Kafka at {bootstrap_servers()}"
    )
    report = ProgressReport(typer.echo, bootstrap_servers())
    with StopFlag() as stop:
        with Sender(topic, "replay", stop, lambda sender: report.update(sender.progress())) as sender:
            plan = ReplayPlan(pace, None, in_sequence)
            if start is Start.NOW:
                plan = replace(plan, start_s=start_without_future_s(recording, plan, time.time()))
            send(recording, plan, sender, stop)
        final = sender.progress()
    typer.echo(_counts(recording))
    typer.echo(f"Sent: {sentence(final)}")
    if final.acknowledged < len(recording) and not stop.is_set():
        raise typer.Exit(1)


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


def _check_start(start: Start, mapping: RecordingMapping) -> None:
    if start is Start.RECORDED and mapping.time.kind != "unix_s":
        raise MappingError(
            "--start recorded needs recorded Unix times, but this mapping's are relative: use --start now."
        )


def _counts(recording: Recording) -> str:
    parts = [f"Read: {recording.rows_read:,} rows, {len(recording):,} events"]
    parts += [f"{count:,} rows skipped ({reason})" for reason, count in recording.skipped.most_common()]
    parts += [f"{count:,} cells of {column} left out" for column, count in recording.left_out.most_common()]
    return ", ".join(parts)
