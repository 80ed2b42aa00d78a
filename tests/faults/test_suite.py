"""The order of cases, and after which of them the system is started anew."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from faults import suite
from faults.cases import CASES, SHORT
from faults.cases.register import OF_A_NODE_S, OF_A_PROCESS_S, OF_KAFKA_S
from faults.trial import Case
from tests.faults.test_report import MET


class Stage:
    """Stands in the place of systems and cases: notes what is started, run and ended."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failing: set[int] = set()
        self.late: set[int] = set()

    def system(self, _say: object, _models: Path, workers: int) -> "StagedSystem":
        return StagedSystem(self, workers)

    def run_case(self, case: Case, _system: object, *_: object, **__: object) -> Any:
        self.events.append(f"case {case.number}")
        failures = ["wrong"] * (case.number in self.failing)
        return replace(
            MET, number=case.number, failures=failures, normal_after_s=None if case.number in self.late else 1
        )


class StagedSystem:
    def __init__(self, stage: Stage, workers: int) -> None:
        self._stage, self._workers = stage, workers

    def __enter__(self) -> Self:
        self._stage.events.append(f"start with {self._workers}")
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.events.append("end")

    def keep_logs(self, name: str) -> str:
        self._stage.events.append(f"keep {name}")
        return name


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(suite, "System", stage.system)
    monkeypatch.setattr(suite, "run_case", stage.run_case)
    return stage


def run(*numbers: int) -> list[bool]:
    return [result.met_targets for result in suite.run_cases(numbers, 7, 100.0, lambda _: None, Path())]


def test_cases_of_a_kind_share_one_system(stage: Stage) -> None:
    assert run(5, 1, 23, 2) == [True] * 4
    assert stage.events == ["start with 0", "case 1", "case 2", "end", "start with 2", "case 5", "case 23", "end"]


def test_after_a_failed_case_the_system_is_started_anew_and_its_logs_are_kept(stage: Stage) -> None:
    stage.failing = {1}
    assert run(1, 2) == [False, True]
    assert stage.events == ["start with 0", "case 1", "keep case-1-seed-7", "end", "start with 0", "case 2", "end"]


def test_after_a_late_case_the_logs_are_kept_and_the_system_goes_on(stage: Stage) -> None:
    stage.late = {1}
    assert run(1, 2) == [False, True]
    assert stage.events == ["start with 0", "case 1", "keep case-1-seed-7", "case 2", "end"]


def test_a_last_case_that_failed_leaves_no_system_behind(stage: Stage) -> None:
    stage.failing = {2}
    run(1, 2)
    assert stage.events[-1] == "end"
    assert stage.events.count("start with 0") == 1


def test_no_case_is_left_out_and_no_system_starts_for_none(stage: Stage) -> None:
    assert len(run(*CASES)) == len(CASES) == 24
    stage.events.clear()
    assert run() == []
    assert stage.events == []


def test_every_case_has_its_number_a_name_and_one_of_the_three_bounds() -> None:
    assert sorted(CASES) == list(range(1, 25))
    for number, case in CASES.items():
        assert case.number == number
        assert case.normal_within_s in (OF_A_PROCESS_S, OF_A_NODE_S, OF_KAFKA_S)
    assert len({case.name for case in CASES.values()}) == len(CASES)
    assert set(SHORT) <= set(CASES)


def test_the_bounds_are_what_the_project_promises() -> None:
    assert (OF_A_PROCESS_S, OF_A_NODE_S, OF_KAFKA_S) == (10.0, 30.0, 10.0)
