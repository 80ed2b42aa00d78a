"""When a lag counts as normal again."""

from faults.lag import Sample, recovered_after_s

NORMAL, HOLD_S = 100.0, 3.0


def samples(*lags: int | None, since_s: float = 10.0) -> list[Sample]:
    """One every half second, the first at `since_s`."""
    return [Sample(since_s + 0.5 * i, lag, lag or 0) for i, lag in enumerate(lags)]


def recovered(*lags: int | None) -> float | None:
    return recovered_after_s(samples(*lags), 10.0, NORMAL, HOLD_S)


def test_a_lag_that_never_rose_was_normal_at_once() -> None:
    assert recovered(*[50] * 7) == 0.0


def test_the_seconds_end_where_the_lasting_calm_begins() -> None:
    assert recovered(50, 50, 400, 90, 300, *[80] * 7) == 2.5


def test_normal_for_less_than_the_hold_is_not_yet_normal() -> None:
    assert recovered(*[50] * 6) is None
    assert recovered(400, *[50] * 6) is None


def test_a_broker_that_does_not_answer_is_not_normal() -> None:
    assert recovered(None, None, *[50] * 7) == 1.0
    assert recovered(*[50] * 5, None, *[50] * 6) is None


def test_samples_before_the_fault_do_not_count() -> None:
    before = samples(*[50] * 7, since_s=5.0)
    assert recovered_after_s([*before, *samples(400, 400)], 10.0, NORMAL, HOLD_S) is None
