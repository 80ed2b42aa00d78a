"""The scorer's batches: callers share them, versions do not mix, one caller's mistake is its own."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.scorer import KEPT_VERSIONS, Block, Scorer, rows
from fleet.autoencoder import Autoencoder
from fleet.errors import UnknownModelVersionError
from fleet.features import FEATURES
from fleet.model_bundle import ModelBundle, read_bundle, write_bundle
from fleet.settings import read_settings


def block(rows: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    features = rng.normal(50, 30, (rows, len(FEATURES))).astype(np.float32)
    features[rng.random(features.shape) < 0.2] = np.nan
    return features


def rewritten(bundle: ModelBundle, folder: Path, threshold: float) -> ModelBundle:
    """Another version with the same weights and another scale, so that its errors tell it apart."""
    return write_bundle(
        folder,
        save_weights=lambda path: shutil.copy(bundle.weights_path, path),
        mean=bundle.mean,
        scale=bundle.scale * 2,
        threshold=threshold,
        calibration=bundle.calibration,
        layers=bundle.layers,
        metrics=bundle.metrics,
    )


@pytest.fixture(scope="module")
def versions(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ModelBundle]]:
    folder = tmp_path_factory.mktemp("versions")
    first = read_bundle(models_folder)
    shutil.copytree(first.folder, folder / first.version)
    return folder, [first, *(rewritten(first, folder, first.threshold + i) for i in (1, 2))]


@pytest.fixture
def scorer(versions: tuple[Path, list[ModelBundle]]) -> Any:
    folder, [first, *_] = versions
    settings = read_settings({"model": {"folder": str(folder)}, "scorer": {"batch_wait_ms": 20}})
    return Scorer.func_or_class(settings, first.version)


def test_a_batch_answers_every_caller_with_its_rows_and_its_version(scorer: Any, versions: Any) -> None:
    _, [first, second, _] = versions
    calls = [(first, block(3, 1)), (second, block(200, 2)), (first, block(1, 3)), (second, block(40, 4))]
    answers = scorer._score_blocks([Block(bundle.version, features) for bundle, features in calls])
    models = {bundle.version: Autoencoder.load(bundle) for bundle in (first, second)}
    for (bundle, features), errors in zip(calls, answers, strict=True):
        np.testing.assert_allclose(errors, models[bundle.version].errors(features), rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(np.isnan(errors), np.isnan(features))
    assert not np.allclose(models[first.version].errors(calls[0][1]), models[second.version].errors(calls[0][1]))


def test_an_unknown_version_in_a_batch_harms_no_other_caller(scorer: Any, versions: Any) -> None:
    _, [first, *_] = versions
    blocks = [Block("2020-01-01T00-00-00Z-00000000", block(5, 5)), Block(first.version, block(5, 5))]
    bad, good = scorer._score_blocks(blocks)
    assert isinstance(bad, UnknownModelVersionError)
    assert good.shape == (5, len(FEATURES))


def test_scorer_keeps_the_current_and_the_previous_version(scorer: Any, versions: Any) -> None:
    _, bundles = versions
    for bundle in bundles:
        scorer._score_blocks([Block(bundle.version, block(2, 6))])
    assert list(scorer._models) == [bundle.version for bundle in bundles[-KEPT_VERSIONS:]]


def test_rows_counts_a_batch_by_its_rows() -> None:
    assert rows([Block("a", block(3, 1)), Block("b", block(4, 2))]) == 7
