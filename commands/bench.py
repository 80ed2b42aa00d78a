"""`fleet bench`: how fast the parts and the whole are, beside a hand-written loop and beside other processors."""

import contextlib
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from commands.serve_config import configured_settings
from fleet.errors import SettingsError
from fleet.model_bundle import read_bundle
from simulator.local_kafka import LocalKafka

BENCHMARKS = ("throughput",)

_Which = Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(BENCHMARKS)}; all where none is named.")]
_Events = Annotated[int, typer.Option(min=1_000, help="Of a lap of the floor and of the system.")]
_Repeats = Annotated[int, typer.Option(min=1, max=100, help="Laps that count; one more warms up.")]
_Ingest = Annotated[int, typer.Option(min=1, max=6, help="Ingest replicas of the system.")]
_Scorers = Annotated[int, typer.Option(min=1, max=6, help="Scorer replicas of the system.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the results to this file, too.")]
_Models = Annotated[Path | None, typer.Option(help="Folder of model bundles, if not the configured one.")]


def bench(
    which: _Which = None,
    events: _Events = 200_000,
    repeats: _Repeats = 5,
    ingest: _Ingest = 1,
    scorers: _Scorers = 1,
    json_file: _Json = None,
    models: _Models = None,
) -> None:
    """Run benchmarks on a Kafka and a system of their own; exit status 1 when one's own output is wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: what runs is ended
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what a machine without a GPU is told reads like an error
    from benchmarks import report, throughput  # not for every command
    from benchmarks.running_system import Shape

    _require(which or BENCHMARKS)
    folder = models or configured_settings().model.absolute_folder
    read_bundle(folder)  # its error says what to do
    results: dict[str, Any] = {"machine": _machine()}
    plan = throughput.Plan(folder, events, repeats, shape=Shape(ingest=ingest, scorers=scorers))
    with _own_kafka() as kafka:
        standings = throughput.run(plan, kafka.pid or 0, typer.echo)
    typer.echo("\n".join(report.throughput_table(standings)))
    results["throughput"] = report.throughput_values(standings)
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))


@contextlib.contextmanager
def _own_kafka() -> Iterator[LocalKafka]:
    """Run a Kafka whose data goes with it; this process and its children find it by the environment."""
    with tempfile.TemporaryDirectory(prefix="fleet-bench-") as folder, LocalKafka(Path(folder)) as kafka:
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = kafka.bootstrap_servers
        yield kafka


def _require(which: Sequence[str]) -> None:
    if unknown := [name for name in which if name not in BENCHMARKS]:
        raise SettingsError(f"There is no benchmark {', '.join(unknown)}: choose from {', '.join(BENCHMARKS)}.")


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
