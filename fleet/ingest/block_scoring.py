"""One turn's features -> their scores, whatever it takes: waiting out a busy scorer, isolating rows that break it.

Stands between `fleet.ingest.turn` and the remote scorer, which it knows only as an awaitable call.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.backoff import BackOff
from fleet.detection.verdicts import Scores
from fleet.errors import ScorerUnavailableError, ScorerUnwellError, ScoringFailedError
from fleet.ingest.abandoned_calls import AbandonedCalls
from fleet.ingest.usual_time import UsualTime

Features: TypeAlias = npt.NDArray[np.float32]
ScoreCall: TypeAlias = Callable[[str, Features], Awaitable[Scores]]

FIRST_BACK_OFF_S = 0.05
LONGEST_BACK_OFF_S = 2.0
# A scorer that hangs costs half a second; those that are only slow must not be asked the same again and again: on a
# full machine that would make them slower still.
MOST_PATIENCE = 8.0
SLOW = 4.0  # times what a call has usually taken of late
MOST_AT_ONCE = 3
MOST_ABANDONED = 8

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class BlockScoring:
    """Scores blocks; counts what had to be tried again."""

    score: ScoreCall
    timeout_s: float
    attempts: int
    retries: int = 0
    usual: UsualTime = field(default_factory=UsualTime)
    _abandoned: AbandonedCalls = field(default_factory=AbandonedCalls)

    async def scores(self, version: str, features: Features) -> tuple[Scores, npt.NDArray[np.bool_]]:
        """Return a bundle's scores of features float32[N, K], and failed bool[N]: rows that it cannot score.

        Waits as long as the scorer is away or busy; the caller's bound on turns in flight is the push-back.
        """
        back_off, failures = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S), 0
        while True:
            try:
                return await self._call(version, features), np.zeros(len(features), dtype=np.bool_)
            except ScorerUnwellError as error:
                logger.warning("scorer_unwell: %s", error, extra={"rows": len(features)})
                back_off.reset()  # it has taken its time to say so
            except ScorerUnavailableError as error:
                logger.warning(
                    "scorer_unavailable: %s", error, extra={"rows": len(features), "retry_s": back_off.delay_s}
                )
            except ScoringFailedError as error:
                failures += 1
                logger.warning("scoring_failed: %s", error, extra={"rows": len(features), "attempt": failures})
                if failures >= self.attempts and await self._scores_an_ordinary_row(version, features.shape[1]):
                    return await self._isolate(version, features)
            self.retries += 1
            await asyncio.sleep(back_off.next_s())

    async def _call(self, version: str, features: Features) -> Scores:
        scores = await self._first_answer(version, features)
        if len(scores) != len(features):
            raise ScoringFailedError(f"asked for scores of {len(features)} events, got {len(scores)}")
        if not scores.is_finite:
            raise ScoringFailedError("got scores that are not finite")
        return scores

    async def _first_answer(self, version: str, features: Features) -> Scores:
        """Ask a scorer, and while none answers another one beside it, each time after twice as long.

        Whoever answers first is believed (hedged requests: Dean and Barroso, The Tail at Scale, 2013).
        """
        began_s: dict[asyncio.Future[Scores], float] = {}  # of each call, the oldest first
        most_s = MOST_PATIENCE * self.timeout_s
        timeout_s = min(max(self.timeout_s, SLOW * self.usual.seconds), most_s)
        try:
            while True:
                began_s[asyncio.ensure_future(self.score(version, features))] = time.monotonic()
                answered, _ = await asyncio.wait(began_s, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if answered:
                    first = answered.pop()
                    self.usual.note(time.monotonic() - began_s.pop(first))
                    return first.result()
                logger.warning("scorer_silent: no answer within %g s", timeout_s, extra={"rows": len(features)})
                self.retries += 1
                timeout_s = min(2 * timeout_s, most_s)
                if len(began_s) == MOST_AT_ONCE:
                    began_s.pop(oldest := next(iter(began_s)))
                    oldest.cancel()
        except asyncio.CancelledError:
            for call in began_s:
                call.cancel()
            raise
        finally:
            for call in began_s:
                self._abandon(call)

    def _abandon(self, call: "asyncio.Future[Scores]") -> None:
        """Let a call run on whose answer is not needed any more, as long as few do.

        Serve prefers the scorer with the fewest calls. One that hangs would seem idle once its calls are ended, and be
        asked again and again; so they count on.
        """
        self._abandoned.add(call)
        if len(self._abandoned) > MOST_ABANDONED:
            call.cancel()

    async def _isolate(self, version: str, features: Features) -> tuple[Scores, npt.NDArray[np.bool_]]:
        """Halve a block that always fails until the rows at fault stand alone."""
        if len(features) == 1:
            return Scores.none(1), np.ones(1, dtype=np.bool_)
        middle = len(features) // 2
        halves = [await self.scores(version, half) for half in (features[:middle], features[middle:])]
        return Scores.joined([scores for scores, _ in halves]), np.concatenate([failed for _, failed in halves])

    async def _scores_an_ordinary_row(self, version: str, width: int) -> bool:
        """Tell bad rows from a bad scorer: only a scorer that can score an ordinary row may condemn others."""
        try:
            await self._call(version, np.full((1, width), np.nan, np.float32))
        except (ScorerUnavailableError, ScoringFailedError):
            return False
        return True
