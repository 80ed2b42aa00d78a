"""`fleet model`: which model bundles there are, which one serves, and going back to an earlier one."""

from pathlib import Path
from typing import Annotated

import typer

from commands.train import absolute, say
from fleet.detection.model.bundle import current_version, read_bundle, set_current_version, versions
from fleet.errors import FleetError, ModelBundleError, UnknownModelVersionError

Models = Annotated[Path, typer.Option(help="Folder of model bundles. A relative path starts at the project's folder.")]

model = typer.Typer(
    help="Look at model bundles, and choose which one serves. A running system follows within seconds.",
    no_args_is_help=True,
)


@model.command("list")
def list_bundles(models: Models = Path("models")) -> None:
    """List the bundles, newest first; mark the current one, and say what is wrong with damaged ones."""
    folder = absolute(models)
    current = current_version(folder)
    for version in versions(folder):
        mark = "*" if version == current else " "
        try:
            bundle = read_bundle(folder, version)
        except FleetError as error:
            say(f"{mark} {version}  cannot serve: {error}")
            continue
        rate = bundle.metrics.get("false_alarm_rate", float("nan"))
        say(
            f"{mark} {version}  trained {bundle.trained_at}, {bundle.plan.spec.name}, {len(bundle.features)} features,"
            f" threshold {bundle.threshold:.2f} for a false alarm rate of {rate:g}"
        )


@model.command("use")
def use(
    version: Annotated[str, typer.Argument(help="A version, as `fleet model list` names it.")],
    models: Models = Path("models"),
) -> None:
    """Verify a bundle, and let it serve."""
    folder = absolute(models)
    _switch(folder, read_bundle(folder, version).version)


@model.command("rollback")
def rollback(models: Models = Path("models")) -> None:
    """Let the bundle serve that was trained before the current one; damaged ones are passed over."""
    folder = absolute(models)
    current = current_version(folder)
    for version in versions(folder):
        if version < current and _can_serve(folder, version):
            _switch(folder, version)
            return
    raise UnknownModelVersionError(f"There is no bundle in {folder} that is older than {current} and can serve.")


def _can_serve(folder: Path, version: str) -> bool:
    try:
        read_bundle(folder, version)
    except ModelBundleError as error:
        say(f"{version} is passed over: {error}")
        return False
    return True


def _switch(folder: Path, version: str) -> None:
    before = current_version(folder)
    set_current_version(folder, version)
    say(f"{version} serves from now on; before it was {before}.")
