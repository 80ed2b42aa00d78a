"""`fleet bench`: how fast the parts and the whole are, beside a hand-written loop and beside other processors."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from commands.first_model import models_folder
from commands.machine import measured_on
from fleet.errors import SettingsError

BENCHMARKS = ("parts", "peers", "throughput", "latency", "requests", "vehicles")
LONGER = ("growth", "profiles", "soak")

_Which = Annotated[
    list[str] | None,
    typer.Argument(help=f"Which to run: {', '.join(BENCHMARKS)} (these run if none is named), {', '.join(LONGER)}."),
]
_Events = Annotated[int | None, typer.Option(min=1_000, help="How many events a lap on a full topic has.")]
_Repeats = Annotated[int | None, typer.Option(min=1, max=100, help="How many laps count; one more warms up.")]
_Short = Annotated[bool, typer.Option("--short", help="Run as little as shows that everything works.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Also write the results to this file.")]
_Picture = Annotated[
    Path | None, typer.Option("--picture", help="Also draw the results into this file (.svg or .png).")
]
_Models = Annotated[Path | None, typer.Option(help="Folder of model bundles; by default the configured one.")]


def bench(
    which: _Which = None,
    events: _Events = None,
    repeats: _Repeats = None,
    short: _Short = False,
    json_file: _Json = None,
    picture_file: _Picture = None,
    models: _Models = None,
) -> None:
    """Measure how fast the parts and the whole are, on a Kafka and a system of their own.

    Exit status 1 when the output of a benchmark is wrong.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: what runs is ended
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what a machine without a GPU is told reads like an error
    from benchmarks import picture, suite  # takes seconds to import: not for every command

    names = _known(which or BENCHMARKS)
    folder = models_folder(models)
    sizes = suite.SHORT if short else suite.Sizes()
    amount = replace(sizes.amount, events=events or sizes.amount.events, repeats=repeats or sizes.amount.repeats)
    results: dict[str, Any] = {"machine": measured_on()}
    try:
        for name, values in suite.run(names, folder, replace(sizes, amount=amount), typer.echo):
            results.setdefault(name, []).extend(values)
    finally:  # what was measured is kept, also where a later benchmark fails
        if json_file is not None:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    if picture_file is not None:
        picture.draw(results, picture_file)


def _known(which: Sequence[str]) -> list[str]:
    if unknown := [name for name in which if name not in (*BENCHMARKS, *LONGER)]:
        raise SettingsError(
            f"There is no benchmark {', '.join(unknown)}: choose from {', '.join((*BENCHMARKS, *LONGER))}."
        )
    return list(which)
