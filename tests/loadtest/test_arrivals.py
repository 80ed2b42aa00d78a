from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.arrivals import Arrivals

VEHICLES = 3
EXPECTED = 30


def _take(arrivals: Arrivals, sequence: list[int], due_at_s: float = 0.0, arrived_at_s: float = 1.0) -> None:
    arrivals.take(np.array(sequence, np.int64), np.full(len(sequence), due_at_s), arrived_at_s)


def _reordered(sequence: list[int]) -> int:
    """Say it plainly, one by one: a first arrival behind a later event of the same vehicle."""
    seen: set[int] = set()
    highest: dict[int, int] = {}
    count = 0
    for number in sequence:
        vehicle = number % VEHICLES
        count += number not in seen and number < highest.get(vehicle, -1)
        seen.add(number)
        highest[vehicle] = max(number, highest.get(vehicle, -1))
    return count


@given(st.lists(st.lists(st.integers(0, EXPECTED - 1), max_size=12), max_size=8))
def test_arrivals_keep_the_same_books_as_one_by_one(batches: list[list[int]]) -> None:
    arrivals = Arrivals(EXPECTED, VEHICLES)
    for batch in batches:
        _take(arrivals, batch)
    every = [number for batch in batches for number in batch]
    assert arrivals.received == len(every)
    assert arrivals.unique == len(set(every))
    assert arrivals.duplicates == sum(count - 1 for count in Counter(every).values())
    assert arrivals.reordered == _reordered(every)


def test_arrivals_measure_the_first_arrival_only() -> None:
    arrivals = Arrivals(EXPECTED, VEHICLES)
    _take(arrivals, [4], due_at_s=10.0, arrived_at_s=10.025)
    _take(arrivals, [4], due_at_s=10.0, arrived_at_s=99.0)
    assert arrivals.latency_ms(50, 99) == pytest.approx([25.0, 25.0], abs=0.01)


def test_arrivals_without_any_have_no_latency_and_no_rate() -> None:
    arrivals = Arrivals(EXPECTED, VEHICLES)
    assert np.isnan(arrivals.latency_ms(50)).all()
    assert arrivals.rate == 0.0


def test_arrivals_count_numbers_that_were_never_produced_apart() -> None:
    arrivals = Arrivals(EXPECTED, VEHICLES)
    _take(arrivals, [EXPECTED, -1, 0])
    assert (arrivals.unexpected, arrivals.received) == (2, 1)


def test_arrivals_rate_is_of_different_events_between_first_and_last() -> None:
    arrivals = Arrivals(EXPECTED, VEHICLES)
    _take(arrivals, [0, 1], arrived_at_s=100.0)
    _take(arrivals, [1, 2, 3], arrived_at_s=102.0)
    assert arrivals.rate == 2.0
