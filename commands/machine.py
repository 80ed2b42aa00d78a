"""What results were measured on: it stands beside them in their JSON files, and on the page made from those."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from typing import Any

import psutil

from fleet.settings import PROJECT_FOLDER
from simulator.kafka_distribution import kafka_version, read_jar_list

GIT_TIMEOUT_S = 10.0


def measured_on() -> dict[str, Any]:
    """Return the machine, the versions of what runs on it, the date and the commit."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "kafka": kafka_version(read_jar_list()),
        "ray": version("ray"),
        "tensorflow": version("tensorflow"),
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """Name the commit that the project's folder holds, with `-dirty` where files differ from it; None without git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        said = subprocess.run(
            command, cwd=PROJECT_FOLDER, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None
