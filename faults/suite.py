"""Runs cases, those of the same kind of system one after the other on one that is started once.

Neighbours: `commands/faults.py` is the command line, `cases` the faults, `trial` one of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

from faults.cases import CASES
from faults.system import Say, System
from faults.trial import Case, Result, run_case


def run_cases(
    numbers: Sequence[int], seed: int, rate: float, say: Say, models: Path, *, brief: bool = False
) -> Iterator[Result]:
    """Run cases by number; yields each result. After a failed one the system is started anew."""
    chosen = sorted((CASES[number] for number in numbers), key=lambda case: case.workers)
    for workers, cases in groupby(chosen, key=lambda case: case.workers):
        yield from _run_on_systems_alike(list(cases), workers, seed, rate, say, models, brief)


def _run_on_systems_alike(
    cases: Sequence[Case], workers: int, seed: int, rate: float, say: Say, models: Path, brief: bool
) -> Iterator[Result]:
    with ExitStack() as running:
        system: System | None = None
        for case in cases:
            if system is None:
                system = running.enter_context(System(say, models, workers))
            result = run_case(case, system, seed, rate, say, brief=brief)
            if not result.met_targets:
                say(f"    logs will be kept in {system.keep_logs(f'case-{case.number}-seed-{seed}')}")
                if result.failures:  # a late one has come back
                    running.close()
                    system = None
            yield result
