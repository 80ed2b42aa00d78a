import numpy as np
import pytest

from fleet.block_scoring import BlockScoring, Features
from fleet.errors import ScorerUnavailableError, ScoringFailedError


class Scorer:
    """Fails as told: for `away` calls it is unavailable, and it cannot score rows that hold a negative number."""

    def __init__(self, away: int = 0, broken: int = 0) -> None:
        self.away, self.broken, self.calls = away, broken, 0

    async def __call__(self, _version: str, features: Features) -> Features:
        self.calls += 1
        if self.away > 0:
            self.away -= 1
            raise ScorerUnavailableError("away")
        if self.broken > 0:
            self.broken -= 1
            raise ScoringFailedError("broken")
        if (features < 0).any():
            raise ScoringFailedError("negative")
        return features * 2


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.block_scoring.FIRST_RETRY_S", 0.0)


def scoring(scorer: Scorer, attempts: int = 2) -> BlockScoring:
    return BlockScoring(scorer, "v", np.zeros((1, 3), np.float32), timeout_s=5, attempts=attempts)


def block(rows: int) -> Features:
    return np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)


async def test_errors_waits_for_a_scorer_that_is_away() -> None:
    scorer = Scorer(away=30)
    blocks = scoring(scorer)
    errors, failed = await blocks.errors(block(4))
    np.testing.assert_array_equal(errors, block(4) * 2)
    assert not failed.any()
    assert blocks.retries == 30


@pytest.mark.parametrize("bad", [{0}, {6}, {1, 2, 5}, set(range(7))])
async def test_errors_isolates_the_rows_at_fault(bad: set[int]) -> None:
    features = block(7)
    features[list(bad), 1] = -1
    errors, failed = await scoring(Scorer()).errors(features)
    assert set(np.flatnonzero(failed)) == bad
    good = [i for i in range(7) if i not in bad]
    np.testing.assert_array_equal(errors[good], features[good] * 2)


async def test_errors_condemns_no_row_while_the_scorer_itself_is_broken() -> None:
    errors, failed = await scoring(Scorer(broken=9), attempts=1).errors(block(3))
    assert not failed.any()
    np.testing.assert_array_equal(errors, block(3) * 2)
