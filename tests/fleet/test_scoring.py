import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fleet.features import CAUSE_BY_FEATURE, CONDITIONS, FEATURES
from fleet.model_bundle import Calibration, LayerSizes, ModelBundle
from fleet.scoring import judge, severity

K = len(FEATURES)
JUDGED = [name for name in FEATURES if name not in CONDITIONS]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return ModelBundle(
        version="test",
        folder=tmp_path_factory.getbasetemp(),
        trained_at="2026-01-01T00:00:00Z",
        features=FEATURES,
        conditions=tuple(CONDITIONS),
        causes=tuple(CAUSE_BY_FEATURE.values()),
        mean=np.zeros(K, np.float32),
        scale=np.ones((2, K), np.float32),
        threshold=2.0,
        calibration=Calibration(np.array([0.3, 1.0, 2.0, 3.0, 4.0]), np.array([0.2, 0.5, 1.0, 2.0, 3.0])),
        layers=LayerSizes(),
        metrics={},
        weights_sha256="",
    )


def errors(**known: float) -> np.ndarray:
    return np.array([[known.get(name, np.nan) for name in FEATURES]], np.float32)


ANY_ERRORS = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 9), st.just(K)), elements=st.floats(width=32, min_value=0)
)


@given(ANY_ERRORS)
def test_judge_gives_finite_numbers_and_whole_verdicts_for_any_errors(bundle, block):
    verdicts = judge(block, bundle)
    assert np.isfinite(verdicts.reconstruction_error).all()
    assert ((verdicts.severity >= 0) & (verdicts.severity <= 1)).all()
    assert len(verdicts.causes) == len(verdicts.contributions) == len(block)
    for i, shares in enumerate(verdicts.contributions):
        assert (verdicts.causes[i] is not None) == bool(verdicts.is_anomaly[i])
        assert set(shares) <= set(JUDGED)
        assert len(shares) <= 3
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert 0 <= sum(shares.values()) <= 1.001


@given(st.lists(st.floats(0, 1e12), min_size=2, max_size=50))
def test_severity_rises_with_the_error(bundle, values):
    ordered = severity(np.sort(np.array(values)), bundle)
    assert (np.diff(ordered) >= -1e-12).all()


def test_severity_is_zero_for_no_error_a_half_at_the_threshold_and_nears_one(bundle):
    low, middle, high = severity(np.array([0.0, bundle.threshold, 1e12]), bundle)
    assert low == 0
    assert middle == pytest.approx(0.5)
    assert 0.95 < high < 1


@given(st.floats(0, 1e6), st.floats(0.001, 1e6))
def test_judge_finds_more_error_never_less_anomalous(bundle, base, more):
    verdicts = judge(np.concatenate([errors(speed_kmh=base), errors(speed_kmh=base + more)]), bundle)
    assert verdicts.is_anomaly[0] <= verdicts.is_anomaly[1]
    assert verdicts.severity[0] <= verdicts.severity[1]


@given(arrays.arrays(np.float32, K, elements=st.floats(0, 1e6, width=32)), st.sets(st.integers(0, K - 1)))
def test_judge_never_finds_an_event_more_anomalous_for_lacking_signals(bundle, row, lacking):
    partial = row.copy()
    partial[list(lacking)] = np.nan
    full, lacks = judge(np.stack([row, partial]), bundle).reconstruction_error
    assert lacks <= full


def test_judge_of_nothing_known_is_ordinary(bundle):
    verdicts = judge(errors(), bundle)
    assert verdicts.reconstruction_error.tolist() == [0.0]
    assert verdicts.severity.tolist() == [0.0]
    assert verdicts.causes == [None]
    assert verdicts.contributions == [{}]


def test_judge_does_not_judge_conditions(bundle):
    verdicts = judge(errors(night=1e9, road_rural=1e9), bundle)
    assert verdicts.reconstruction_error.tolist() == [0.0]


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        ({"speed_over_limit": 90.0, "temperature_c": 10.0}, "overspeed"),
        ({"temperature_c": 90.0, "speed_kmh": 60.0}, "engine_overheat"),
        ({"battery_pct": 90.0, "fuel_pct": 60.0}, "battery_low"),
        # Two features of one cause outweigh a larger single one.
        ({"speed_kmh": 50.0, "speed_over_limit": 50.0, "fuel_pct": 80.0}, "overspeed"),
        ({"acceleration_kmh_s": 90.0}, "harsh_motion"),
        ({"step_excess_m": 90.0}, "position_mismatch"),
    ],
)
def test_judge_names_the_cause_with_the_largest_part_of_the_error(bundle, known, cause):
    assert judge(errors(**known), bundle).causes == [cause]


def test_judge_lists_the_three_largest_shares_of_known_features(bundle):
    verdicts = judge(errors(speed_kmh=6.0, temperature_c=3.0, battery_pct=1.0, fuel_pct=0.0), bundle)
    assert verdicts.contributions == [{"speed_kmh": 0.6, "temperature_c": 0.3, "battery_pct": 0.1}]
    assert judge(errors(speed_kmh=6.0, fuel_pct=0.0), bundle).contributions == [{"speed_kmh": 1.0}]
