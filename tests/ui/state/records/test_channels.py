"""What the events' fields are, read from the server's answer."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]


@pytest.mark.parametrize("junk", ["null", "'text'", "[null, 3, {}, {name: ''}, {name: 5}]"])
def test_channels_that_are_none_are_left_out(run: Run, junk: str) -> None:
    assert run(f"return (await load('state/records/channels')).readChannels({junk})") == []


def test_a_channels_range_is_an_interval_or_nothing(run: Run) -> None:
    ranges = run("""
        const { readChannels } = await load("state/records/channels");
        const rangeOf = (range) => readChannels([{name: "a", range}])[0].range;
        return [[0, 1], [1, 0], [0], "0-1", [0, null], null].map(rangeOf);
    """)
    assert ranges == [[0, 1], None, None, None, None, None]
