import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.feed.cursor import BadCursorError, Cursor
from fleet.delivery.feed.recovery import (
    Edges,
    GoOn,
    NotRecovered,
    Plan,
    RecoveryLimits,
    plan_recovery,
)
from tests.fleet.delivery.feed.feed_harness import NOW_S, append, live_log, scored

LIMITS = RecoveryLimits(most_events=100, most_age_s=60.0)
EDGES = Edges({0: 5, 1: 0}, {0: 40, 1: 8})


def plan(positions: dict[int, int], edges: Edges | None = EDGES, age_s: int = 0, epoch: str = "topic") -> Plan:
    """Plan with a live log that holds offsets 20 to 29 of partition 0, and began at 5 of partition 1."""
    log = live_log(start={0: 20, 1: 5})
    append(log, [scored(0, offset, "A") for offset in range(20, 30)])
    return plan_recovery(Cursor(epoch, positions, int(NOW_S) - age_s), log, LIMITS, NOW_S, edges)


def test_memory_is_enough_where_it_reaches_back() -> None:
    assert plan({0: 20, 1: 5}, edges=None) == GoOn.FROM_MEMORY
    assert plan({0: 30, 1: 5}, edges=None, age_s=1_000) == GoOn.FROM_MEMORY


@pytest.mark.parametrize("positions", [{0: 19, 1: 5}, {0: 20, 1: 4}, {0: 20}])
def test_log_is_read_where_memory_does_not_reach(positions: dict[int, int]) -> None:
    assert plan(positions, edges=None) == GoOn.ASK_KAFKA
    assert plan(positions) == GoOn.FROM_LOG


def test_cursor_is_not_recovered_with_the_reason() -> None:
    assert plan({0: 20, 1: 5}, epoch="another") == NotRecovered("recreated")
    assert plan({0: 19, 1: 5}, age_s=61, edges=None) == NotRecovered("limit")
    assert plan({0: 4, 1: 5}) == NotRecovered("retention")
    many = live_log(start={0: 500, 1: 0})
    assert plan_recovery(Cursor("topic", {0: 399}, int(NOW_S)), many, LIMITS, NOW_S) == NotRecovered("limit")
    assert plan_recovery(Cursor("topic", {0: 400}, int(NOW_S)), many, LIMITS, NOW_S) == GoOn.ASK_KAFKA


def test_cursor_beyond_what_was_read_yet_waits_and_one_beyond_the_log_is_refused() -> None:
    assert plan({0: 31, 1: 5}, edges=None) == GoOn.ASK_KAFKA
    assert plan({0: 40, 1: 8}) == GoOn.FROM_MEMORY
    with pytest.raises(BadCursorError, match="beyond the end"):
        plan({0: 41, 1: 5})
    with pytest.raises(BadCursorError, match="beyond the end"):
        plan({0: 30, 1: 5, 7: 1})


@given(st.integers(0, 45), st.integers(0, 10), st.integers(0, 100), st.none() | st.just(EDGES))
def test_every_cursor_is_decided(one: int, other: int, age_s: int, edges: Edges | None) -> None:
    try:
        decided = plan({0: one, 1: other}, edges, age_s)
    except BadCursorError:
        assert one > 40 or other > 8
        return
    assert edges is None or decided != GoOn.ASK_KAFKA, "with Kafka's answer nothing is left to ask"
