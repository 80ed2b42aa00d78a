"""Memory: which growth is called growth, and that the largest process of a role counts."""

import os
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from faults.memory import GROWTH_MIB, GROWTH_SHARE, INTERVAL_S, MIB, MemoryWatch, grown

BEFORE_MIB = 400.0
BOUND_MIB = BEFORE_MIB * (1 + GROWTH_SHARE) + GROWTH_MIB


@pytest.mark.parametrize("after_mib", [0.0, 399.0, 400.0, BOUND_MIB])
def test_a_level_within_the_bound_has_come_back(after_mib: float) -> None:
    assert grown({"Ingest": BEFORE_MIB}, {"Ingest": after_mib}) == []


def test_a_level_above_the_bound_is_named_with_both() -> None:
    assert grown({"Ingest": BEFORE_MIB}, {"Ingest": BOUND_MIB + 1}) == ["Ingest holds 565 MiB, 400 before"]


def test_a_small_process_may_grow_by_so_much_and_no_more() -> None:
    assert grown({"Gateway": 10.0}, {"Gateway": 10.0 * (1 + GROWTH_SHARE) + GROWTH_MIB}) == []
    assert len(grown({"Gateway": 10.0}, {"Gateway": 10.0 * (1 + GROWTH_SHARE) + GROWTH_MIB + 0.1})) == 1


def test_each_role_is_compared_with_itself() -> None:
    before = {"Ingest": 900.0, "Scorer": 100.0}
    assert grown(before, {"Ingest": 900.0, "Scorer": 900.0}) == ["Scorer holds 900 MiB, 100 before"]


def test_a_role_that_was_not_there_before_has_no_level_to_come_back_to() -> None:
    assert grown({}, {"Scorer": 9_000.0}) == []
    assert grown({"Scorer": 9_000.0}, {}) == []


class Process:
    """As much of a process as is looked at; `rss_mib` None: it has gone."""

    def __init__(self, *levels_mib: float | None) -> None:
        self._levels_mib = list(levels_mib)
        self.looks = 0

    def memory_info(self) -> Any:
        self.looks += 1
        level = self._levels_mib.pop(0) if len(self._levels_mib) > 1 else self._levels_mib[0]
        if level is None:
            raise psutil.NoSuchProcess(1)
        return SimpleNamespace(rss=level * MIB)


class Watched:
    def __init__(self, **processes: list[Any]) -> None:
        self._processes = processes

    def processes_by_role(self) -> dict[str, list[Any]]:
        return self._processes


def test_the_largest_process_of_a_role_counts_and_one_that_has_gone_holds_nothing() -> None:
    system: Any = Watched(Ingest=[Process(30.0), Process(70.0), Process(None)], Scorer=[Process(None)])
    assert MemoryWatch(system).levels_mib() == {"Ingest": 70.0, "Scorer": 0.0}


def test_levels_are_the_resident_memory_of_real_processes() -> None:
    system: Any = Watched(Gateway=[psutil.Process(os.getpid())])
    level_mib = MemoryWatch(system).levels_mib()["Gateway"]
    assert level_mib == pytest.approx(psutil.Process().memory_info().rss / MIB, rel=0.2)


def test_the_peak_of_each_role_is_kept_after_it_has_fallen() -> None:
    process = Process(10.0, 50.0, 20.0)
    system: Any = Watched(Ingest=[process], Scorer=[Process(5.0)])
    with MemoryWatch(system) as watch:
        deadline_s = time.monotonic() + 60 * INTERVAL_S
        while process.looks < 4 and time.monotonic() < deadline_s:
            time.sleep(0.02)
    assert watch.peak_mib == {"Ingest": 50.0, "Scorer": 5.0}
