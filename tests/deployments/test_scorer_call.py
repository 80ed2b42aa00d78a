"""What a call to the scorers may end with, and what the worker is told."""

import asyncio
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import ray.exceptions
from ray.serve.exceptions import BackPressureError

from deployments.scorer_call import MOST_DIRECT_BYTES, score_call
from fleet.detection.verdicts import Scores
from fleet.errors import FleetError, ScorerUnavailableError, ScorerUnwellError, ScoringFailedError

SMALL = np.zeros((2, 3), np.float32)


class Handle:
    """A handle whose calls end as told; remembers which of its two ways they took."""

    def __init__(self, outcome: Any) -> None:
        self.ways: list[bool] = []
        self._outcome, self._by_reference = outcome, True
        self.score = SimpleNamespace(remote=self._remote)

    def options(self, *, _by_reference: bool) -> "Handle":
        other = Handle(self._outcome)
        other.ways, other._by_reference = self.ways, _by_reference
        return other

    async def _remote(self, _version: str, features: Any) -> Scores:
        self.ways.append(self._by_reference)
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        if self._outcome == "hangs":
            await asyncio.Event().wait()
        return Scores.none(len(features))


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (ScorerUnwellError("unwell"), ScorerUnwellError),
        (ray.exceptions.RayTaskError("score", "", ScorerUnwellError("unwell")), ScorerUnwellError),
        (BackPressureError(num_queued_requests=1, max_queued_requests=1), ScorerUnavailableError),
        (ray.exceptions.ActorUnavailableError("away", b"0" * 16), ScorerUnavailableError),
        (grpc.RpcError(), ScorerUnavailableError),
        (asyncio.CancelledError(), ScorerUnavailableError),
        (ValueError("rows"), ScoringFailedError),
        (ray.exceptions.RayTaskError("score", "", ValueError("rows")), ScoringFailedError),
    ],
)
async def test_score_call_says_whose_fault_it_is(outcome: BaseException, told: type[FleetError]) -> None:
    with pytest.raises(told) as raised:
        await score_call(Handle(outcome))("v", SMALL)  # type: ignore[arg-type]
    assert raised.type is told


async def test_score_call_can_be_cancelled() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(score_call(Handle("hangs"))("v", SMALL), 0.01)  # type: ignore[arg-type]


async def test_score_call_sends_large_blocks_through_the_object_store() -> None:
    handle = Handle("answers")
    call = score_call(handle)  # type: ignore[arg-type]
    await call("v", SMALL)
    await call("v", np.zeros((MOST_DIRECT_BYTES // 4 + 1, 1), np.float32))
    assert handle.ways == [False, True]
