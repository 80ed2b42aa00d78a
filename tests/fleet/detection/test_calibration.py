import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fleet.detection.calibration import STEEPNESS, Calibration, aspect_errors, run_error
from fleet.detection.weighing import ERROR_LIMIT, HIGHEST_RARITY, RUN


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    """Tables as training measures them, from errors of any shape."""
    seed = draw(st.integers(0, 1_000))
    kinds, rows = draw(st.integers(1, 4)), draw(st.integers(30, 2_000))
    rng = np.random.default_rng(seed)
    shape = draw(st.sampled_from(["exponential", "heavy", "alike", "none"]))
    errors = {
        "exponential": rng.exponential(1, (rows, kinds)),
        "heavy": rng.pareto(1.0, (rows, kinds)),
        "alike": np.ones((rows, kinds)),
        "none": np.zeros((rows, kinds)),
    }[shape]
    rarity = np.arange(0.1, max(np.log10(rows) - 1, 1) + 0.05, 0.1)
    is_run = rng.random(kinds) < 0.3
    return Calibration.of(rarity, np.quantile(errors, 1 - 10.0**-rarity, axis=0).T, rarity[None], is_run)


ERRORS = st.lists(st.floats(0, ERROR_LIMIT), min_size=2, max_size=40)


@given(calibrations(), ERRORS)
def test_rarity_rises_with_the_error_and_stays_finite(calibration, errors):
    column = np.sort(np.array(errors))
    rarity = calibration.rarity_of(np.tile(column[:, None], (1, len(calibration.error))))
    assert np.isfinite(rarity).all()
    assert (np.diff(rarity, axis=0) >= -1e-12).all()
    assert rarity.min() >= 0
    assert rarity.max() <= HIGHEST_RARITY


@given(calibrations())
def test_rarity_goes_on_where_the_table_ends_without_a_step(calibration):
    end = calibration.error[:, -1]
    below, at, beyond = calibration.rarity_of(np.stack([end * (1 - 1e-9), end, end * (1 + 1e-9) + 1e-12]))
    np.testing.assert_allclose(at, calibration.rarity[-1])
    np.testing.assert_allclose(beyond, at, atol=1e-6)
    gap = np.diff(calibration.error[:, -2:], axis=1)[:, 0]
    smooth = gap > 1e-6 * (1 + end)  # else the last quantiles are the same error, and rarity rises at it
    np.testing.assert_allclose(below[smooth], at[smooth], atol=1e-2)


@given(calibrations())
def test_rarity_of_nothing_is_nothing(calibration):
    assert calibration.rarity_of(np.zeros((1, len(calibration.error)))).tolist() == [[0.0] * len(calibration.error)]


@given(calibrations(), st.floats(0.0, 12.0))
def test_error_at_is_the_inverse_of_rarity(calibration, above):
    rarity = calibration.rarity[0] + above
    errors = calibration.error_at(rarity)
    found = calibration.rarity_of(errors[None])[0]
    np.testing.assert_allclose(found, rarity, rtol=1e-5, atol=1e-5)


@given(calibrations())
def test_tables_are_fit_for_a_bundle_whatever_was_measured(calibration):
    assert (np.diff(calibration.error, axis=1) > 0).all()
    assert (calibration.error[:, 0] > 0).all()
    of_tails = calibration.steepness[calibration.steepness != RUN]
    assert ((of_tails >= STEEPNESS[0]) & (of_tails <= STEEPNESS[1])).all()


def test_a_run_is_as_rare_as_it_says_itself_also_beyond_what_was_measured():
    rarity = np.arange(0.1, 3.05, 0.1)
    calibration = Calibration.of(rarity, np.zeros((1, len(rarity))), run_error(rarity)[None], np.array([True]))
    for decades in (0.5, 2.0, 3.0, 10.0, 100.0):
        assert calibration.rarity_of(run_error(np.array([[decades]])))[0, 0] == pytest.approx(decades, rel=0.01)


def test_rarity_is_the_share_of_ordinary_events_that_reach_an_error():
    rng = np.random.default_rng(1)
    errors = 8 * rng.pareto(4.0, 200_000)
    rarity = np.arange(0.1, 3.05, 0.1)
    no_run = np.array([False])
    calibration = Calibration.of(rarity, np.quantile(errors[:100_000], 1 - 10.0**-rarity)[None], rarity[None], no_run)
    found = calibration.rarity_of(errors[100_000:, None])[:, 0]
    for decades in (0.5, 1.0, 2.0, 3.0):
        assert np.log10((found > decades).mean()) == pytest.approx(-decades, abs=0.06)
    # One decade beyond what it was measured on, the tail's fit has to do.
    assert np.log10((found > 4.0).mean()) == pytest.approx(-4.0, abs=0.4)


def test_calibration_takes_no_error_to_be_quieter_than_noise():
    rarity = np.arange(0.1, 4.05, 0.1)
    calibration = Calibration.of(rarity, np.full((1, len(rarity)), 1e-6), rarity[None], np.array([False]))
    assert calibration.rarity_of(np.array([[0.6]]))[0, 0] < 1.0
    assert calibration.rarity_of(np.array([[40.0]]))[0, 0] > 5.0


@st.composite
def signed_errors(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    aspects = draw(st.integers(1, 4))
    aspect_of = np.array(list(range(aspects)) + draw(st.lists(st.integers(0, aspects - 1), max_size=6)), np.int64)
    shape = st.tuples(st.integers(0, 5), st.just(2 * len(aspect_of) + 1))
    values = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, 3.4e38, -3.4e38, 1e-30])
    errors = draw(arrays.arrays(np.float32, shape, elements=values))
    errors[:, -1] = np.abs(errors[:, -1])
    return errors, aspect_of


@given(signed_errors())
def test_aspect_errors_are_sums_by_aspect_kind_and_sign(case):
    errors, aspect_of = case
    judged, aspects = len(aspect_of), int(aspect_of.max()) + 1
    expected = np.zeros((len(errors), 4 * aspects + 1))
    for i, row in enumerate(errors.astype(np.float64)):
        for aspect in range(aspects):
            own = np.flatnonzero(aspect_of == aspect)
            for kind in (0, 1):
                values = np.clip(row[kind * judged + own], -ERROR_LIMIT, ERROR_LIMIT)
                expected[i, 4 * aspect + 2 * kind] = -values[values < 0].sum() / len(own)
                expected[i, 4 * aspect + 2 * kind + 1] = values[values > 0].sum() / len(own)
        expected[i, -1] = min(row[-1], ERROR_LIMIT)
    np.testing.assert_allclose(aspect_errors(errors, aspect_of), expected, rtol=1e-9)
