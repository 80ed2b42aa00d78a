import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator.city import ROAD_TYPES, City
from simulator.vehicles import (
    FAULTS,
    HARDEST_ACCELERATION_KMH_S,
    HARDEST_BRAKING_KMH_S,
    HIGHEST_FAULT_RATE,
    FleetState,
    SimulatedFleet,
)

CITY = City.generate()
MORNING_S = 1_764_585_000.0
NOISE_KMH = 2 * 3.5 * 0.25  # two readings, each off by at most this


def drive(steps: int, dt_s: float = 1.0, **fleet: object) -> dict[str, np.ndarray]:
    """Columns [steps, vehicles] of a drive."""
    settings = {"seed": 5, "first": 0, "count": 150, "city": CITY, "fault_rate": 0.0, "start_s": MORNING_S, **fleet}
    vehicles = SimulatedFleet(**settings)
    states = [vehicles.step(dt_s) for _ in range(steps)]
    return {name: np.stack([np.array(state[name]) for state in states]) for name in states[0]}


@pytest.fixture(scope="module")
def clean() -> dict[str, np.ndarray]:
    return drive(600)


@pytest.fixture(scope="module")
def faulty() -> dict[str, np.ndarray]:
    return drive(1200, count=300, fault_rate=0.2)


def step_m(drive: dict[str, np.ndarray]) -> np.ndarray:
    north = np.diff(drive["latitude"], axis=0) * 111_195
    east = np.diff(drive["longitude"], axis=0) * 111_195 * np.cos(np.radians(CITY.latitude))
    return np.hypot(north, east)


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 2**63), st.integers(0, 30), st.lists(st.integers(1, 12), min_size=2, max_size=4))
def test_vehicles_do_the_same_however_the_fleet_is_split(seed, first, counts):
    def states(start: int, count: int) -> list[FleetState]:
        fleet = SimulatedFleet(seed, start, count, CITY, HIGHEST_FAULT_RATE, MORNING_S)
        return [fleet.step(dt_s) for dt_s in (1.0, 0.3, 20.0, 90.0)]

    whole = states(first, sum(counts))
    starts = first + np.cumsum([0, *counts[:-1]])
    parts = [states(int(start), count) for start, count in zip(starts, counts, strict=True)]
    for step, state in enumerate(whole):
        for name, column in state.items():
            np.testing.assert_array_equal(column, np.concatenate([part[step][name] for part in parts]), name)


def test_vehicles_of_other_seeds_and_indices_differ():
    assert not np.array_equal(drive(3)["speed"], drive(3, seed=6)["speed"])
    assert len(np.unique(drive(30)["latitude"][-1])) == 150


def test_vehicle_ids_are_numbered_through_the_fleet():
    assert SimulatedFleet(1, 41, 2, CITY).vehicle_ids == ["V000041", "V000042"]


def test_speed_changes_within_bounds_and_is_what_the_sender_claims(clean):
    change = np.diff(clean["speed"], axis=0)
    assert change.max() <= HARDEST_ACCELERATION_KMH_S + NOISE_KMH
    assert change.min() >= -HARDEST_BRAKING_KMH_S - NOISE_KMH
    np.testing.assert_array_equal(clean["previousSpeed"][1:], clean["speed"][:-1])
    np.testing.assert_allclose(clean["acceleration"], clean["speed"] - clean["previousSpeed"])


def test_positions_move_by_speed_times_time(clean):
    travelled_m = (clean["speed"][1:] + clean["speed"][:-1]) / 2 / 3.6
    excess_m = step_m(clean) - travelled_m
    assert excess_m.max() < 3.0  # receiver drift
    assert (np.abs(excess_m) < 1.5).mean() > 0.98  # corners are cut
    assert excess_m.min() > -15.0


def test_positions_lie_on_the_roads_of_the_city(clean):
    east = (clean["longitude"][::60] - CITY.longitude) * 111_195 * np.cos(np.radians(CITY.latitude))
    north = (clean["latitude"][::60] - CITY.latitude) * 111_195
    points = np.stack([east.ravel(), north.ravel()], axis=1)
    along = np.einsum("pek,ek->pe", points[:, None] - CITY.start_m, CITY.direction).clip(0, CITY.length_m)
    nearest = CITY.start_m + along[..., None] * CITY.direction
    off_m = np.hypot(*np.moveaxis(points[:, None] - nearest, 2, 0)).min(axis=1)
    assert off_m.max() < 10.0
    assert off_m.mean() < 2.0


def test_ordinary_vehicles_are_within_ordinary_ranges(clean):
    assert (clean["speed"] >= 0).all()
    assert (clean["speed"] <= clean["speedLimit"] * 1.2 + 5).all()
    assert clean["temperature"].min() > 5
    assert clean["temperature"].max() < 99.5
    assert clean["battery"].min() > 60
    assert set(np.unique(clean["trafficLevel"])) <= {1, 2, 3, 4, 5}
    assert set(np.unique(clean["roadType"])) <= set(ROAD_TYPES)
    assert not clean["anomaly"].any()


def test_levels_and_temperatures_are_continuous(clean, faulty):
    for states in (clean, faulty):
        assert np.abs(np.diff(states["temperature"], axis=0)).max() < 12.0
        assert np.abs(np.diff(states["battery"], axis=0)).max() < 20.0
        assert np.abs(np.diff(states["fuelLevel"], axis=0)).max() < 1.8


def test_cold_engines_warm_up_towards_their_plateau():
    states = drive(30, dt_s=60.0)
    cold = states["temperature"][0] < 60
    assert cold.any()
    assert (states["temperature"][-1] > 80).all()
    assert (np.diff(states["temperature"][:20, cold], axis=0) > -1.5).all()


def test_vehicles_fill_up_at_a_stop():
    states = drive(100, dt_s=30.0, count=300)
    filling = np.diff(states["fuelLevel"], axis=0) > 5
    assert filling.any()
    # Full tanks were filled standing: at the beginning or at the end of each such half minute the vehicle stood.
    assert (np.minimum(states["speed"][1:], states["speed"][:-1])[filling] < 3).mean() > 0.9
    assert states["fuelLevel"].min() > 5


def test_faults_take_the_share_of_time_that_was_asked_for(faulty):
    assert faulty["anomaly"].mean() == pytest.approx(0.2, abs=0.03)
    kinds = faulty["anomalyType"]
    np.testing.assert_array_equal(faulty["anomaly"], kinds != np.array(None))
    for fault in FAULTS:
        assert (kinds == fault).mean() == pytest.approx(0.2 / 3, abs=0.025)


def test_faults_come_in_stretches_of_one_kind(faulty):
    for kinds in faulty["anomalyType"].T:
        changes = np.flatnonzero(kinds[1:] != kinds[:-1])
        inner = [b - a for a, b in itertools.pairwise(changes) if kinds[a + 1] is not None]
        assert all(59 <= length <= 181 for length in inner)


def test_faults_show_in_the_middle_of_their_stretch_and_not_at_its_edges(faulty):
    shows = {
        "overspeed": faulty["speed"] > faulty["speedLimit"] * 1.2,
        "engine_overheat": faulty["temperature"] > 100,
        "battery_low": faulty["battery"] < 20,
    }
    for fault, shown in shows.items():
        inside = faulty["anomalyType"] == fault
        begins = inside & ~np.vstack([np.ones((1, inside.shape[1]), bool), inside[:-1]])
        assert not shown[begins].any() or fault == "overspeed"
        assert shown[inside].mean() > (0.4 if fault == "overspeed" else 0.7)
        assert shown[faulty["anomalyType"] == np.array(None)].mean() < 0.005


def test_night_and_weather_are_the_citys():
    midnight, noon = 1_764_558_000.0, 1_764_601_200.0
    assert drive(1, start_s=midnight)["night"].all()
    assert not drive(1, start_s=noon)["night"].any()
    weathers = {CITY.weather(midnight + 1800 * k) for k in range(300)}
    assert weathers == {0, 1, 2, 3}


def test_roads_lead_on_from_where_they_end():
    ends = CITY.start_m + CITY.direction * CITY.length_m[:, None]
    for slot in range(CITY.successors.shape[1]):
        np.testing.assert_allclose(CITY.start_m[CITY.successors[:, slot]], ends, atol=1e-6)


def test_roads_reach_every_road_from_every_road():
    reached = np.zeros(len(CITY.length_m), bool)
    reached[0] = True
    while True:
        grown = reached.copy()
        grown[CITY.successors[reached].ravel()] = True
        if (grown == reached).all():
            break
        reached = grown
    assert reached.mean() > 0.999


@pytest.mark.parametrize("rate", [-0.1, HIGHEST_FAULT_RATE + 0.01])
def test_fleet_refuses_impossible_fault_rates(rate):
    with pytest.raises(ValueError, match="fault_rate must be"):
        SimulatedFleet(1, 0, 1, CITY, fault_rate=rate)


@pytest.mark.parametrize("dt_s", [0.0, -1.0, 4000.0])
def test_fleet_refuses_impossible_steps(dt_s):
    with pytest.raises(ValueError, match="A step must be"):
        SimulatedFleet(1, 0, 1, CITY).step(dt_s)
