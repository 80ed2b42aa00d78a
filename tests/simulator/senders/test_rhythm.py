"""How often senders report."""

import numpy as np
import pytest

from simulator.senders.rhythm import INTERVALS_S
from tests.simulator.senders.made_up_fleet import driven


def steps_s(habit: str, steps: int, parked: range = range(0)) -> np.ndarray:
    """Return the pauses of all senders, in steps of which some messages were lost."""
    return np.concatenate([np.diff(own["measured_s"]) for own in driven(habit, steps, parked=parked)])


@pytest.mark.parametrize("habit", INTERVALS_S)
def test_pauses_are_multiples_of_the_interval_because_messages_get_lost(habit):
    interval_s = INTERVALS_S[habit]
    pauses = steps_s(habit, int(max(60, 4 * interval_s))) / interval_s
    np.testing.assert_allclose(pauses, np.round(pauses), atol=1e-3)
    assert np.median(pauses) == pytest.approx(1)


def test_senders_of_one_rhythm_do_not_all_send_at_once():
    firsts = [own["measured_s"][0] for own in driven("every_60_s", 200, count=30)]
    assert np.ptp(firsts) > 30


def test_jittered_pauses_vary_by_a_fifth():
    for own in driven("jittered", 900):
        pauses = np.diff(own["measured_s"])
        usual = np.median(pauses)
        assert 4 <= usual <= 62
        near = pauses[pauses < 1.5 * usual]
        assert len(np.unique(np.round(near))) > 1
        assert near.min() > 0.6 * usual - 1


def test_parked_vehicles_send_every_minute_and_at_once_when_they_drive():
    for own in driven("slow_when_parked", 400, parked=range(100, 310)):
        since_s = own["measured_s"] - own["measured_s"][0]
        parked = (since_s > 101) & (since_s < 309)
        assert 1 <= parked.sum() <= 4
        driving_again = (since_s > 311) & (since_s < 400)
        assert driving_again.sum() > 75


def test_vehicles_without_ignition_are_silent():
    for own in driven("silent_when_parked", 300, parked=range(100, 200)):
        since_s = own["measured_s"] - own["measured_s"][0]
        assert not ((since_s > 101) & (since_s < 199)).any()
        assert (since_s > 201).sum() > 80


def test_parked_senders_have_a_rhythm_of_one_or_ten_seconds():
    usual = [np.median(np.diff(own["measured_s"])) for own in driven("parked", 200, count=20, parked=range(200))]
    assert {round(pause_s) for pause_s in usual} == {1, 10}
