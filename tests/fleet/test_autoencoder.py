import subprocess
import sys

import numpy as np
import pytest

from fleet.autoencoder import Autoencoder
from fleet.errors import ModelBundleError
from fleet.features import CONDITIONS, FEATURES
from fleet.model_bundle import Calibration, LayerSizes, ModelBundle, write_bundle

K = len(FEATURES)
JUDGED = np.array([name not in CONDITIONS for name in FEATURES])
MEAN = np.linspace(-5, 60, K).astype(np.float32)
SCALE = np.stack([np.full(K, 2.0), np.full(K, 4.0)]).astype(np.float32)


@pytest.fixture(scope="module")
def fresh() -> Autoencoder:
    return Autoencoder.create(MEAN, SCALE, JUDGED, LayerSizes(), seed=3)


@pytest.fixture(scope="module")
def bundle(fresh: Autoencoder, tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return write_bundle(
        tmp_path_factory.mktemp("models"),
        save_weights=fresh.save_weights,
        mean=MEAN,
        scale=SCALE,
        threshold=1.0,
        calibration=Calibration(np.array([0.5, 1.0]), np.array([0.5, 1.0])),
        layers=LayerSizes(),
        metrics={},
    )


def ordinary(rows: int) -> np.ndarray:
    return (MEAN + np.random.default_rng(1).normal(0, 2, (rows, K))).astype(np.float32)


def test_autoencoder_loaded_from_its_bundle_scores_the_same(fresh, bundle):
    features = ordinary(300)
    features[::3, 4] = np.nan
    np.testing.assert_allclose(Autoencoder.load(bundle).errors(features), fresh.errors(features), rtol=1e-4)


def test_autoencoder_knows_no_error_where_a_feature_is_unknown_and_none_of_conditions(fresh):
    features = ordinary(50)
    features[:, 3] = np.nan
    errors = fresh.errors(features)
    assert np.isnan(errors[:, 3]).all()
    assert (errors[:, ~JUDGED] == 0).all()
    assert np.isfinite(np.delete(errors, 3, axis=1)).all()


@pytest.mark.parametrize("value", [3e38, -3e38, 1e9, -1e9, 0.0])
def test_autoencoder_gives_finite_errors_for_absurd_features(fresh, value):
    errors = fresh.errors(np.full((3, K), value, np.float32))
    assert np.isfinite(errors).all()


def test_autoencoder_scores_an_event_the_same_in_any_block(fresh):
    features = ordinary(1000)
    together = fresh.errors(features)
    for row in (0, 511, 999):
        np.testing.assert_allclose(fresh.errors(features[row : row + 1])[0], together[row], rtol=1e-3, atol=1e-5)


def test_autoencoder_learns_to_reconstruct_and_then_finds_what_it_never_saw():
    rng = np.random.default_rng(5)
    hidden = rng.normal(0, 1, (8000, 3)).clip(-2.5, 2.5)
    features = (MEAN + 2 * hidden @ rng.normal(0, 0.5, (3, K))).astype(np.float32)
    model = Autoencoder.create(MEAN, SCALE, JUDGED, LayerSizes(), seed=3)
    losses = [model.train_epoch(features, features, 256, 3e-3) for _ in range(8)]
    assert losses[-1] < losses[0] - 1
    strange = features[:200].copy()
    strange[:, 5] += 40.0
    errors = model.errors(strange)
    assert (np.nanargmax(errors, axis=1) == 5).mean() > 0.95
    assert np.median(errors[:, 5]) > 50 * np.median(model.errors(features[:200])[:, 5])


def test_autoencoder_with_the_same_seed_begins_the_same(fresh):
    again = Autoencoder.create(MEAN, SCALE, JUDGED, LayerSizes(), seed=3)
    np.testing.assert_array_equal(again.errors(ordinary(5)), fresh.errors(ordinary(5)))


def test_autoencoder_refuses_weights_of_other_layers(fresh, tmp_path):
    wrong = write_bundle(
        tmp_path,
        save_weights=fresh.save_weights,
        mean=MEAN,
        scale=SCALE,
        threshold=1.0,
        calibration=Calibration(np.array([0.5, 1.0]), np.array([0.5, 1.0])),
        layers=LayerSizes(encoder=7),
        metrics={},
    )
    with pytest.raises(ModelBundleError, match="does not hold the weights of the layers"):
        Autoencoder.load(wrong)


def test_bundles_and_verdicts_need_no_tensorflow():
    program = "import sys, fleet.model_bundle, fleet.scoring, fleet.features; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
