"""The application with scorers that can be made unwell, one at a time: `faults.unwell:build` as its import path.

The product has no hook for that; here its scorer is a subclass. Which process is unwell, and how, comes as Serve's
`user_config`, which reaches running replicas.

Neighbours: `deployments.application` builds the same without it, `cases.scorers` deploys this one.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ray.serve import Application

from deployments.application import bind
from deployments.scorer import Block, Scorer
from faults.illness import Illness
from fleet.detection.verdicts import Scores

POLL_S = 0.05


_scorers: Any = Scorer  # a deployment at run time, whatever the decorator's annotation says


class UnwellScorer(_scorers.func_or_class):  # type: ignore[misc]
    """A scorer that is well until `reconfigure` names its process."""

    _illness: Illness | None = None

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take `{"pid": …, "illness": …}`; other processes are well again."""
        is_meant = user_config.get("pid") == os.getpid()
        self._illness = Illness(user_config["illness"]) if is_meant else None

    def _score_blocks(self, blocks: Sequence[Block]) -> list[Scores | Exception]:
        if self._illness is Illness.RAISES:
            raise RuntimeError("this scorer is unwell")
        while self._illness is Illness.HANGS:
            time.sleep(POLL_S)
        answers: list[Scores | Exception] = super()._score_blocks(blocks)
        if self._illness is Illness.NAN:
            return [_not_a_number(answer) for answer in answers]
        return answers


def build(args: dict[str, Any]) -> Application:
    """Build the application from `serve_config.yaml`'s `args`, with scorers that can be made unwell."""
    return bind(args, _scorers.options(func_or_class=UnwellScorer, user_config={}))


def _not_a_number(answer: Scores | Exception) -> Scores | Exception:
    if isinstance(answer, Exception):
        return answer
    return replace(answer, error=np.full_like(answer.error, np.nan))
