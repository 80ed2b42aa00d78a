"""`fleet chaos-demo`: two minutes of random kills under load, with the page to watch and the books at the end."""

import secrets
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from commands import audit
from commands.first_model import models_folder


def chaos_demo(
    seconds: Annotated[float, typer.Option(min=1, max=3_600, help="How many seconds to strike.")] = 120.0,
    rate: Annotated[float, typer.Option(min=100, max=100_000, help="Events per second.")] = 2_000.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed strikes in the same way; without it, by chance.")
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Folder of model bundles; by default the configured one.")] = None,
) -> None:
    """Start a system of its own, kill its parts by chance under load, and prove that nothing was lost.

    Exit status 1 when an event was lost, doubled or reordered, or when the books do not balance.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: what runs is ended
    from faults.chaos import chaos  # takes seconds to import: not for every command
    from faults.report import table
    from faults.system import System
    from faults.trial import run_case

    seed = secrets.randbelow(1_000_000) if seed is None else seed
    folder = models_folder(models)
    typer.echo(f"Starting Kafka and the application (seed {seed})")
    with System(typer.echo, models=folder) as system:
        typer.echo(f"\n  page  {system.url}\n")
        result = run_case(chaos(seconds), system, seed, rate, typer.echo)
        typer.echo("\n" + "\n".join(table([result])) + "\n\nfleet audit:")
        audit.audit()
    if result.failures:
        raise typer.Exit(1)
