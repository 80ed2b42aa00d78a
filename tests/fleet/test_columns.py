from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fleet.columns import Columns


@dataclass(frozen=True, slots=True)
class Block(Columns):
    partition: int
    numbers: NDArray[np.float64]
    pairs: NDArray[np.int64]
    words: list[str | None]
    optional: NDArray[np.bool_] | None = None


def block(count: int, first: int = 0, optional: bool = False) -> Block:
    places = np.arange(first, first + count)
    pairs = np.column_stack([places, -places])
    return Block(7, places * 0.5, pairs, [f"w{place}" for place in places], places > 2 if optional else None)


def assert_same(found: Block, expected: Block) -> None:
    assert (found.partition, found.words) == (expected.partition, expected.words)
    for name in ("numbers", "pairs", "optional"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@given(st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_rows_that_are_cut_and_joined_are_the_block(count, cut, optional):
    whole = block(count, optional=optional)
    first, second = whole.rows(0, cut), whole.rows(cut, count)
    assert_same(first, block(min(cut, count), optional=optional))
    assert_same(Block.joined([first, second]), whole)


@given(st.lists(st.integers(0, 5), max_size=8))
def test_picked_rows_come_in_the_order_that_was_asked_for(places):
    found = block(6).picked(np.array(places, np.intp))
    assert found.words == [f"w{place}" for place in places]
    assert found.pairs.tolist() == [[place, -place] for place in places]
    assert (found.partition, found.optional) == (7, None)
