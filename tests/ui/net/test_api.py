"""How far the server's clock is ahead, as its answers' dates tell it."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_clock_skew_is_only_what_a_slow_answer_cannot_explain(run: Run) -> None:
    assert run("""
        const { clockSkewMs } = await load("net/api");
        return [clockSkewMs(10_000, 10_300, 10_400), clockSkewMs(10_000, 10_300, 14_900),
          clockSkewMs(15_000, 10_000, 10_100), clockSkewMs(5000, 10_000, 10_100)];
    """) == [0, 0, 4900, -4000]
