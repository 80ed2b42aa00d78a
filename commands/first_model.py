"""A model where there is none yet: what starts a whole system trains one, so that a fresh clone needs no other step.

Training runs in a process of its own, because TensorFlow's memory is not given back before a process ends.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from fleet.detection.model.bundle import CURRENT, ModelBundle, read_bundle
from fleet.errors import ModelBundleError, OutdatedBundleError, UnknownModelVersionError
from fleet.settings import PROJECT_FOLDER
from launch.serve_config import configured_settings


def models_folder(chosen: Path | None) -> Path:
    """Return the folder of bundles, the configured one where none was chosen, with a model in it."""
    folder = chosen or configured_settings().model.absolute_folder
    ensure_model(folder)
    return folder


def ensure_model(folder: Path, version: str = CURRENT, say: Callable[[str], None] = typer.echo) -> ModelBundle:
    """Return the bundle to serve; trained first where there is none, or only one of another version of this code.

    Raises ModelBundleError, also where a named version is not there: it is not trained.
    """
    try:
        return read_bundle(folder, version)
    except (UnknownModelVersionError, OutdatedBundleError):
        if version != CURRENT:
            raise
    why = "Only an older model" if (folder / CURRENT).exists() else "No model yet"
    say(f"{why}: training one (one to two minutes)")
    command = [sys.executable, "-m", "commands", "train", "--models", str(folder)]
    if subprocess.run(command, cwd=PROJECT_FOLDER, check=False).returncode:
        raise ModelBundleError("Training did not succeed: see the lines above.")
    return read_bundle(folder, version)
