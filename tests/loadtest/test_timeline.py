import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.timeline import PERCENTS, edges_s, percentiles, rates


@given(st.lists(st.tuples(st.floats(0, 10), st.one_of(st.floats(0, 1e6), st.just(np.nan))), max_size=60))
def test_percentiles_by_piece_are_those_of_what_was_due_in_it(events: list[tuple[float, float]]) -> None:
    offsets_s, values = (np.array([event[part] for event in events], np.float64) for part in (0, 1))
    edges = edges_s(10.0)
    found = percentiles(offsets_s, values, edges)
    for piece in range(len(edges) - 1):
        is_last = piece == len(edges) - 2
        inside = (offsets_s >= edges[piece]) & ((offsets_s < edges[piece + 1]) | is_last) & ~np.isnan(values)
        expected = np.percentile(values[inside], PERCENTS) if inside.any() else np.full(3, np.nan)
        np.testing.assert_allclose(found[:, piece], expected)


def test_rates_add_up_to_what_happened() -> None:
    edges = edges_s(3.0)
    assert (rates(np.array([0.1, 0.2, 1.1, 2.9, 3.0]), edges) * np.diff(edges)).sum() == 5


def test_edges_are_bounded_in_number() -> None:
    assert len(edges_s(0.1)) == 2
    assert len(edges_s(86_400.0)) == 241
