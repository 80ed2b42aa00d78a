import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.lateness import Lateness

_notes = st.lists(st.tuples(st.floats(0, 9.9), st.floats(0, 5), st.integers(1, 50)), min_size=1, max_size=50)


@given(_notes)
def test_lateness_percentiles_never_flatter_the_generator(notes: list[tuple[float, float, int]]) -> None:
    lateness = Lateness(10.0)
    for offset_s, late_s, sent in notes:
        lateness.note(offset_s, late_s, sent)
    each_ms = np.repeat([late_s * 1000 for _, late_s, _ in notes], [sent for *_, sent in notes])
    assert lateness.percentile_ms(99) >= np.percentile(each_ms, 99, method="inverted_cdf") - 1e-6
    assert lateness.percentile_ms(100) == pytest.approx(each_ms.max())


def test_lateness_under_kafkas_push_back_is_not_the_generators() -> None:
    lateness = Lateness(10.0)
    lateness.note(1.0, 0.004, 100)
    lateness.note(2.0, 3.0, 100, is_held_up=True)
    assert lateness.percentile_ms(99) == pytest.approx(4.0)
    assert lateness.held_up_s == pytest.approx(0.1)


def test_lateness_of_several_processes_is_that_of_the_latest() -> None:
    total, other = Lateness(10.0), Lateness(10.0)
    total.note(1.0, 0.001, 10)
    other.note(1.0, 0.5, 10)
    total.add(other)
    assert total.percentile_ms(50) == pytest.approx(500.0)
    assert total.sent.sum() == 20


def test_lateness_without_anything_sent_is_none() -> None:
    assert Lateness(1.0).percentile_ms(99) == 0.0
