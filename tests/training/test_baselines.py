import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import baselines
from training.baselines import LargestDeviation, Mahalanobis, OriginAutoencoder, PcaResidual, shrunk, windowed_baselines
from training.metrics import roc_auc


def _correlated(rows: int, seed: int = 0):
    """Six features driven by two causes, with a little noise of their own."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(rows, 2))
    mix = np.random.default_rng(99).normal(size=(2, 6))
    return (causes @ mix * 3 + 0.1 * rng.normal(size=(rows, 6)) + 100).astype(np.float32)


def _decoupled(rows: int):
    """Rows in which every value is usual and one is not where the others say it is."""
    features = _correlated(rows, seed=5)
    features[:, 2] = np.random.default_rng(6).permutation(features[:, 2])
    return features


@pytest.mark.parametrize("baseline", [*windowed_baselines(), OriginAutoencoder(epochs=2)], ids=lambda b: b.name)
def test_baseline_scores_what_is_far_off_higher_and_unknown_as_the_mean(baseline):
    ordinary = _correlated(2000)
    baseline.fit(ordinary)
    far = _correlated(200, seed=1) + 50
    score = baseline.score(np.concatenate((_correlated(200, seed=2), far)))
    assert score.dtype == np.float64
    assert roc_auc(score, np.arange(400) >= 200) > 0.99
    unknown = np.full((1, 6), np.nan, np.float32)
    mean = ordinary.mean(axis=0, dtype=np.float64)[None].astype(np.float32)
    np.testing.assert_allclose(baseline.score(unknown), baseline.score(mean), atol=1e-3)
    assert baseline.score(np.empty((0, 6), np.float32)).shape == (0,)


@pytest.mark.parametrize("baseline", [PcaResidual(), Mahalanobis()], ids=lambda b: b.name)
def test_baseline_finds_broken_correlation_that_the_largest_deviation_cannot(baseline):
    both = np.concatenate((_correlated(500, seed=3), _decoupled(500)))
    faulty = np.arange(1000) >= 500
    reached = []
    for detector in (baseline, LargestDeviation()):
        detector.fit(_correlated(2000))
        reached.append(roc_auc(detector.score(both), faulty))
    assert reached[0] > 0.95
    assert reached[1] < 0.6


@pytest.mark.parametrize("baseline", windowed_baselines(), ids=lambda b: b.name)
def test_baseline_works_with_constant_doubled_and_never_known_features(baseline):
    ordinary = _correlated(500)

    def widen(rows):
        return np.column_stack((rows, rows[:, 0], np.full(len(rows), 7.0), np.full(len(rows), np.nan))).astype(
            np.float32
        )

    baseline.fit(widen(ordinary))
    score = baseline.score(widen(_correlated(500, seed=4)))
    assert np.isfinite(score).all()
    late = widen(_correlated(1, seed=4))
    before = baseline.score(late)
    late[:, -1] = 1e6
    assert baseline.score(late) == before


def test_largest_deviation_is_in_standard_deviations():
    detector = LargestDeviation()
    detector.fit(np.array([[0, 10], [2, 10], [np.nan, 30], [np.nan, 30]], np.float32))
    np.testing.assert_allclose(detector.score(np.array([[4, 20], [1, np.nan]], np.float32)), [3, 0])


def test_pca_keeps_the_components_that_explain_the_share():
    detector = PcaResidual()
    detector.fit(_correlated(2000))
    assert detector.components == 2
    alone = PcaResidual()
    alone.fit(_correlated(100)[:, :1])
    assert alone.components == 0


@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 100))
def test_shrunk_covariance_is_ledoit_and_wolfs(rows, size, seed):
    x = np.random.default_rng(seed).normal(size=(rows, size)) * np.arange(1, size + 1)
    x -= x.mean(axis=0)
    sample = x.T @ x / rows
    mean_variance = np.trace(sample) / size
    distance = np.sum((sample - mean_variance * np.eye(size)) ** 2) / size
    error = sum(np.sum((np.outer(row, row) - sample) ** 2) / size for row in x) / rows**2
    weight = min(error, distance) / distance if distance > 1e-12 else 0.0
    expected = weight * mean_variance * np.eye(size) + (1 - weight) * sample
    np.testing.assert_allclose(shrunk(sample, ((x**2).sum(axis=1) ** 2).sum(), rows), expected, atol=1e-9)


def test_baselines_score_by_blocks_what_they_score_at_once(monkeypatch):
    features = _decoupled(300)
    for detector in windowed_baselines():
        detector.fit(features)
        whole = detector.score(features)
        monkeypatch.setattr(baselines, "_BLOCK_ROWS", 64)
        detector.fit(features)
        np.testing.assert_allclose(detector.score(features), whole, rtol=1e-9)
        monkeypatch.undo()


def test_origins_autoencoder_is_repeatable_and_has_its_shape():
    features = np.random.default_rng(0).normal(size=(400, 10)).astype(np.float32)
    first, again = OriginAutoencoder(seed=3, epochs=1), OriginAutoencoder(seed=3, epochs=1)
    first.fit(features)
    again.fit(features)
    assert first.score(features).tolist() == again.score(features).tolist()
    assert [weights.shape for weights, _ in first._layers] == [(10, 5), (5, 5), (5, 10)]


def test_baselines_import_no_tensorflow():
    check = "import sys, training.baselines; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
