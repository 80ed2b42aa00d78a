"""What a stretch of work costs: CPU seconds (user + system) and peak memory of groups of processes, by role.

A process counts with all that it has reaped: what was started and has ended in between stands in its parent's times.

Neighbours: `contestant` says which processes play which role, `race` reads before and after a lap.
"""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

import psutil

Roles: TypeAlias = Mapping[str, Iterable[psutil.Process]]
_MIB = 1024 * 1024


class Costs(NamedTuple):
    """What a stretch cost: CPU seconds and peak MiB, by role."""

    cpu_s: Mapping[str, float]
    peak_mib: Mapping[str, float]


def cpu_seconds(roles: Roles) -> dict[str, float]:
    """Return the CPU seconds that the processes of each role have used since they were started."""
    return {role: sum(map(_cpu_seconds_of, processes)) for role, processes in roles.items()}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what each role used in between."""
    return {role: seconds - before.get(role, 0.0) for role, seconds in after.items()}


def peak_mib(roles: Roles) -> dict[str, float]:
    """Return the largest resident memory that each role's processes have had so far, added up, in MiB.

    Pages that processes share count in each of them.
    """
    return {role: sum(map(_peak_mib_of, processes)) for role, processes in roles.items()}


def resident_mib(roles: Roles) -> dict[str, float]:
    """Return the resident memory that each role's processes have now, added up, in MiB."""
    return {role: sum(map(_resident_mib_of, processes)) for role, processes in roles.items()}


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and everything below it; empty when it has gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _cpu_seconds_of(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:4]))  # own user and system, then the reaped children's
    return 0.0


def _peak_mib_of(process: psutil.Process) -> float:
    """Return the high-water mark that Linux keeps; elsewhere what is resident now."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) / 1024
    return _resident_mib_of(process)


def _resident_mib_of(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return float(process.memory_info().rss) / _MIB
    return 0.0
