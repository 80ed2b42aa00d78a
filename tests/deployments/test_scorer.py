"""The scorer's batches: callers share them, versions do not mix, one caller's mistake is its own."""

import asyncio
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.scorer import KEPT_VERSIONS, Block, Scorer, rows
from fleet.detection.attribution import score
from fleet.detection.calibration import Calibration
from fleet.detection.model.bundle import ModelBundle, read_bundle, write_bundle
from fleet.detection.model.network import Network
from fleet.errors import ScorerUnwellError, UnknownModelVersionError
from fleet.settings import read_settings
from tests.small_detector import PLAN


def block(rows: int, seed: int) -> Any:
    """Features of events with a speed alone, and a few with an impossible temperature as well: those alarm."""
    rng = np.random.default_rng(seed)
    features = np.full((rows, len(PLAN.features)), np.nan, np.float32)
    features[:, PLAN.names.index("speed_level")] = rng.uniform(30, 60, rows)
    features[::5, PLAN.names.index("temperature_level")] = rng.uniform(300, 400, len(features[::5]))
    return features


def rewritten(bundle: ModelBundle, folder: Path, threshold: float) -> ModelBundle:
    """Another version with the same network and a quarter of the rarities, so that its errors tell it apart."""
    calibration = bundle.calibration
    return write_bundle(
        folder,
        save_network=lambda path: shutil.copy(bundle.network_path, path),
        plan=bundle.plan,
        threshold=threshold,
        calibration=Calibration(calibration.rarity / 4, calibration.error, calibration.steepness / 4),
        metrics=bundle.metrics,
    )


@pytest.fixture(scope="module")
def versions(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ModelBundle]]:
    folder = tmp_path_factory.mktemp("versions")
    first = read_bundle(models_folder)
    shutil.copytree(first.folder, folder / first.version)
    return folder, [first, *(rewritten(first, folder, first.threshold / 4 + i / 100) for i in (0, 1))]


@pytest.fixture
async def scorer(versions: tuple[Path, list[ModelBundle]]) -> Any:
    folder, [first, *_] = versions
    model = {"folder": str(folder), "version": first.version}
    return Scorer.func_or_class(read_settings({"model": model, "scorer": {"batch_wait_ms": 20}}), first.version)


@pytest.fixture
def alone(scorer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A scorer whose calls are batches of their own: Serve's batching wants a replica around it."""
    batch = type(scorer)._batch.__wrapped__

    async def call(block: Block) -> Any:
        [answer] = await batch(scorer, [block])
        return answer

    monkeypatch.setattr(scorer, "_batch", call)
    return scorer


def test_a_batch_answers_every_caller_with_its_rows_and_its_version(scorer: Any, versions: Any) -> None:
    _, [first, second, _] = versions
    calls = [(first, block(3, 1)), (second, block(200, 2)), (first, block(1, 3)), (second, block(40, 4))]
    answers = scorer._score_blocks([Block(bundle.version, features) for bundle, features in calls])
    models = {bundle.version: Network.load(bundle) for bundle in (first, second)}
    for (bundle, features), scores in zip(calls, answers, strict=True):
        alone = score(models[bundle.version], bundle, features, 1_000)
        assert len(scores) == len(features)
        np.testing.assert_allclose(scores.error, alone.error, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(scores.explained, scores.error > bundle.threshold)
    assert answers[1].explained.any()
    assert not answers[1].explained.all()
    theirs = score(models[second.version], second, calls[0][1], 0).error
    assert not np.allclose(theirs, answers[0].error)


def test_an_unknown_version_in_a_batch_harms_no_other_caller(scorer: Any, versions: Any) -> None:
    _, [first, *_] = versions
    blocks = [Block("2020-01-01T00-00-00Z-00000000", block(5, 5)), Block(first.version, block(5, 5))]
    bad, good = scorer._score_blocks(blocks)
    assert isinstance(bad, UnknownModelVersionError)
    assert len(good) == 5


async def test_only_so_many_alarms_of_a_batch_are_explained_as_the_setting_says(versions: Any) -> None:
    folder, [first, *_] = versions
    model = {"folder": str(folder), "version": first.version}
    settings = read_settings({"model": model, "scorer": {"explained_rows": 3}})
    scorer = Scorer.func_or_class(settings, first.version)
    answers = scorer._score_blocks([Block(first.version, block(40, seed)) for seed in (7, 8)])
    alarms = sum(int((scores.error > first.threshold).sum()) for scores in answers)
    assert alarms > 3
    assert sum(int(scores.explained.sum()) for scores in answers) == 3


def test_scorer_keeps_the_current_and_the_previous_version(scorer: Any, versions: Any) -> None:
    _, bundles = versions
    for bundle in bundles:
        scorer._score_blocks([Block(bundle.version, block(2, 6))])
    assert list(scorer._models) == [bundle.version for bundle in bundles[-KEPT_VERSIONS:]]


def not_a_number(answer: Any) -> Any:
    return replace(answer, error=np.full_like(answer.error, np.nan))


def broken(blocks: Any) -> Any:
    raise RuntimeError("broken")


async def test_a_scorer_that_cannot_score_an_ordinary_row_says_so(
    alone: Any, versions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [first, *_] = versions
    sound = alone._score_blocks
    await alone.check_health()
    for sick in (broken, lambda blocks: [not_a_number(answer) for answer in sound(blocks)]):
        monkeypatch.setattr(alone, "_score_blocks", sick)
        with pytest.raises(ScorerUnwellError, match="ordinary row"):
            await alone.score(first.version, block(3, 1))
        with pytest.raises(RuntimeError, match="ordinary row"):
            await alone.check_health()
        monkeypatch.setattr(alone, "_score_blocks", sound)
        await alone.check_health()
    assert len(await alone.score(first.version, block(3, 1))) == 3


async def test_rows_that_break_a_scorer_do_not_make_it_unwell(
    alone: Any, versions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [first, *_] = versions
    sound = alone._score_blocks
    monkeypatch.setattr(alone, "_score_blocks", lambda blocks: broken(blocks) if rows(blocks) > 1 else sound(blocks))
    with pytest.raises(RuntimeError, match="broken"):
        await alone.score(first.version, block(3, 1))
    await alone.check_health()


async def test_a_scorer_that_hangs_refuses_further_calls(
    alone: Any, versions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, [first, *_] = versions
    sound, well = alone._score_blocks, threading.Event()
    monkeypatch.setattr("deployments.scorer.HANGS_AFTER_S", 0.05)
    monkeypatch.setattr("deployments.scorer.STUCK_AFTER_S", 0.05)
    monkeypatch.setattr(alone, "_score_blocks", lambda blocks: (well.wait(20), sound(blocks))[1])
    hanging = asyncio.create_task(alone.score(first.version, block(3, 1)))
    async with asyncio.timeout(20):
        while alone._batch_lasts_s() <= 0.05:
            await asyncio.sleep(0.01)
    with pytest.raises(ScorerUnwellError, match="not done"):
        await alone.score(first.version, block(3, 1))
    with pytest.raises(RuntimeError, match="not done"):
        await alone.check_health()
    well.set()
    assert len(await hanging) == 3
    await alone.check_health()


def test_rows_counts_a_batch_by_its_rows() -> None:
    assert rows([Block("a", block(3, 1)), Block("b", block(4, 2))]) == 7
