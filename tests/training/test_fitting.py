"""The fit on small tables of rows: scaling, thresholds that hold on other trips, and a detector that finds things."""

import dataclasses

import numpy as np
import pytest

from fleet.detection.features import FeaturePlan
from fleet.detection.verdicts import weigh
from fleet.events.channels import plain_spec
from tests.small_detector import made_up_bundle
from training.fitting import (
    FitSettings,
    TrainingError,
    calibrate,
    fit_detector,
    scaling,
    tail_threshold,
    trip_threshold,
    trips_kept,
)

PLAN = FeaturePlan.of(plain_spec("three", ("a", "b", "c"), 100.0, ["level"]))
K = len(PLAN.features)
SETTINGS = FitSettings(epochs=4, hidden_units=4, false_alarm_rate=0.005)


def silent(_line: str) -> None:
    pass


def rows(seed: int, count: int = 2_000, trips: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Three channels that follow one load, each trip at a level of its own."""
    rng = np.random.default_rng(seed)
    trip = np.repeat(np.arange(trips), count // trips)
    load = rng.normal(0, 1, trips)[trip] + rng.normal(0, 1, len(trip))
    features = np.zeros((len(trip), K), np.float32)
    features[:, :3] = np.stack([50 + 5 * load, -3 * load, 100 + load], axis=1) + rng.normal(0, 0.3, (len(trip), 3))
    return features, trip


def test_scaling_is_by_median_and_quantiles_on_either_side():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 100_000)
    features = np.zeros((len(values), K), np.float32)
    features[:, 0] = np.where(values > 0, 3 * values, values) + 10
    features[:, 1] = np.nan
    ordinary, spread = scaling(features, PLAN)
    assert ordinary[0] == pytest.approx(10, abs=0.05)
    assert spread[0, 0] == pytest.approx(1, rel=0.03)
    assert spread[1, 0] == pytest.approx(3, rel=0.03)
    assert np.isfinite(ordinary).all(), "a signal that nobody sends is no reason to fail"
    assert (spread > 0).all()


def test_scaling_is_not_moved_by_a_few_faults():
    features, _ = rows(1)
    spoilt = features.copy()
    spoilt[::100, :3] = 1e6
    np.testing.assert_allclose(scaling(spoilt, PLAN)[0][:3], scaling(features, PLAN)[0][:3], atol=0.3)
    assert (scaling(spoilt, PLAN)[1][:, :3] < 3 * np.maximum(scaling(features, PLAN)[1][:, :3], 1e6 / 100)).all()


def test_a_threshold_holds_on_trips_that_were_not_drawn():
    rng = np.random.default_rng(0)

    def errors() -> tuple[np.ndarray, np.ndarray]:
        scale = rng.lognormal(0, 0.5, 200)  # some vehicles are rougher than others
        return (rng.exponential(1, (200, 500)) * scale[:, None]).ravel(), np.repeat(np.arange(200), 500)

    exceeded = [(errors()[0] > tail_threshold(*errors(), 0.001, rng)).mean() for _ in range(10)]
    assert np.median(exceeded) < 0.0011
    assert np.median(exceeded) > 0.0002


def test_a_threshold_goes_on_where_the_rows_run_out():
    rng = np.random.default_rng(1)
    trip = np.repeat(np.arange(40), 50)
    found = [
        [tail_threshold(rng.exponential(1 / np.log(10), 2_000), trip, rate, rng) for rate in (0.01, 0.001, 0.0001)]
        for _ in range(20)
    ]
    # The errors are -log10 of their own tail probability, so the right answers are 2, 3 and 4.
    np.testing.assert_allclose(np.median(found, axis=0), [2, 3, 4], atol=0.5)


def test_nine_in_ten_other_trips_have_at_most_twice_the_rate():
    rng = np.random.default_rng(2)

    def trips(count: int) -> tuple[np.ndarray, np.ndarray]:
        scale = rng.lognormal(0, 0.7, count)
        return (rng.exponential(1, (count, 1_000)) * scale[:, None]).ravel(), np.repeat(np.arange(count), 1_000)

    kept = []
    for _ in range(20):
        threshold = trip_threshold(*trips(40), 0.001)
        error, trip = trips(200)
        kept.append(trips_kept(error > threshold, trip, 0.001).mean())
    assert np.mean(kept) > 0.87


def test_few_trips_promise_what_all_of_them_keep():
    error, trip = np.array([1.0, 5.0, 2.0, 3.0]), np.array([0, 1, 0, 1])
    assert trip_threshold(error, trip, 0.001) == 5.0
    assert trips_kept(error > 5.0, trip, 0.001).tolist() == [True, True]
    assert trips_kept(error > 2.5, trip, 0.001).tolist() == [True, False]


@pytest.fixture(scope="module")
def fitted():
    return fit_detector(PLAN, rows(1), rows(2), SETTINGS, silent)


def errors_of(fitted, features: np.ndarray) -> np.ndarray:
    bundle = made_up_bundle(PLAN)
    object.__setattr__(bundle, "calibration", fitted.calibration)
    object.__setattr__(bundle, "threshold", fitted.threshold)
    return weigh(fitted.model.errors(features), bundle).error


def test_a_detector_keeps_its_rate_on_other_trips_and_finds_contradictions(fitted):
    others, _ = rows(3, 20_000, 200)
    assert (errors_of(fitted, others) > fitted.threshold).mean() < 3 * SETTINGS.false_alarm_rate
    strange = others[:500].copy()
    strange[:, 0] = 100 - strange[:, 0]  # mirrored: each value ordinary, but not with the others
    odd = np.abs(strange[:, 0] - 50) > 5
    assert (errors_of(fitted, strange[odd]) > fitted.threshold).mean() > 0.9
    far = others[:50].copy()
    far[:, 2] = 1e6
    assert (errors_of(fitted, far) > fitted.threshold).all()


def test_a_detector_trained_for_long_enough_does_without_what_it_knew_in_training(fitted):
    """Rows that lack a signal alarm more often; hiding signals in training is what it is for that they hardly do."""
    partial, _ = rows(4)
    partial[:, 1] = np.nan
    longer = fit_detector(PLAN, rows(1), rows(2), dataclasses.replace(SETTINGS, least_steps=2_000), silent)
    assert np.isfinite(errors_of(longer, partial)).all()
    alarms = [(errors_of(detector, partial) > detector.threshold).mean() for detector in (fitted, longer)]
    assert alarms[1] < min(0.15, alarms[0])


def test_faults_hidden_in_the_training_rows_hardly_matter(fitted):
    features, trip = rows(1)
    rng = np.random.default_rng(8)
    spoilt = features.copy()
    bad = rng.random(len(features)) < 0.05
    spoilt[bad, 0] = 100 - spoilt[bad, 0] + 30
    robust = fit_detector(PLAN, (spoilt, trip), rows(2), SETTINGS, silent)
    strange, _ = rows(5)
    strange[:, 0] += 30
    for detector in (fitted, robust):
        assert (errors_of(detector, strange) > detector.threshold).mean() > 0.95


def test_calibrating_says_the_rate_and_gives_a_table_fit_for_a_bundle(fitted):
    lines: list[str] = []
    again = calibrate(fitted.model, PLAN, rows(2), SETTINGS, lines.append)
    assert any("0.005" in line for line in lines)
    assert again.threshold == fitted.threshold
    assert (np.diff(again.calibration.rarity) > 0).all()
    assert (np.diff(again.calibration.error, axis=1) > 0).all()


def test_the_same_seed_fits_the_same(fitted):
    again = fit_detector(PLAN, rows(1), rows(2), SETTINGS, silent)
    features, _ = rows(6)
    np.testing.assert_allclose(errors_of(again, features), errors_of(fitted, features), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("count", [0, 5, 19])
def test_too_few_rows_are_refused_with_their_number(count):
    few = rows(1)[0][:count], rows(1)[1][:count]
    for training, calibration in ((few, rows(2)), (rows(1), few)):
        with pytest.raises(TrainingError, match=rf"{count}.* rows are too few"):
            fit_detector(PLAN, training, calibration, SETTINGS, silent)


def test_a_few_hundred_rows_of_one_trip_are_enough():
    features, trip = rows(1, 400, 1)
    fitted = fit_detector(PLAN, (features[:250], trip[:250]), (features[250:], trip[250:]), SETTINGS, silent)
    assert np.isfinite(fitted.threshold)
    assert (errors_of(fitted, rows(7, 400, 1)[0]) < 300).all()
