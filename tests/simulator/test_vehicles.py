"""Vehicles without faults: physics, sensors, what is normal but unusual; and that fleets can be split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator.city import ROAD_TYPES, STYLES, City
from simulator.driving import HARDEST_ACCELERATION_MPS2, HARDEST_BRAKING_MPS2
from simulator.faults import HIGHEST_FAULT_RATE
from simulator.vehicles import FleetState, SimulatedFleet

CITIES = [City.generate(seed=seed) for seed in range(len(STYLES))]
CITY = CITIES[0]
MORNING_S = 1_764_585_000.0
UNUSED = {"vehicleId", "weather"}
FINE_NOISE_KMH = 2 * 3.5 * 0.25  # two readings, each off by at most this
NUMBERS = (
    "speed previousSpeed acceleration temperature battery fuelLevel latitude longitude speedLimit trafficLevel"
).split()


def drive(steps: int, dt_s: float = 1.0, **fleet: object) -> dict[str, np.ndarray]:
    """Columns [steps, vehicles] of a drive."""
    settings = {"seed": 5, "first": 0, "count": 150, "city": CITY, "fault_rate": 0.0, "start_s": MORNING_S, **fleet}
    vehicles = SimulatedFleet(**settings)
    states = [vehicles.step(dt_s) for _ in range(steps)]
    return {name: np.stack([np.array(state[name]) for state in states]) for name in states[0] if name not in UNUSED}


@pytest.fixture(scope="module", params=range(len(STYLES)), ids=["plain", "old town", "sprawl", "valley"])
def city(request: pytest.FixtureRequest) -> City:
    return CITIES[request.param]


@pytest.fixture(scope="module")
def clean(city: City) -> dict[str, np.ndarray]:
    return drive(600, city=city)


@pytest.fixture(scope="module")
def long_drive() -> dict[str, np.ndarray]:
    """Forty minutes."""
    return drive(2_400, count=250)


@pytest.fixture(scope="module")
def is_coarse(clean: dict[str, np.ndarray]) -> np.ndarray:
    """bool[vehicles]: whose thermometers read whole degrees."""
    return np.nanmax(np.abs(clean["temperature"] - np.round(clean["temperature"])), axis=0) == 0


@hypothesis_settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**63),
    st.integers(0, 30),
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.integers(0, len(STYLES) - 1),
)
def test_vehicles_do_the_same_however_the_fleet_is_split(seed, first, counts, style):
    city = CITIES[style]

    def states(start: int, count: int) -> list[FleetState]:
        fleet = SimulatedFleet(seed, start, count, city, HIGHEST_FAULT_RATE, MORNING_S)
        return [fleet.step(dt_s) for dt_s in (1.0, 0.3, 60.0, 40.0, 1.0)]

    whole = states(first, sum(counts))
    starts = first + np.cumsum([0, *counts[:-1]])
    parts = [states(int(start), count) for start, count in zip(starts, counts, strict=True)]
    for step, state in enumerate(whole):
        for name, column in state.items():
            np.testing.assert_array_equal(column, np.concatenate([part[step][name] for part in parts]), name)


def test_vehicles_of_other_seeds_and_indices_differ():
    assert not np.array_equal(drive(3)["speed"], drive(3, seed=6)["speed"], equal_nan=True)
    latitude = drive(30)["latitude"][-1]
    assert len(np.unique(latitude[~np.isnan(latitude)])) == (~np.isnan(latitude)).sum()


def test_vehicle_ids_are_numbered_through_the_fleet():
    assert SimulatedFleet(1, 41, 2, CITY).vehicle_ids == ["V000041", "V000042"]


def test_columns_have_the_promised_types():
    state = SimulatedFleet(1, 0, 3, CITY).step(1.0)
    for name in (*NUMBERS, "timestamp", "clock_skew_s"):
        assert state[name].dtype == np.float64
        assert state[name].shape == (3,)
    for name in ("night", "anomaly", "is_sent"):
        assert state[name].dtype == bool
    for name in ("vehicleId", "weather", "roadType", "anomalyType"):
        assert len(state[name]) == 3


def test_fleet_without_faults_labels_none(clean):
    assert not clean["anomaly"].any()
    assert set(clean["anomalyType"].ravel()) == {None}
    assert not clean["clock_skew_s"].any()


def test_speed_changes_within_bounds_and_is_what_the_sender_claims(clean, is_coarse):
    change = np.diff(clean["speed"], axis=0)
    slack_kmh = FINE_NOISE_KMH * 1.5 + np.where(is_coarse, 1.0, 0.0)
    assert (np.nanmax(change, axis=0) <= HARDEST_ACCELERATION_MPS2 * 3.6 + slack_kmh).all()
    assert (np.nanmin(change, axis=0) >= -HARDEST_BRAKING_MPS2 * 3.6 - slack_kmh).all()
    np.testing.assert_array_equal(clean["previousSpeed"][1:], clean["speed"][:-1])
    np.testing.assert_allclose(clean["acceleration"], clean["speed"] - clean["previousSpeed"])


def test_drivers_exceed_limits_by_a_few_percent_only(clean):
    ratio = clean["speed"] / clean["speedLimit"]
    assert np.nanmax(ratio) < 1.13
    assert np.nanpercentile(ratio, 99.9) < 1.09
    assert np.nanpercentile(ratio, 99) > 0.75  # in fog, rain and storm they drive slowly


def test_drivers_have_slowed_down_when_a_lower_limit_begins(clean):
    lower = np.diff(clean["speedLimit"], axis=0) < -5
    arriving = (clean["speed"][1:] / clean["speedLimit"][1:])[lower]
    assert len(arriving) > 20
    assert np.nanmax(arriving) < 1.13


def test_positions_move_by_speed_times_time(clean, city):
    north = np.diff(clean["latitude"], axis=0) * 111_195
    east = np.diff(clean["longitude"], axis=0) * 111_195 * np.cos(np.radians(city.latitude))
    excess_m = np.hypot(north, east) - (clean["speed"][1:] + clean["speed"][:-1]) / 2 / 3.6
    known = excess_m[~np.isnan(excess_m)]
    # Receivers drift; corners are cut; seldom a receiver repeats its fix and makes up for it.
    assert (np.abs(known) < 3.0).mean() > 0.999
    assert np.abs(known).max() < 40.0


def test_positions_lie_on_the_roads_of_the_city(clean, city):
    east = (clean["longitude"][::180] - city.longitude) * 111_195 * np.cos(np.radians(city.latitude))
    north = (clean["latitude"][::180] - city.latitude) * 111_195
    points = np.stack([east.ravel(), north.ravel()], axis=1)
    points = points[~np.isnan(points[:, 0])]
    along = np.einsum("pek,ek->pe", points[:, None] - city.start_m, city.direction).clip(0, city.length_m)
    nearest = city.start_m + along[..., None] * city.direction
    off_m = np.hypot(*np.moveaxis(points[:, None] - nearest, 2, 0)).min(axis=1)
    assert off_m.max() < 10.0
    assert off_m.mean() < 2.0


def test_ordinary_vehicles_are_within_ordinary_ranges(clean, city):
    assert np.nanmin(clean["speed"]) == 0
    assert np.nanmin(clean["temperature"]) > city.ambient_c(MORNING_S) - 3
    assert np.nanmax(clean["temperature"]) < 100
    assert np.nanmin(clean["battery"]) > 55
    assert np.nanmin(clean["fuelLevel"]) > 4
    levels = clean["trafficLevel"]
    assert set(np.unique(levels[~np.isnan(levels)])) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert set(np.unique(clean["roadType"])) == set(ROAD_TYPES)


def test_levels_move_within_bounds(clean):
    assert np.nanmax(np.abs(np.diff(clean["temperature"], axis=0))) <= 6.0
    assert np.nanmax(np.abs(np.diff(clean["battery"], axis=0))) <= 6.0
    assert np.nanmax(np.abs(np.diff(clean["fuelLevel"], axis=0))) <= 4.5


def test_fuel_burns_standing_too_and_more_when_driving(long_drive):
    speed, fuel = long_drive["speed"], long_drive["fuelLevel"]
    spans = [(k, k + 200) for k in range(0, 2_400, 200)]
    mean_kmh = np.stack([np.nanmean(speed[a:b], axis=0) for a, b in spans])
    burnt_pct = np.stack([np.nanmean(fuel[a : a + 5], axis=0) - np.nanmean(fuel[b - 5 : b], axis=0) for a, b in spans])
    drives, idles = mean_kmh > 30, mean_kmh < 0.5
    fills = burnt_pct < -3
    assert 0.2 < burnt_pct[drives & ~fills].mean() < 1.2  # in 200 s
    assert -0.2 < burnt_pct[idles & ~fills].mean() < burnt_pct[drives & ~fills].mean()


def test_cold_engines_warm_up_to_the_plateau():
    states = drive(30, dt_s=60.0, count=80)
    cold = states["temperature"][0] < 60
    assert 0.05 < cold.mean() < 0.25
    assert (np.nanmax(states["temperature"][-10:], axis=0) > 80).all()
    first = states["temperature"][:5, cold]
    assert (np.nanmean(np.diff(first, axis=0), axis=0) > 0).all()
    warm = states["temperature"][-10:, ~cold]
    assert 84 < np.nanmedian(warm) < 91


def test_idling_engines_make_the_fan_cycle(long_drive):
    hot = np.nanmax(long_drive["temperature"], axis=0)
    assert 94 < hot.max() < 99
    assert (hot > 93).sum() > 3


def test_batteries_follow_load_and_stay_up(long_drive):
    within = np.nanstd(long_drive["battery"], axis=0)
    assert 0.3 < np.median(within) < 3.0
    drift = np.nanmean(long_drive["battery"][-600:], axis=0) - np.nanmean(long_drive["battery"][:600], axis=0)
    assert np.abs(drift).max() < 8.0


def test_vehicles_refuel_standing(long_drive):
    risen = long_drive["fuelLevel"][20:] - long_drive["fuelLevel"][:-20] > 10.0
    assert risen.any(axis=0).sum() > 10
    assert np.nanmax(long_drive["speed"][10:-10][risen]) == 0


def test_vehicles_stand_for_minutes_now_and_then(long_drive):
    stands = long_drive["speed"] < 0.5
    minutes = np.stack([stands[k : k + 120].all(axis=0) for k in range(0, 2_400, 120)])
    assert 0.01 < minutes.mean() < 0.25


def test_vehicles_that_park_first_stand_with_the_engine_off_and_some_are_charged():
    parks_first = np.arange(60) < 40
    driven = drive(900, count=60, parks_first=parks_first)
    assert driven["is_parked"][60, parks_first].all()
    assert not driven["is_parked"][60, ~parks_first].any()
    assert np.nanmax(driven["speed"][60:500, parks_first]) == 0
    assert (~driven["is_parked"][-1, parks_first]).any(), "some drive on after ten minutes"
    battery = driven["battery"][:, parks_first]
    gained_pct = np.nanmean(battery[450:500], axis=0) - np.nanmean(battery[100:150], axis=0)
    assert 2 <= (gained_pct > 0.6).sum() <= 12
    assert gained_pct.max() < 8


def test_tunnels_hide_the_position_of_moving_vehicles_for_a_while(long_drive):
    hidden = np.isnan(long_drive["latitude"])
    np.testing.assert_array_equal(hidden, np.isnan(long_drive["longitude"]))
    runs = [len(run) for column in hidden.T for run in "".join("x" if h else " " for h in column).split()]
    tunnels = np.array([length for length in runs if length > 2])
    assert len(tunnels) > 20
    assert tunnels.max() <= 62  # a minute, and a null beside it
    inside = hidden[1:-1] & hidden[:-2] & hidden[2:]
    assert np.nanmean(long_drive["speed"][1:-1][inside] > 3) > 0.8


def test_glitches_are_rare_and_single(long_drive):
    lost = ~long_drive["is_sent"]
    assert 0.0005 < lost.mean() < 0.002
    assert (lost[1:] & lost[:-1]).mean() < 0.0001
    for name in ("speed", "temperature", "battery", "fuelLevel", "trafficLevel", "speedLimit"):
        assert 0 < np.isnan(long_drive[name]).mean() < 0.0005


def test_a_quarter_of_the_vehicles_has_coarse_sensors(is_coarse, clean):
    assert 0.15 < is_coarse.mean() < 0.35
    for name, step in (("speed", 1.0), ("battery", 1.0), ("fuelLevel", 0.5)):
        steps = clean[name] / step
        assert (np.nanmax(np.abs(steps - np.round(steps)), axis=0) == 0)[is_coarse].all()
        assert (np.nanmax(np.abs(steps - np.round(steps)), axis=0) > 0)[~is_coarse].all()


def test_traffic_is_densest_in_the_rush_hours():
    def mean_level(hour: float) -> float:
        return float(np.nanmean(drive(1, start_s=1_764_558_000.0 + 3600 * hour)["trafficLevel"]))

    assert mean_level(8.5) > mean_level(12.0) + 0.4
    assert mean_level(18.5) > mean_level(3.0) + 0.4


def test_night_and_weather_are_the_citys():
    assert drive(1, start_s=1_764_558_000.0)["night"].all()
    assert not drive(1, start_s=1_764_601_200.0)["night"].any()


def test_steps_of_any_length_end_at_the_same_time():
    fleet = SimulatedFleet(1, 0, 3, CITY, start_s=MORNING_S)
    for dt_s in (0.1, 1.0, 7.3, 120.0):
        before_s = fleet.time_s
        state = fleet.step(dt_s)
        assert state["timestamp"] == pytest.approx(before_s + dt_s)


@pytest.mark.parametrize("first,count", [(-1, 5), (0, 0)])  # noqa: PT006
def test_fleet_refuses_impossible_ranges(first, count):
    with pytest.raises(ValueError, match="A fleet needs"):
        SimulatedFleet(1, first, count, CITY)


@pytest.mark.parametrize("dt_s", [0.0, -1.0, 4000.0])
def test_fleet_refuses_impossible_steps(dt_s):
    with pytest.raises(ValueError, match="A step must be"):
        SimulatedFleet(1, 0, 1, CITY).step(dt_s)
