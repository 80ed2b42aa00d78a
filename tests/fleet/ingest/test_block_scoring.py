import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fleet.detection.verdicts import Scores
from fleet.errors import ScorerUnavailableError, ScoringFailedError
from fleet.ingest.block_scoring import MOST_ABANDONED, MOST_AT_ONCE, BlockScoring, Features


def scores_of(features: Features) -> Scores:
    """Scores that tell the rows apart; what is unknown has no error."""
    none = Scores.none(len(features))
    return Scores(
        np.nan_to_num(features[:, 0]) * 2, none.aspect, none.explained, none.largest, none.share, none.expected
    )


class Scorer:
    """Fails as told: for `away` calls it is unavailable, and it cannot score rows that hold a negative number."""

    def __init__(self, away: int = 0, broken: int = 0, short: int = 0, nan: int = 0) -> None:
        self.away, self.broken, self.short, self.nan = away, broken, short, nan

    async def __call__(self, _version: str, features: Features) -> Scores:
        if self.away > 0:
            self.away -= 1
            raise ScorerUnavailableError("away")
        if self.broken > 0:
            self.broken -= 1
            raise ScoringFailedError("broken")
        if (features < 0).any():
            raise ScoringFailedError("negative")
        if self.short > 0:
            self.short -= 1
            return scores_of(features[1:])
        if self.nan > 0:
            self.nan -= 1
            return replace(scores_of(features), error=np.full(len(features), np.nan, np.float32))
        return scores_of(features)


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.ingest.block_scoring.FIRST_BACK_OFF_S", 0.0)


def scoring(scorer: Scorer, attempts: int = 2) -> BlockScoring:
    return BlockScoring(scorer, timeout_s=5, attempts=attempts)


def block(rows: int) -> Features:
    return np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)


async def test_scores_wait_for_a_scorer_that_is_away() -> None:
    blocks = scoring(Scorer(away=30))
    scores, failed = await blocks.scores("v", block(4))
    np.testing.assert_array_equal(scores.error, block(4)[:, 0] * 2)
    assert not failed.any()
    assert blocks.retries == 30


async def test_a_scorer_that_hangs_is_given_up_soon_and_a_slow_one_gets_longer_each_time() -> None:
    asked = 0

    async def slow(_version: str, features: Features) -> Scores:
        nonlocal asked
        asked += 1
        await asyncio.sleep(60 if asked == 1 else 0.06)  # the first one hangs
        return scores_of(features)

    blocks = BlockScoring(slow, timeout_s=0.02, attempts=2)
    scores, failed = await blocks.scores("v", block(4))
    np.testing.assert_array_equal(scores.error, block(4)[:, 0] * 2)
    assert not failed.any()
    assert blocks.retries == asked - 1 >= 2


async def test_scorers_that_are_slow_for_long_are_not_asked_twice() -> None:
    async def slow(_version: str, features: Features) -> Scores:
        await asyncio.sleep(0.04)
        return scores_of(features)

    blocks = BlockScoring(slow, timeout_s=0.02, attempts=2)
    retries_by_call = []
    for _ in range(50):
        before = blocks.retries
        await blocks.scores("v", block(4))
        retries_by_call.append(blocks.retries - before)
    assert retries_by_call[0] > 0
    assert 0 in retries_by_call


class HangingScorer:
    """Answers at once, but for the calls whose numbers `hangs` says; those stay until they are cancelled."""

    def __init__(self, hangs: Callable[[int], bool]) -> None:
        self.hangs, self.asked, self.hanging = hangs, 0, 0

    async def __call__(self, _version: str, features: Features) -> Scores:
        self.asked += 1
        if self.hangs(self.asked):
            self.hanging += 1
            try:
                await asyncio.Future()
            finally:
                self.hanging -= 1
        return scores_of(features)


async def test_a_scorer_that_hangs_keeps_a_few_calls_so_that_serve_sees_it_busy() -> None:
    scorer = HangingScorer(lambda number: number % 2 == 1)
    blocks = BlockScoring(scorer, timeout_s=0.001, attempts=2)
    for turn in range(2 * MOST_ABANDONED):
        scores, _ = await blocks.scores("v", block(2))
        assert len(scores) == 2
        await asyncio.sleep(0)  # for what was ended to end
        assert scorer.hanging == min(turn + 1, MOST_ABANDONED)


async def test_few_scorers_are_asked_at_once_when_none_answers_and_none_after_the_end() -> None:
    scorer = HangingScorer(lambda _: True)
    blocks = BlockScoring(scorer, timeout_s=0.001, attempts=2)
    asking = asyncio.create_task(blocks.scores("v", block(1)))
    while scorer.asked < 3 * MOST_AT_ONCE:
        await asyncio.sleep(0.001)
        assert scorer.hanging <= MOST_AT_ONCE
    asking.cancel()
    await asyncio.wait([asking])
    while scorer.hanging:
        await asyncio.sleep(0)


@pytest.mark.parametrize("bad", [{0}, {6}, {1, 2, 5}, set(range(7))])
async def test_scores_isolate_the_rows_at_fault(bad: set[int]) -> None:
    features = block(7)
    features[list(bad), 1] = -1
    scores, failed = await scoring(Scorer()).scores("v", features)
    assert len(scores) == 7
    assert set(np.flatnonzero(failed)) == bad
    good = [i for i in range(7) if i not in bad]
    np.testing.assert_array_equal(scores.error[good], features[good, 0] * 2)
    assert (scores.error[list(bad)] == 0).all()


async def test_scores_condemn_no_row_while_the_scorer_itself_is_broken() -> None:
    scores, failed = await scoring(Scorer(broken=9), attempts=1).scores("v", block(3))
    assert not failed.any()
    np.testing.assert_array_equal(scores.error, block(3)[:, 0] * 2)


async def test_an_answer_for_another_number_of_events_is_tried_again() -> None:
    blocks = scoring(Scorer(short=1), attempts=3)
    scores, failed = await blocks.scores("v", block(5))
    assert (len(scores), failed.any(), blocks.retries) == (5, False, 1)


async def test_an_answer_that_is_not_finite_is_tried_again() -> None:
    blocks = scoring(Scorer(nan=2), attempts=3)
    scores, failed = await blocks.scores("v", block(5))
    np.testing.assert_array_equal(scores.error, block(5)[:, 0] * 2)
    assert (failed.any(), blocks.retries) == (False, 2)
