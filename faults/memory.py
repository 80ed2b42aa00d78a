"""What the system's processes hold of memory, sampled all the time: the largest of each role.

Neighbours: `system` knows the processes, `trial` compares the level before a fault with the one after it.
"""

from collections.abc import Mapping
from typing import Self

import psutil

from faults.system import System
from loadtest.sampling import Sampler

INTERVAL_S = 0.5
MIB = 1024 * 1024
# The level is back when no more than this is added: allocators keep what they had, and Python's are no exception.
GROWTH_SHARE = 0.25
GROWTH_MIB = 64.0

Levels = Mapping[str, float]


def grown(before: Levels, after: Levels) -> list[str]:
    """Name the roles whose level has not come back: MiB of resident memory by role."""
    return [
        f"{role} holds {level:.0f} MiB, {before[role]:.0f} before"
        for role, level in after.items()
        if role in before and level > before[role] * (1 + GROWTH_SHARE) + GROWTH_MIB
    ]


class MemoryWatch:
    """Samples until the context is left."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.peak_mib: dict[str, float] = {}
        self._sampler = Sampler(self._sample, INTERVAL_S, "faults-memory")

    def __enter__(self) -> Self:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sampler.stop()

    def levels_mib(self) -> dict[str, float]:
        """Return the resident memory of the largest process of each role, now."""
        found = self._system.processes_by_role()
        return {role: max(map(_resident_mib, processes)) for role, processes in found.items()}

    def _sample(self) -> None:
        for role, level in self.levels_mib().items():
            self.peak_mib[role] = max(level, self.peak_mib.get(role, 0.0))


def _resident_mib(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss / MIB)
    except psutil.NoSuchProcess:
        return 0.0
