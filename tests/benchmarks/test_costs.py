"""Costs: CPU seconds and memory of real processes, by role, with what they started and reaped."""

import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from benchmarks.costs import Roles, cpu_seconds, peak_mib, resident_mib, spent, tree

WORK = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
WAIT = "print(flush=True); input()"
BUSY = WORK + WAIT
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {WORK!r}])\n{WAIT}"
LARGE = "held = bytearray(80 * 1024 * 1024)\ndel held\nprint(flush=True); input()"


class Program:
    """A Python program that prints a line when it has done its work, and then waits."""

    def __init__(self, text: str) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> psutil.Process:
        assert self._process.stdout is not None
        assert self._process.stdout.readline()
        return psutil.Process(self._process.pid)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def gone() -> psutil.Process:
    with Program(WAIT) as process:
        return process


def test_cpu_seconds_of_a_role_are_those_of_all_its_processes() -> None:
    with Program(BUSY) as one, Program(BUSY) as other:
        seconds = cpu_seconds({"one": [one], "both": [one, other], "none": []})
    assert seconds["one"] >= 0.3
    assert seconds["both"] >= seconds["one"] + 0.3
    assert seconds["none"] == 0.0


def test_what_a_process_has_reaped_stands_in_its_own_seconds() -> None:
    with Program(PARENT) as parent:
        assert parent.children() == []
        assert cpu_seconds({"parent": [parent]})["parent"] >= 0.3


def test_a_process_that_has_gone_costs_nothing_more() -> None:
    dead: Roles = {"dead": [gone()]}
    assert cpu_seconds(dead) == {"dead": 0.0}
    assert peak_mib(dead) == resident_mib(dead) == {"dead": 0.0}


def test_spent_is_the_difference_and_a_new_role_counts_from_zero() -> None:
    assert spent({"ingest": 1.0, "old": 5.0}, {"ingest": 3.5, "scorer": 2.0}) == {"ingest": 2.5, "scorer": 2.0}


def test_a_peak_stays_after_the_memory_was_given_back() -> None:
    with Program(LARGE) as process:
        role: Roles = {"large": [process]}
        assert peak_mib(role)["large"] > resident_mib(role)["large"] + 50


def test_memory_of_a_role_is_added_up() -> None:
    own = psutil.Process()
    assert resident_mib({"twice": [own, own]})["twice"] == pytest.approx(2 * own.memory_info().rss / 2**20, rel=0.2)


def test_where_the_kernel_keeps_no_peak_what_is_resident_counts() -> None:
    class Elsewhere:
        pid = 2**30

        def memory_info(self) -> Any:
            return psutil.Process().memory_info()

    process: Any = Elsewhere()
    assert peak_mib({"one": [process]})["one"] == pytest.approx(resident_mib({"one": [process]})["one"], rel=0.2)


def test_a_tree_holds_a_process_and_everything_below_it_and_nothing_when_it_has_gone() -> None:
    below = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'input()'])\nprint(flush=True); input()"
    with Program(below) as process:
        deadline_s = time.monotonic() + 20
        while len(tree(process.pid)) < 2:
            assert time.monotonic() < deadline_s
        assert [found.pid for found in tree(process.pid)] == [process.pid, *(c.pid for c in process.children())]
    assert tree(process.pid) == []
