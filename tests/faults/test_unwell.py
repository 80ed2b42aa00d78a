"""The scorer that can be made unwell: it is unwell in the way that was asked for, where it was asked for."""

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faults import unwell
from faults.illness import Illness
from faults.unwell import UnwellScorer, _not_a_number
from fleet.detection.verdicts import Scores

ANSWERS: list[Any] = [Scores.none(3), RuntimeError("its own")]


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One without a model, whose healthy answers are given."""
    parent = UnwellScorer.__mro__[1]
    monkeypatch.setattr(parent, "_score_blocks", lambda self, blocks: list(ANSWERS))
    return UnwellScorer.__new__(UnwellScorer)


def ill(illness: Illness, pid: int | None = None) -> dict[str, Any]:
    return {"pid": os.getpid() if pid is None else pid, "illness": illness.value}


def test_a_scorer_is_well_until_its_process_is_named(scorer: Any) -> None:
    assert scorer._score_blocks([]) == ANSWERS
    scorer.reconfigure(ill(Illness.RAISES, pid=1))
    assert scorer._score_blocks([]) == ANSWERS


def test_a_scorer_that_raises_does_and_is_well_again_afterwards(scorer: Any) -> None:
    scorer.reconfigure(ill(Illness.RAISES))
    with pytest.raises(RuntimeError, match="unwell"):
        scorer._score_blocks([])
    scorer.reconfigure({})
    assert scorer._score_blocks([]) == ANSWERS


def test_a_scorer_that_answers_nan_leaves_errors_errors(scorer: Any) -> None:
    scorer.reconfigure(ill(Illness.NAN))
    scores, error = scorer._score_blocks([])
    assert np.isnan(scores.error).all()
    assert len(scores.error) == 3
    assert error is ANSWERS[1]
    assert not np.isnan(ANSWERS[0].error).any()


def test_a_scorer_that_hangs_goes_on_when_it_is_well_again(scorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 5:
            scorer.reconfigure({})

    monkeypatch.setattr(unwell, "time", SimpleNamespace(sleep=sleep))
    scorer.reconfigure(ill(Illness.HANGS))
    assert scorer._score_blocks([]) == ANSWERS
    assert len(waits) == 5


def test_an_answer_that_is_no_number_has_nan_in_the_errors_alone() -> None:
    sick = _not_a_number(Scores.none(2))
    assert isinstance(sick, Scores)
    assert np.isnan(sick.error).all()
