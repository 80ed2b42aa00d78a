"""Values that are repeated."""

import numpy as np

from tests.simulator.senders.made_up_fleet import driven

FROM_THE_BUS = ("speed", "temperature", "battery", "fuelLevel")


def test_slow_adapters_renew_each_value_every_two_to_five_seconds():
    for own, ideal in zip(driven("held_readings", 200), driven("", 200), strict=True):
        for name in FROM_THE_BUS:
            renewed = np.flatnonzero(np.diff(own[name]) != 0)
            pauses = np.diff(own["measured_s"][renewed])
            assert 1.9 < np.median(pauses) < 6.1
            assert set(own[name]) <= set(ideal[name])
        np.testing.assert_array_equal(own["latitude"], ideal["latitude"])


def test_parked_vehicles_repeat_themselves_drift_charge_or_read_on():
    kinds = set()
    for own in driven("parked", 60, count=80, parked=range(60)):
        stands = {name: np.ptp(own[name]) == 0 for name in (*FROM_THE_BUS, "latitude", "longitude")}
        assert stands["speed"] == stands["temperature"] == stands["fuelLevel"]
        assert stands["latitude"] == stands["longitude"]
        kinds.add((stands["temperature"], stands["latitude"], stands["battery"]))
    always = {(True, True, True), (True, False, True), (True, True, False), (False, False, False)}
    assert always <= kinds <= {*always, (True, False, False)}


def test_values_are_read_again_when_the_vehicle_drives():
    for own, ideal in zip(
        driven("parked", 200, count=40, parked=range(50, 100)), driven("", 200, count=40), strict=True
    ):
        expected = dict(zip(ideal["measured_s"], ideal["temperature"], strict=True))
        since_s = own["measured_s"] - own["measured_s"][0]
        for row in np.flatnonzero((since_s < 45) | (since_s > 105)):
            assert own["temperature"][row] == expected[own["measured_s"][row]]
