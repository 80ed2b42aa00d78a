"""`fleet replay`: a recorded data set streams through the live system as vehicles."""

import math
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.stopping import StopFlag
from fleet.errors import MappingError
from fleet.kafka import bootstrap_servers
from fleet.settings import TopicNames
from simulator.replay import Recording, ReplayPlan, read_recording
from simulator.replay import replay as send
from simulator.replay_mapping import RecordingMapping, read_mapping
from simulator.sender import ProgressReport, Sender, sentence


class Start(StrEnum):
    """Which event times a replay has."""

    NOW = "now"
    RECORDED = "recorded"


def replay(
    file: Annotated[Path, typer.Argument(help="The recording: CSV, plain or .gz.")],
    mapping: Annotated[str, typer.Option(help="Name of a mapping (kit_obd, nds_blackbox) or a .toml file.")],
    speed_up: Annotated[str, typer.Option(help="Pace relative to the recording's own, or max.")] = "1",
    start: Annotated[Start, typer.Option(help="Event times begin now, or are the recorded ones.")] = Start.NOW,
    limit_vehicles: Annotated[int | None, typer.Option(min=1, help="Only the first so many vehicles.")] = None,
    in_sequence: Annotated[bool, typer.Option("--in-sequence", help="One recording after the other.")] = False,
    label: Annotated[str, typer.Option(help="Ending of the vehicles' ids, so that a second replay has its own.")] = "",
    topic: Annotated[str, typer.Option(help="The topic to publish to.")] = TopicNames().telemetry,
) -> None:
    """Stream a recording to Kafka as vehicles.

    Event times keep the spacing of the recording whatever the pace. A recording that was replayed faster than its own
    pace has event times ahead of the clock: replay it again under another --label, or its events count as late.
    """
    pace = _speed_up(speed_up)
    recording_mapping = read_mapping(mapping)
    begins_s = _start_s(start, recording_mapping)
    recording = read_recording(file, recording_mapping, limit_vehicles, label, typer.echo)
    typer.echo(
        f"{len(recording):,} events of {len(recording.vehicle_ids)} vehicles "
        f"to {topic} of Kafka at {bootstrap_servers()}"
    )
    report = ProgressReport(typer.echo, bootstrap_servers())
    with StopFlag() as stop:
        with Sender(topic, "replay", stop, lambda sender: report.update(sender.progress())) as sender:
            send(recording, ReplayPlan(pace, begins_s, in_sequence), sender, stop)
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


def _start_s(start: Start, mapping: RecordingMapping) -> float | None:
    if start is Start.NOW:
        return time.time()
    if mapping.time.kind != "unix_s":
        raise MappingError(
            "--start recorded needs recorded Unix times, but this mapping's are relative: use --start now."
        )
    return None


def _counts(recording: Recording) -> str:
    parts = [f"Read: {recording.rows_read:,} rows, {len(recording):,} events"]
    parts += [f"{count:,} rows skipped ({reason})" for reason, count in recording.skipped.most_common()]
    parts += [f"{count:,} cells of {column} left out" for column, count in recording.left_out.most_common()]
    return ", ".join(parts)
