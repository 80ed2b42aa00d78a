from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.backoff import BackOff


def test_back_off_doubles_its_delays_up_to_the_bound() -> None:
    back_off = BackOff(0.2, 1.0)
    assert [back_off.next_s() for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]


def test_back_off_begins_again_after_a_success() -> None:
    back_off = BackOff(0.2, 1.0)
    assert (back_off.next_s(), back_off.delay_s) == (0.2, 0.4)
    back_off.reset()
    assert (back_off.delay_s, back_off.next_s()) == (0.2, 0.2)


@given(st.floats(0.0, 10.0), st.floats(0.0, 100.0))
def test_back_off_stays_within_its_bounds_and_never_gets_impatient(first_s: float, more_s: float) -> None:
    back_off = BackOff(first_s, first_s + more_s)
    delays_s = [back_off.next_s() for _ in range(20)]
    assert delays_s[0] == first_s
    assert all(earlier <= later <= 2 * earlier for earlier, later in pairwise(delays_s))
    assert max(delays_s) <= first_s + more_s


@pytest.mark.parametrize(("first_s", "longest_s"), [(-0.1, 1.0), (2.0, 1.0)])
def test_back_off_refuses_bounds_that_contradict_each_other(first_s: float, longest_s: float) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        BackOff(first_s, longest_s)
