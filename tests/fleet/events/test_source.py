import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.events.source import Source, read_sources

NONE = [
    b"",
    b":",
    b"1:",
    b":1",
    b"1:2:3",
    b"-1:2",
    b"1:-2",
    b"1,2",
    b" 1:2",
    b"1:2\n",
    b"a:1",
    b"1234567890:1",
    b"\xff",
]
sources = st.builds(Source, st.integers(0, 10**9 - 1), st.integers(0, 10**18 - 1))


@given(sources)
def test_source_reads_what_it_writes(source: Source) -> None:
    assert Source.read(str(source).encode()) == source


@pytest.mark.parametrize("text", [None, *NONE])
def test_source_is_none_where_the_text_is_none(text: bytes | None) -> None:
    assert Source.read(text) is None


@given(st.lists(sources | st.sampled_from(NONE), min_size=1, max_size=30))
def test_read_sources_reads_each_as_one_alone(mixture: list[Source | bytes]) -> None:
    texts = [str(one).encode() if isinstance(one, Source) else one for one in mixture]
    partitions, offsets = read_sources(texts)
    assert partitions.dtype == offsets.dtype == np.int64
    expected = [one if isinstance(one, Source) else (-1, -1) for one in mixture]
    assert list(zip(partitions.tolist(), offsets.tolist(), strict=True)) == expected
