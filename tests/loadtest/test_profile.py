import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import SettingsError
from loadtest.profile import SHAPES, Profile, Shape, make_profile

_rates = st.floats(0.0, 5_000.0)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Any piecewise linear rate, jumps and rests included."""
    lasts_s = draw(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=6))
    times_s = tuple(np.cumsum([0.0, *lasts_s]).tolist())
    return Profile(times_s, tuple(draw(st.lists(_rates, min_size=len(times_s), max_size=len(times_s)))))


def _integral(profile: Profile, until_s: float) -> float:
    """Add up trapezoids: an integral in other words."""
    edges = np.array(sorted({*(time for time in profile.times_s if time < until_s), until_s}))
    total = 0.0
    for begin, end in itertools.pairwise(edges):
        inside = profile.rate_at(np.array([(2 * begin + end) / 3, (begin + 2 * end) / 3]))
        total += float(inside.mean()) * (end - begin)
    return total


@given(profiles(), st.floats(0.0, 1.0))
def test_profile_has_as_many_due_events_as_its_integral_says_up_to_any_moment(profile: Profile, share: float) -> None:
    until_s = share * profile.seconds
    due_s = profile.due_s(np.arange(profile.events))
    assert abs(np.count_nonzero(due_s <= until_s) - _integral(profile, until_s)) <= 0.5 + 1e-3
    assert abs(profile.events - profile.integral) <= 0.5


@given(profiles())
def test_profile_due_times_ascend_and_stay_within_its_time(profile: Profile) -> None:
    due_s = profile.due_s(np.arange(profile.events))
    assert (np.diff(due_s) >= -1e-9).all()
    assert ((due_s >= 0) & (due_s <= profile.seconds)).all()


@given(profiles(), st.integers(0, 10_000))
def test_profile_counts_an_event_when_it_is_due(profile: Profile, event: int) -> None:
    if event < profile.events:
        [due_s] = profile.due_s(np.array([event]))
        assert profile.due_before(due_s - 1e-3) <= event + 1
        assert profile.due_before(due_s + 1e-3) >= event


@given(st.sampled_from(SHAPES), st.floats(1.0, 20_000.0), st.floats(0.0, 1.0), st.floats(0.5, 30.0))
def test_every_shape_reaches_its_peak_and_keeps_between_base_and_peak(
    shape: Shape, rate: float, share: float, seconds: float
) -> None:
    profile = make_profile(shape, rate, share * rate, seconds)
    rates = profile.rate_at(np.linspace(0, seconds, 1_000))
    assert profile.seconds == pytest.approx(seconds)
    assert profile.peak == pytest.approx(rate)
    assert (rates >= share * rate - 1e-6).all()
    assert (rates <= rate * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("shape", "events"),
    [("constant", 1_000), ("ramp", 600), ("step", 600), ("spike", 360)],
)
def test_shapes_have_the_expected_number_of_events(shape: Shape, events: int) -> None:
    assert make_profile(shape, 100.0, 20.0, 10.0).events == events


def test_a_spike_is_where_it_should_be() -> None:
    profile = make_profile("spike", 100.0, 10.0, 10.0)
    assert profile.rate_at(np.array([3.9, 4.0, 5.9, 6.0])).tolist() == [10.0, 100.0, 100.0, 10.0]


def test_a_base_above_the_peak_is_refused_with_both_numbers() -> None:
    with pytest.raises(SettingsError, match=r"base rate is 30 and the rate, which is the profile's peak, 20"):
        make_profile("ramp", 20.0, 30.0, 10.0)
