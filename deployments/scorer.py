"""The scorers: stateless TensorFlow replicas that turn feature blocks into errors, batched across callers.

Called by `deployments.ingest` (blocks of a turn) and `deployments.gateway` (single requests); both share the
batches. Knows no Kafka. Finds the group at fault of what will alarm in the same call: a second one would cost every
turn with an alarm in it another trip through Serve.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, NoReturn

import numpy as np
from ray import serve

from fleet.detection.attribution import score, warm_up
from fleet.detection.model.bundle import ModelBundle, read_bundle
from fleet.detection.model.current import CurrentModel
from fleet.detection.model.network import Network
from fleet.detection.verdicts import Scores
from fleet.errors import FleetError, ScorerUnwellError
from fleet.ingest.block_scoring import Features
from fleet.settings import Settings

KEPT_VERSIONS = 2  # the current and the previous one: calls in flight during a swap still find theirs

# A batch takes milliseconds. One that takes this long is taken to hang, and callers are sent elsewhere. After the
# longer time Serve is told.
HANGS_AFTER_S = 1.0
STUCK_AFTER_S = 30.0
# Serve prefers the replica with the fewest calls: one that refuses at once would get nearly all of them.
REFUSAL_S = 0.25

logger = logging.getLogger("ray.serve")

_UNANSWERED = RuntimeError("the batch was not scored")


class Block(NamedTuple):
    """One call: the bundle version it wants, and its features float32[N, K]."""

    version: str
    features: Features


def rows(blocks: Sequence[Block]) -> int:
    """Size of a batch as Serve's batching counts it."""
    return sum(len(block.features) for block in blocks)


def is_sound(answer: Scores | Exception) -> bool:
    """Whether an answer is one that may be judged by: scores, and all of them finite."""
    return not isinstance(answer, Exception) and answer.is_finite


@serve.deployment(max_ongoing_requests=64)
class Scorer:
    """Holds loaded bundles and scores batches of blocks; a batch is split by version, never mixed."""

    def __init__(self, settings: Settings, version: str) -> None:
        self._models_folder = settings.model.absolute_folder
        self._most_explained = settings.scorer.explained_rows
        self._threads = settings.scorer.threads
        self._models: OrderedDict[str, tuple[Network, ModelBundle]] = OrderedDict()
        # One thread, so that a long TensorFlow call leaves the replica's loop free to gather the next batch.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tensorflow")
        self._batch_began_s: float | None = None
        self._is_well = True
        self._batch.set_max_batch_size(settings.scorer.max_batch_rows)
        self._batch.set_batch_wait_timeout_s(settings.scorer.batch_wait_ms / 1000)
        self._current = CurrentModel(settings.model.absolute_folder, settings.model.version, version)
        self._model(self._current.bundle.version)
        self._following = asyncio.get_running_loop().create_task(self._current.follow(self._load))

    async def _load(self, bundle: ModelBundle) -> None:
        """Have a new bundle loaded and warm before anyone asks for it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._model, bundle.version)

    async def score(self, version: str, features: Features) -> Scores:
        """Return the reconstruction errors of features float32[N, K], and the groups at fault of alarms.

        What is unknown has no error. Raises ModelBundleError for a version that cannot be loaded.
        """
        if self._batch_lasts_s() > HANGS_AFTER_S:
            await self._refuse("its last batch is not done")
        answer: Scores | Exception = await self._batch(Block(version, features))
        if isinstance(answer, FleetError) or is_sound(answer):
            self._is_well = True
        elif not await self._scores_an_ordinary_row(version, features.shape[1]):
            await self._refuse("it cannot score an ordinary row")
        if isinstance(answer, Exception):  # Serve hands it over as it is
            raise answer
        return answer

    async def check_health(self) -> None:
        """Fail when a batch hangs, or an ordinary row cannot be scored; Serve then replaces this replica."""
        if (lasts_s := self._batch_lasts_s()) > STUCK_AFTER_S:
            raise RuntimeError(f"a batch is not done after {lasts_s:.0f} s")
        bundle = self._current.bundle
        if not (self._is_well or await self._scores_an_ordinary_row(bundle.version, len(bundle.features))):
            raise RuntimeError("an ordinary row cannot be scored")

    async def _refuse(self, reason: str) -> NoReturn:
        await asyncio.sleep(REFUSAL_S)
        raise ScorerUnwellError(f"a scorer is unwell: {reason}")

    def _batch_lasts_s(self) -> float:
        return 0.0 if self._batch_began_s is None else time.monotonic() - self._batch_began_s

    async def _scores_an_ordinary_row(self, version: str, width: int) -> bool:
        """Tell rows that cannot be scored from a scorer that cannot: by a row of its own, in no one else's batch."""
        block = Block(version, np.full((1, width), np.nan, np.float32))
        [answer] = await asyncio.get_running_loop().run_in_executor(self._thread, self._answers, [block])
        self._is_well = is_sound(answer)
        return self._is_well

    @serve.batch(batch_size_fn=rows)  # its bounds are set when the settings are known
    async def _batch(self, blocks: list[Block]) -> list[Scores | Exception]:
        loop = asyncio.get_running_loop()
        self._batch_began_s = time.monotonic()
        try:
            return await loop.run_in_executor(self._thread, self._answers, blocks)
        finally:
            self._batch_began_s = None

    def _answers(self, blocks: Sequence[Block]) -> list[Scores | Exception]:
        try:
            return self._score_blocks(blocks)
        except Exception as error:  # whatever it is, each caller must learn whether it is this scorer's fault
            logger.exception("batch_failed", extra={"rows": rows(blocks)})
            return [error] * len(blocks)

    def _score_blocks(self, blocks: Sequence[Block]) -> list[Scores | Exception]:
        answers: list[Scores | Exception] = [_UNANSWERED] * len(blocks)
        for version in dict.fromkeys(block.version for block in blocks):
            members = [i for i, block in enumerate(blocks) if block.version == version]
            try:
                network, bundle = self._model(version)
                features = np.concatenate([blocks[i].features for i in members])
                scores = score(network, bundle, features, self._most_explained)
            except Exception as error:  # its callers are told; callers of another version are not affected
                logger.exception("scoring_failed", extra={"version": version, "rows": len(members)})
                for i in members:
                    answers[i] = error
                continue
            ends = np.cumsum([len(blocks[i].features) for i in members]).tolist()
            for i, start, end in zip(members, [0, *ends], ends, strict=False):
                answers[i] = scores.rows(start, end)
        return answers

    def _model(self, version: str) -> tuple[Network, ModelBundle]:
        if version in self._models:
            self._models.move_to_end(version)
            return self._models[version]
        bundle = read_bundle(self._models_folder, version)
        network = Network.load(bundle, self._threads)
        warm_up(network, bundle)
        self._models[version] = network, bundle
        while len(self._models) > KEPT_VERSIONS:
            self._models.popitem(last=False)
        logger.info("model_loaded", extra={"version": version})
        return self._models[version]
