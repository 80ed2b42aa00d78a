"""Whether a count has grown of late."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_growth_is_seen_between_two_answers_and_forgotten_after_a_minute(run: Run) -> None:
    assert run("""
        const { Growth } = await load("state/growth");
        const growth = new Growth(), seen = [];
        const answers = [[null, 1], [7, 2], [7, 3], [8, 4], [null, 5], [8, 63], [8, 64], [3, 65], [4, 66]];
        for (const [counted, nowS] of answers) {
          growth.note(counted, nowS);
          seen.push(growth.isRecent(nowS));
        }
        return seen;
    """) == [False, False, False, True, True, True, False, False, True]
