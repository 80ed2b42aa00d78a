"""The last things, newest last."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]


def test_ring_keeps_the_newest(run: Run) -> None:
    assert run("""
        const { Ring } = await load("state/ring");
        const ring = new Ring(3);
        const early = [ring.toArray(), ring.newest(2)];
        for (const item of [1, 2, 3, 4, 5]) ring.push(item);
        return [...early, ring.toArray(), ring.newest(2), ring.newest(9), ring.length];
    """) == [[], [], [3, 4, 5], [5, 4], [5, 4, 3], 3]
