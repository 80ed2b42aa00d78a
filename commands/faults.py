"""`fleet faults`: kill, stop, cut and poison a real system under load, and check that its books balance."""

import secrets
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from commands.first_model import models_folder
from commands.machine import measured_on
from fleet.errors import SettingsError

_Cases = Annotated[str, typer.Option(help="Numbers of the cases to run, as 1,2,8; without it, all.")]
_Seed = Annotated[int | None, typer.Option(min=0, help="The same seed strikes in the same way; without it, by chance.")]
_Rate = Annotated[float, typer.Option(min=100, max=100_000, help="Events per second during each case.")]
_Models = Annotated[Path | None, typer.Option(help="Folder of model bundles; by default the configured one.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")]


def faults(
    cases: _Cases = "", seed: _Seed = None, rate: _Rate = 2_000.0, models: _Models = None, json_file: _Json = None
) -> None:
    """Kill, stop, cut and poison systems of its own under load, and check that their books balance.

    Exit status 1 when a target was missed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: what runs is ended
    from faults.report import as_json, table  # the suite takes seconds to import: not for every command
    from faults.suite import run_cases

    numbers = _numbers(cases)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    typer.echo(f"Seed {seed}, {rate:,.0f} events/s, cases {', '.join(map(str, numbers))}")
    folder = models_folder(models)
    results = []
    try:
        for result in run_cases(numbers, seed, rate, typer.echo, folder):
            results += [result]
    finally:
        typer.echo("\n" + "\n".join(table(results)) + f"\nSeed {seed}")
        if json_file is not None:
            found = {"machine": measured_on(), "seed": seed, "rate": rate, "cases": msgspec.Raw(as_json(results))}
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if not all(result.met_targets for result in results):
        raise typer.Exit(1)


def _numbers(text: str) -> list[int]:
    from faults.cases import CASES

    wanted = [part.strip() for part in text.split(",") if part.strip()] or [str(number) for number in sorted(CASES)]
    if unknown := [part for part in wanted if not (part.isdigit() and int(part) in CASES)]:
        raise SettingsError(f"There is no case {', '.join(unknown)}: choose from {', '.join(map(str, sorted(CASES)))}.")
    return [int(part) for part in wanted]
