"""Ray's variables, read from `ray.env`: the one place where they and their reasons stand."""

import os
from pathlib import Path

RAY_ENV = Path(__file__).with_name("ray.env")


def ray_variables(file: Path = RAY_ENV) -> dict[str, str]:
    """Return the variables of a dotenv file: lines of `NAME=value`, comments and empty lines."""
    lines = (line.strip() for line in file.read_text().splitlines())
    named = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in named}


def ray_environment() -> dict[str, str]:
    """Return this process's environment with Ray's variables; one that is set already stays as it is."""
    return {**ray_variables(), **os.environ}
