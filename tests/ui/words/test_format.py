"""Numbers and times as text."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_numbers_are_written_as_people_read_them(run: Run) -> None:
    assert run("""
        const { count, decimal, percent, duration, span, clockTime } = await load("words/format");
        return [count(12345.6), count(null), decimal(-0.04), decimal(-1.25), percent(0.034), percent(0.5),
          duration(0.1456), duration(3.21), duration(75), duration(600), span(2.9), clockTime(1e300)];
    """) == ["12,346", "–", "0.0", "−1.3", "3.4 %", "50 %", "146 ms", "3.2 s", "75 s", "10 min", "2 s", "–"]
