"""When events arrive, and how often."""

import numpy as np
import pytest

from tests.simulator.senders.made_up_fleet import driven

HOUR = 3600


def waited_s(own: dict[str, np.ndarray]) -> np.ndarray:
    return own["arrives_s"] - own["measured_s"]


def test_delays_are_constant_but_for_a_fifth_and_keep_the_order():
    usual_s = []
    for own in driven("delayed", 120, count=30):
        delay_s = np.median(waited_s(own))
        usual_s.append(delay_s)
        assert waited_s(own).max() <= max(1.21 * delay_s, delay_s / 0.79)
        assert (np.diff(own["measured_s"]) > 0).all()
        assert np.ptp(waited_s(own)) > 0
    assert 0.015 < min(usual_s) < 0.1
    assert 1 < max(usual_s) <= 5


def test_some_events_are_overtaken():
    every = driven("out_of_order", 900)
    late = np.concatenate([waited_s(own) for own in every])
    assert 0.005 < (late > 0).mean() < 0.05
    assert late.max() <= 2.5
    assert any((np.diff(own["measured_s"]) < 0).any() for own in every)


OFFLINE = ["offline_then_in_order", "offline_then_newest_first", "offline_then_interleaved"]


@pytest.mark.parametrize("habit", OFFLINE)
def test_events_without_network_wait_for_it(habit):
    waits_s = np.concatenate([waited_s(own) for own in driven(habit, HOUR)])
    assert 30 < waits_s.max() <= 610 + 600 / 4
    assert 0.02 < (waits_s > 0).mean() < 0.4


def bursts(habit: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each sender the places, in order of arrival, of what waited, and all times of measuring."""
    every = [(np.flatnonzero(waited_s(own) > 5), own["measured_s"]) for own in driven(habit, HOUR)]
    return [(late, measured_s) for late, measured_s in every if len(late)]


def test_queues_come_in_order():
    for _, measured_s in bursts("offline_then_in_order"):
        assert (np.diff(measured_s) > 0).all()


def test_stacks_come_newest_first():
    for late, measured_s in bursts("offline_then_newest_first"):
        together = np.diff(late) == 1
        assert (np.diff(measured_s[late])[together] < 0).mean() > 0.9


def test_old_events_come_between_live_ones():
    for late, measured_s in bursts("offline_then_interleaved"):
        assert (np.diff(measured_s[late]) > 0).all()
        assert (np.diff(late) > 1).any()


def test_batches_come_every_so_often_in_order():
    for own in driven("batched", 900):
        uploads = np.flatnonzero(np.diff(own["arrives_s"], prepend=0) > 1)
        pauses_s = np.diff(own["arrives_s"][uploads])
        assert len(uploads) >= 3
        assert (np.diff(own["measured_s"]) > 0).all()
        assert np.ptp(pauses_s[1:]) < 3  # but for the messages that got lost at its edge
        assert 9 <= pauses_s[-1] <= 303


def test_stretches_are_sent_again_when_they_are_over():
    repeated = 0
    for own in driven("stretch_sent_again", HOUR):
        _, first, counts = np.unique(own["measured_s"], return_index=True, return_counts=True)
        again = np.setdiff1d(np.arange(len(own["measured_s"])), first)
        repeated += len(again)
        assert counts.max() <= 2
        assert (waited_s(own)[again] > 0).all()
        assert (waited_s(own)[first] == 0).all()
        assert np.isin(np.diff(again), [1, 2]).mean() > 0.8 if len(again) > 10 else True
    assert repeated > 30


def test_single_events_are_sent_twice_unchanged():
    for own in driven("last_sent_twice", HOUR):
        _, first, inverse = np.unique(own["measured_s"], return_index=True, return_inverse=True)
        twice = np.setdiff1d(np.arange(len(own["measured_s"])), first)
        assert 5 < len(twice) < 100
        assert waited_s(own)[twice].max() <= 0.5
        for name in ("speed", "latitude", "timestamp_s"):
            np.testing.assert_array_equal(own[name][twice], own[name][first[inverse[twice]]])
