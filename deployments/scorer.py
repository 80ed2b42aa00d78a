"""The scorers: stateless TensorFlow replicas that turn feature blocks into errors, batched across callers.

Called by `deployments.ingest` (blocks of a turn) and `deployments.gateway` (single requests); both share the
batches. Knows no Kafka. Finds the group at fault of what will alarm in the same call: a second one would cost every
turn with an alarm in it another trip through Serve.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from ray import serve

from fleet.attribution import score
from fleet.autoencoder import Autoencoder, limit_threads
from fleet.block_scoring import Features
from fleet.current_model import CurrentModel
from fleet.model_bundle import ModelBundle, read_bundle
from fleet.scoring import Scores
from fleet.settings import Settings

KEPT_VERSIONS = 2  # the current and the previous one: calls in flight during a swap still find theirs

logger = logging.getLogger("ray.serve")

_UNANSWERED = RuntimeError("the batch was not scored")


class Block(NamedTuple):
    """One call: the bundle version it wants, and its features float32[N, K]."""

    version: str
    features: Features


def rows(blocks: Sequence[Block]) -> int:
    """Size of a batch as Serve's batching counts it."""
    return sum(len(block.features) for block in blocks)


@serve.deployment(max_ongoing_requests=64)
class Scorer:
    """Holds loaded bundles and scores batches of blocks; a batch is split by version, never mixed."""

    def __init__(self, settings: Settings, version: str) -> None:
        limit_threads(settings.scorer.threads)
        self._models_folder = settings.model.absolute_folder
        self._most_explained = settings.scorer.explained_rows
        self._models: OrderedDict[str, tuple[Autoencoder, ModelBundle]] = OrderedDict()
        # One thread, so that a long TensorFlow call leaves the replica's loop free to gather the next batch.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tensorflow")
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
        answer: Scores | Exception = await self._batch(Block(version, features))
        if isinstance(answer, Exception):  # Serve hands it over as it is
            raise answer
        return answer

    @serve.batch(max_batch_size=8_192, batch_wait_timeout_s=0.002, batch_size_fn=rows)
    async def _batch(self, blocks: list[Block]) -> list[Scores | Exception]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._score_blocks, blocks)

    def _score_blocks(self, blocks: Sequence[Block]) -> list[Scores | Exception]:
        answers: list[Scores | Exception] = [_UNANSWERED] * len(blocks)
        for version in dict.fromkeys(block.version for block in blocks):
            members = [i for i, block in enumerate(blocks) if block.version == version]
            try:
                model, bundle = self._model(version)
                features = np.concatenate([blocks[i].features for i in members])
                scores = score(model, bundle, features, self._most_explained)
            except Exception as error:  # its callers are told; callers of another version are not affected
                logger.exception("scoring_failed", extra={"version": version, "rows": len(members)})
                for i in members:
                    answers[i] = error
                continue
            ends = np.cumsum([len(blocks[i].features) for i in members]).tolist()
            for i, start, end in zip(members, [0, *ends], ends, strict=False):
                answers[i] = scores.rows(start, end)
        return answers

    def _model(self, version: str) -> tuple[Autoencoder, ModelBundle]:
        if version in self._models:
            self._models.move_to_end(version)
            return self._models[version]
        bundle = read_bundle(self._models_folder, version)
        model = Autoencoder.load(bundle)
        score(model, bundle, np.full((2, len(bundle.features)), np.nan, np.float32), 1)  # compiles what weighs errors
        self._models[version] = model, bundle
        while len(self._models) > KEPT_VERSIONS:
            self._models.popitem(last=False)
        logger.info("model_loaded", extra={"version": version})
        return self._models[version]
