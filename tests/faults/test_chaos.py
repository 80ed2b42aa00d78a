"""Chaos strikes in every way before it strikes twice in the same, until its time is over."""

from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from faults import chaos
from faults.chaos import STRIKES, ledger


class Trial:
    """Takes strikes; the clock goes on by what flows."""

    def __init__(self, seed: int, books: dict[str, Any]) -> None:
        self.random, self.now_s = Random(seed), 0.0
        self.struck: list[int] = []
        self.said: list[str] = []
        self.system = SimpleNamespace(pipeline=lambda: books)

    def flow(self, seconds: float) -> None:
        self.now_s += seconds

    def say(self, line: str) -> None:
        self.said.append(line)


BOOKS = {"read": 12_000, "scored": 11_000, "deadLettered": 900, "inFlight": 100, "lag": 7}


@pytest.mark.parametrize("seed", range(3))
def test_each_kind_of_strike_comes_once_before_any_comes_again(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    trial: Any = Trial(seed, BOOKS)
    kinds = tuple((lambda struck, kind=kind: struck.struck.append(kind)) for kind in range(len(STRIKES)))
    monkeypatch.setattr(chaos, "STRIKES", kinds)
    monkeypatch.setattr(chaos.time, "monotonic", lambda: trial.now_s)
    chaos.chaos(2 * len(kinds) * chaos.CALM_S).act(trial)
    assert sorted(trial.struck[: len(kinds)]) == sorted(trial.struck[len(kinds) :]) == list(range(len(kinds)))
    assert len(trial.said) == 2 * len(kinds)


def test_chaos_is_one_case_judged_as_a_process_that_died() -> None:
    case = chaos.chaos(120.0)
    assert (case.name, case.normal_within_s, case.workers) == ("120 s of chaos", 10.0, 0)
    assert len(set(STRIKES)) == len(STRIKES) == 7


def test_the_ledger_is_a_line_of_what_the_page_says() -> None:
    trial: Any = Trial(0, BOOKS)
    assert ledger(trial) == "ledger: 12,000 read = 11,000 scored + 900 dead-lettered + 100 in flight; 7 behind"


@pytest.mark.parametrize("books", [{}, {"read": None}])
def test_a_page_that_says_nothing_is_not_quoted(books: dict[str, Any]) -> None:
    trial: Any = Trial(0, books)
    assert ledger(trial) == "the page does not say how the books stand"
