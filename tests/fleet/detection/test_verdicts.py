import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fleet.detection.calibration import event_rarity
from fleet.detection.features import FeaturePlan
from fleet.detection.verdicts import Scores, aspect_rarity, judge, severity, weigh
from fleet.events.channels import Channel, ChannelSpec
from tests.small_detector import made_up_bundle

PLAN = FeaturePlan.of(
    ChannelSpec(
        "three",
        (
            Channel("speed", cause="overspeed", features=("level", "fast", "medium", "frozen")),
            Channel("heat", cause="engine_overheat", features=("level",)),
            Channel("charge", cause="battery_low", features=("level",)),
        ),
        timing=False,
    )
)
BUNDLE = made_up_bundle(PLAN, threshold=3.0)
JUDGED = BUNDLE.judged
NAMES = PLAN.names[:JUDGED]


def errors(joint: float = 0.0, **sharp: float) -> np.ndarray:
    row = np.zeros((1, 2 * JUDGED + 1), np.float32)
    row[0, -1] = joint
    for name, error in sharp.items():
        row[0, NAMES.index(name)] = error
    return row


def verdict_of(joint: float = 0.0, **sharp: float) -> tuple[float, str | None, dict[str, float]]:
    verdicts = judge(weigh(errors(joint, **sharp), BUNDLE), BUNDLE)
    return float(verdicts.reconstruction_error[0]), verdicts.causes[0], verdicts.contributions[0]


SIGNED = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, -0.0, np.float32(3.4e38), np.float32(-3.4e38)])
ANY_ERRORS = arrays.arrays(np.float32, st.tuples(st.integers(0, 9), st.just(2 * JUDGED)), elements=SIGNED).flatmap(
    lambda block: arrays.arrays(
        np.float32, (len(block), 1), elements=st.floats(0, 3.0000000054977558e38, width=32)
    ).map(lambda joint: np.concatenate([block, joint], axis=1))
)


@given(ANY_ERRORS)
def test_verdicts_are_finite_and_whole_for_any_errors(block):
    scores = weigh(block, BUNDLE)
    verdicts = judge(scores, BUNDLE)
    assert np.isfinite(scores.share).all()
    assert np.isfinite(verdicts.reconstruction_error).all()
    assert ((verdicts.severity >= 0) & (verdicts.severity <= 1)).all()
    assert len(verdicts.causes) == len(verdicts.contributions) == len(block)
    for i, shares in enumerate(verdicts.contributions):
        assert (verdicts.causes[i] is not None) == bool(verdicts.is_anomaly[i])
        assert set(shares) <= set(NAMES)
        assert len(shares) <= 3
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert 0 <= sum(shares.values()) <= 1.001


@given(ANY_ERRORS)
def test_an_events_error_is_that_of_its_largest_aspect_and_the_joint_one_added(block):
    scores = weigh(block, BUNDLE)
    rarity = aspect_rarity(block, BUNDLE)
    expected = event_rarity(rarity)
    # Between the two an error is too small for its share to be a number, and may count or not.
    known = (np.abs(block[:, :-1]) > 1e-20).any(axis=1)
    unknown = (block[:, :-1] == 0).all(axis=1)
    told = known & (rarity[:, :-1].max(axis=1, initial=0.0) > BUNDLE.calibration.rarity[0])
    np.testing.assert_allclose(scores.error[told], expected[told], rtol=1e-5)
    # Below the table an aspect is ordinary, and need not be exact.
    ordinary = known & ~told
    np.testing.assert_allclose(scores.error[ordinary], expected[ordinary], atol=BUNDLE.calibration.rarity[0] + 1e-5)
    assert (scores.error[unknown] == 0).all()


@given(ANY_ERRORS, st.integers(0, 9))
def test_scores_of_a_part_are_a_part_of_the_scores(block, cut):
    whole = weigh(block, BUNDLE)
    parts = [weigh(part, BUNDLE) for part in (block[:cut], block[cut:])]
    for found in (Scores.joined(parts), Scores.joined([whole.rows(0, cut), whole.rows(cut, len(block))])):
        for name in ("error", "aspect", "explained", "largest", "share"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


@given(st.lists(st.floats(0, 300), min_size=2, max_size=50), st.floats(0.5, 10))
def test_severity_rises_with_the_error_and_is_a_half_at_the_threshold(values, threshold):
    ordered = severity(np.sort(np.array(values)), threshold)
    assert (np.diff(ordered) >= 0).all()
    low, middle, high = severity(np.array([0.0, threshold, 300.0]), threshold)
    assert low == 0
    assert middle == pytest.approx(0.5)
    assert 0.99 < high <= 1


@given(st.floats(0, 1e6), st.floats(0.001, 1e6), st.sampled_from([-1.0, 1.0]))
def test_more_error_is_never_less_anomalous(base, more, sign):
    block = np.concatenate([errors(heat_level=sign * base), errors(heat_level=sign * (base + more))])
    verdicts = judge(weigh(block, BUNDLE), BUNDLE)
    assert verdicts.is_anomaly[0] <= verdicts.is_anomaly[1]
    assert verdicts.severity[0] <= verdicts.severity[1]


@given(ANY_ERRORS, st.sets(st.integers(0, JUDGED - 1)))
def test_an_event_is_never_more_anomalous_for_lacking_signals(block, lacking):
    partial = block.copy()
    for k in lacking:
        partial[:, [k, JUDGED + k]] = 0.0  # as the network has it where a feature is unknown
    assert (weigh(partial, BUNDLE).error <= weigh(block, BUNDLE).error + 1e-6).all()


def test_an_event_of_which_nothing_is_known_is_ordinary():
    assert verdict_of() == (0.0, None, {})
    assert verdict_of(joint=1e9) == (0.0, None, {}), "without a judged feature there is nothing to judge"
    none = judge(Scores.none(2), BUNDLE)
    assert none.reconstruction_error.tolist() == none.severity.tolist() == [0.0, 0.0]
    assert none.contributions == [{}, {}]


def test_the_cause_is_the_aspect_with_the_rarest_error():
    assert verdict_of(heat_level=4.0, charge_level=2.0)[1] == "engine_overheat"
    assert verdict_of(heat_level=4.0, charge_level=-60.0)[1] == "battery_low", "too little is an error as well"
    assert verdict_of(speed_frozen=9.0, heat_level=4.0)[1] == "stuck_sensor"
    assert verdict_of(speed_fast=5.0, speed_medium=5.0)[1] == "overspeed"


def test_an_aspects_error_is_a_mean_over_its_features_known_or_not():
    assert verdict_of(speed_fast=4.0)[0] == pytest.approx(2.0, abs=1e-6)
    assert verdict_of(speed_fast=4.0, speed_medium=2.0)[0] == pytest.approx(3.0, abs=1e-6)
    assert verdict_of(speed_fast=4.0, speed_medium=-4.0)[0] == pytest.approx(2.0, abs=1e-6), "opposite signs do not add"


def test_an_event_odd_as_a_whole_alarms_and_names_its_oddest_part():
    error, cause, shares = verdict_of(joint=50.0, heat_level=1.5, charge_level=0.5)
    assert error > BUNDLE.threshold
    assert cause == "engine_overheat"
    assert shares == {"heat_level": 0.75, "charge_level": 0.25}


def test_contributions_are_the_three_largest_shares_of_known_features():
    shares = verdict_of(heat_level=6.0, charge_level=-3.0, speed_frozen=1.0, speed_level=0.0)[2]
    assert shares == {"heat_level": 0.6, "charge_level": 0.3, "speed_frozen": 0.1}
    assert verdict_of(heat_level=6.0)[2] == {"heat_level": 1.0}
