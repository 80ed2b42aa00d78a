"""`fleet loadtest`: drive Kafka at a chosen rate and measure what comes out of a running system."""

import secrets
from typing import Annotated

import typer

from commands.stopping import StopFlag
from fleet.settings import TopicNames
from loadtest.generator import Load
from loadtest.report import describe
from loadtest.run import run_load_test


def loadtest(
    rate: Annotated[float, typer.Option(min=1, max=10_000_000, help="Events per second over all vehicles.")] = 10_000,
    vehicles: Annotated[int, typer.Option(min=1, max=10_000_000, help="Different vehicles.")] = 10_000,
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400, help="How long to produce.")] = 30,
    websocket: Annotated[
        str | None, typer.Option(help="Also follow a live feed, say ws://localhost:8000/ws/telemetry?batch=true.")
    ] = None,
    drain_s: Annotated[float, typer.Option(min=0.1, max=600, help="Give up after so long without an arrival.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same vehicles.")] = 7,
    telemetry_topic: Annotated[str, typer.Option(help="Where to produce.")] = TopicNames().telemetry,
    scored_topic: Annotated[str, typer.Option(help="Where the verdicts come out.")] = TopicNames().scored,
) -> None:
    """Produce at an open-loop rate and report rates, latencies from production to arrival, losses and duplicates.

    Exit status 1 when an event was lost, doubled or reordered.
    """
    load = Load(secrets.token_hex(4), rate, vehicles, seconds, telemetry_topic, seed)
    with StopFlag() as stop:
        outcome = run_load_test(load, scored_topic, websocket, drain_s, stop, typer.echo)
    for line in describe(outcome):
        typer.echo(line)
    if not outcome.is_clean:
        raise typer.Exit(1)
