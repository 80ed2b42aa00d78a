"""`fleet kafka`: a local Apache Kafka in the foreground, until Ctrl-C."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from commands.stopping import StopFlag
from fleet.errors import LocalServiceError
from simulator.local_kafka import DEFAULT_PORT, LocalKafka, default_home

CHECK_INTERVAL_S = 0.5


def kafka(
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1 to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    folder: Annotated[
        Path | None,
        typer.Option(show_default=".fleet/kafka/broker", help="Folder of Kafka's data, which is kept between starts."),
    ] = None,
) -> None:
    """Run a real Apache Kafka on this machine, as a single node, until Ctrl-C."""
    folder = folder or default_home() / "broker"
    with LocalKafka(folder, port or None, say=typer.echo) as local, StopFlag() as stop:
        typer.echo(f"Kafka is ready at {local.bootstrap_servers} after {local.start_seconds:.1f} s; data in {folder}")
        typer.echo("Ctrl-C stops it.")
        while not stop.wait(CHECK_INTERVAL_S):
            if (status := local.wait(0)) is not None:
                raise LocalServiceError(
                    f"Kafka ended by itself ({_how(status)}); the end of {local.log_file} says why:\n"
                    f"{local.last_log_lines()}"
                )
        typer.echo("Stopping Kafka")


def _how(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
