"""Single bad readings."""

import numpy as np
import pytest

from tests.simulator.senders.made_up_fleet import driven

HOURS = 1
IDEAL = driven("", HOURS * 3600)
SPOILED = {
    "zero_position_once": lambda own, _ideal: (own["latitude"] == 0) & (own["longitude"] == 0),
    "cold_once": lambda own, _ideal: own["temperature"] == -40,
    "level_off_once": lambda own, _ideal: np.isin(own["battery"], [0, 255]) | np.isin(own["fuelLevel"], [0, 255]),
    "speed_spike_once": lambda own, ideal: own["speed"] >= ideal["speed"] + 60,
}


@pytest.mark.parametrize("habit", SPOILED)
def test_readings_are_bad_once_or_twice_an_hour_and_right_otherwise(habit):
    bad = 0
    for own, ideal in zip(driven(habit, HOURS * 3600), IDEAL, strict=True):
        spoiled = SPOILED[habit](own, ideal)
        bad += spoiled.sum()
        for name in set(own) - {"fault"}:
            np.testing.assert_array_equal(own[name][~spoiled], ideal[name][~spoiled])
        assert not (spoiled[1:] & spoiled[:-1]).any()
    assert 0.5 < bad / (HOURS * len(IDEAL)) < 3
