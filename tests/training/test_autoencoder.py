import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fleet.detection.features import FeaturePlan
from fleet.events.channels import Channel, ChannelSpec
from training.autoencoder import FARTHEST_BOUND, Autoencoder

PLAN = FeaturePlan.of(
    ChannelSpec(
        "four",
        (
            Channel("a", group="left", features=("level", "lost")),
            Channel("b", group="left", features=("level",)),
            Channel("c", features=("level", "fast")),
            Channel("d", features=("level",)),
            Channel("told", role="context"),
        ),
        timing=False,
    )
)
K = len(PLAN.features)
J = len(PLAN.aspect_of)
ORDINARY = np.linspace(-5, 60, K)
SPREAD = np.stack([np.full(K, 2.0), np.full(K, 4.0)])
UNITS = 6


def fresh_model(seed: int = 3) -> Autoencoder:
    """A network that was never trained; its whitening passes residuals through."""
    model = Autoencoder.create(PLAN, ORDINARY, SPREAD, UNITS, seed)
    rng = np.random.default_rng(seed)
    model.start_linear(rng.normal(0, 0.3, (K, J)))
    model.set_whitening(np.eye(J), np.eye(J))
    model.set_bounds(np.array([[-3.0], [2.0]]).repeat(J, axis=1))
    return model


@pytest.fixture(scope="module")
def fresh() -> Autoencoder:
    return fresh_model()


def ordinary(rows: int) -> np.ndarray:
    return (ORDINARY + np.random.default_rng(1).normal(0, 2, (rows, K))).astype(np.float32)


def column(name: str) -> int:
    return PLAN.names.index(name)


def test_errors_are_two_of_each_judged_feature_and_one_of_all(fresh):
    errors = fresh.errors(ordinary(50))
    assert errors.shape == (50, 2 * J + 1)
    assert (errors[:, -1] > 0).all()
    assert (errors[:, :-1] < 0).any(), "too low is negative"
    two_sided = PLAN.sides[:J] == 0
    scaled = fresh.scaled(ordinary(50))[:, :J]
    np.testing.assert_allclose(errors[:, J : 2 * J][:, two_sided], (scaled * np.abs(scaled))[:, two_sided], rtol=1e-4)


def test_what_is_unknown_has_no_error():
    fresh, features = fresh_model(), ordinary(50)
    mixing = np.eye(J) + 0.2  # as whitening mixes the features of an aspect
    fresh.set_whitening(mixing, mixing)
    features[:, column("c_level")] = np.nan
    errors = fresh.errors(features)
    assert (errors[:, [column("c_level"), J + column("c_level")]] == 0).all()
    assert (errors[:, column("c_fast")] != 0).all()
    assert np.isfinite(errors).all()
    assert (fresh.errors(np.full((3, K), np.nan, np.float32)) == 0).all()


@pytest.mark.parametrize("value", [3e38, -3e38, 1e9, -1e9, 0.0])
def test_errors_are_finite_for_absurd_features(fresh, value):
    assert np.isfinite(fresh.errors(np.full((3, K), value, np.float32))).all()
    assert np.isfinite(fresh.imputed_errors(np.full((3, K), value, np.float32))).all()
    assert np.isfinite(fresh.expectations(np.full((3, K), value, np.float32))).all()


def test_an_event_scores_the_same_in_any_block(fresh):
    features = ordinary(1000)
    together = fresh.errors(features)
    for row in (0, 511, 999):
        np.testing.assert_allclose(fresh.errors(features[row : row + 1])[0], together[row], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, 500.0, -500.0])
def test_no_channel_is_reconstructed_with_the_help_of_its_own_group(fresh, value):
    features = ordinary(40)
    changed = features.copy()
    changed[:, column("b_level")] = value
    before, after = fresh.residuals(features), fresh.residuals(changed)
    np.testing.assert_array_equal(after[:, column("a_level")], before[:, column("a_level")])
    assert (after[:, column("d_level")] != before[:, column("d_level")]).any(), "other groups do look at it"


def test_what_is_told_helps_to_reconstruct_and_has_no_error_itself(fresh):
    features = ordinary(40)
    changed = features.copy()
    changed[:, column("told")] += 5
    assert (fresh.residuals(changed) != fresh.residuals(features)).any()
    assert fresh.residuals(features).shape == (40, J)


def test_too_little_of_what_can_only_be_too_much_is_no_error(fresh):
    features = ordinary(20)
    features[:, column("a_lost")] = -1e6
    assert (fresh.residuals(features)[:, column("a_lost")] == 0).all()
    features[:, column("a_lost")] = ORDINARY[column("a_lost")]
    assert (fresh.residuals(features)[:, column("a_lost")] == 0).all(), "whatever the network expected"
    features[:, column("a_lost")] = 1e6
    assert (fresh.residuals(features)[:, column("a_lost")] > 0).all()


def test_only_too_little_is_an_error_where_the_channel_says_so():
    plan = FeaturePlan.of(ChannelSpec("one", (Channel("a", finding="low", features=("level",)),), timing=False))
    ordinary, spread = np.zeros(len(plan.features)), np.ones((2, len(plan.features)))
    model = Autoencoder.create(plan, ordinary, spread, UNITS, seed=3)
    model.set_whitening(np.eye(1), np.eye(1))
    features = np.zeros((2, len(plan.features)), np.float32)
    features[:, 0] = [-5, 5]
    low, high = model.errors(features)[:, :2]
    assert (low < 0).all()
    assert (high == 0).all()


def test_imputing_a_group_takes_its_own_errors_away(fresh):
    features = ordinary(30)
    remaining = fresh.imputed_errors(features)
    assert remaining.shape == (30, len(PLAN.groups), 2 * J + 1)
    for name in ("a_level", "b_level", "d_level"):
        own = PLAN.group_of[column(name)]
        np.testing.assert_allclose(remaining[:, own, column(name)], 0.0, atol=1e-6)
        assert (np.abs(remaining[:, (own + 1) % len(PLAN.groups), column(name)]) > 1e-6).any()


@given(arrays.arrays(np.float32, (4, K), elements=st.floats(-1e9, 1e9, width=32)))
def test_what_is_scaled_is_given_back_by_unscaling(features):
    scaled = SCALING.scaled(features)[:, :J]
    back = SCALING._unscaled(scaled).numpy()
    # Far away a float32 holds the logarithm of a value, and less of the value.
    np.testing.assert_allclose(back, features[:, :J], rtol=1e-5, atol=1e-4)


SCALING = fresh_model()


def test_what_is_expected_stands_between_its_bounds_and_comes_from_the_other_groups(fresh):
    features = ordinary(200)
    low, expected, high = fresh.expectations(features).transpose(1, 0, 2)
    assert (low < expected).all()
    assert (expected < high).all()
    changed = features.copy()
    changed[:, [column("a_level"), column("b_level")]] = 1e6
    own = [column("a_level"), column("b_level")]
    np.testing.assert_array_equal(fresh.expectations(changed)[:, :, own], fresh.expectations(features)[:, :, own])
    assert (fresh.expectations(changed)[:, 1, column("d_level")] != expected[:, column("d_level")]).any()


def test_bounds_reach_no_farther_than_means_something():
    model = fresh_model()
    model.start_linear(np.full((K, J), 1e6))
    expectations = model.expectations(ordinary(20))
    farthest = ORDINARY[:J] + SPREAD[1, :J] * np.exp(FARTHEST_BOUND)
    assert (np.abs(expectations) <= farthest).all()


def test_training_learns_what_goes_together_and_finds_what_contradicts_it():
    rng = np.random.default_rng(5)
    load = rng.normal(0, 1, 6000)
    features = (ORDINARY + 2 * load[:, None] + rng.normal(0, 0.2, (6000, K))).astype(np.float32)
    model = Autoencoder.create(PLAN, ORDINARY, SPREAD, UNITS, seed=3)
    model.set_whitening(np.eye(J), np.eye(J))
    before = model.loss(features)
    for _ in range(12):
        model.train_epoch(features, 128, 5e-3, hidden_share=0.3)
    assert model.loss(features) < before - 0.3
    strange = features[:200].copy()
    strange[:, column("d_level")] = ORDINARY[column("d_level")] - 2 * load[:200] - 4
    sharp = np.abs(model.errors(strange)[:, :J])
    usual = np.abs(model.errors(features[:200])[:, :J])
    assert np.median(sharp[:, column("d_level")]) > 5 * np.median(usual[:, column("d_level")])


def test_the_same_seed_begins_the_same(fresh):
    np.testing.assert_array_equal(fresh_model().errors(ordinary(5)), fresh.errors(ordinary(5)))


def test_weights_can_be_taken_back(fresh):
    model, features = fresh_model(), ordinary(400)
    kept, before = model.weights(), model.errors(features)
    model.train_epoch(features, 32, 1e-2, hidden_share=0.0)
    assert (model.errors(features) != before).any()
    model.set_weights(kept)
    np.testing.assert_array_equal(model.errors(features), before)
