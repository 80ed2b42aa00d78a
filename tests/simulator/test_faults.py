"""Injected faults: schedule, prevalence, labels, and that each effect is there within its label and nowhere else."""

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator.city import City
from simulator.faults import FAULTS, HIGHEST_FAULT_RATE, KINDS, SHORTEST_PAUSE_S, SIGNALS, FaultStretch
from simulator.vehicles import SimulatedFleet

CITY = City.generate(seed=2)
START_S = 1_764_585_000.0
USED = (
    "latitude longitude speed speedLimit temperature battery fuelLevel timestamp anomaly anomalyType "
    "clock_skew_s is_sent"
).split()
LASTING = {name for name in FAULTS if KINDS[name].typical_s > 20}


class Drive:
    """Columns [steps, vehicles] of one drive at 1 Hz, its labels, and its stretches."""

    def __init__(self, steps: int, count: int, fault_rate: float, faults: tuple[str, ...] = FAULTS) -> None:
        fleet = SimulatedFleet(11, 0, count, CITY, fault_rate, START_S, faults)
        states = [fleet.step(1.0) for _ in range(steps)]
        self.columns = {name: np.stack([np.array(state[name]) for state in states]) for name in USED}
        self.fault = self.columns["anomalyType"]
        self.stretches = fleet.stretches(START_S, START_S + steps)
        self.over = [stretch for stretch in self.stretches if stretch.end_s < START_S + steps - 1]
        self.some = fleet.stretches(START_S + 400, START_S + 500)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def rows(self, stretch: FaultStretch) -> slice:
        """The steps of a stretch; step k ends k + 1 seconds after the start."""
        return slice(round(stretch.onset_s - START_S) - 1, round(stretch.end_s - START_S))

    def of(self, name: str, stretch: FaultStretch, extra: int = 0) -> np.ndarray:
        """One column of a stretch's vehicle, from `extra` events before the onset on."""
        rows = self.rows(stretch)
        return self.columns[name][max(rows.start - extra, 0) : rows.stop, int(stretch.vehicle_id[1:])]

    def elsewhere(self, margin: int = 0) -> np.ndarray:
        """bool[steps, vehicles]: not labelled, nor within `margin` events of a label."""
        labelled = self.columns["anomaly"]
        near = labelled.copy()
        for shift in range(1, margin + 1):
            near[shift:] |= labelled[:-shift]
            near[:-shift] |= labelled[shift:]
        return ~near


@pytest.fixture(scope="module")
def mixed() -> Drive:
    return Drive(4_500, 200, 0.15)


@pytest.fixture(scope="module")
def only() -> Callable[[str], Drive]:
    """Drives with one type of fault, each driven once."""
    driven: dict[str, Drive] = {}

    def only(fault: str) -> Drive:
        if fault not in driven:
            driven[fault] = Drive(800 if fault != "fuel_leak" else 1_800, 100, HIGHEST_FAULT_RATE, (fault,))
        return driven[fault]

    return only


def steps_m(drive: Drive) -> np.ndarray:
    """float64[steps - 1, vehicles]: how far the positions moved."""
    north = np.diff(drive["latitude"], axis=0) * 111_195
    return np.hypot(north, np.diff(drive["longitude"], axis=0) * 111_195 * np.cos(np.radians(CITY.latitude)))


class TestSchedule:
    def test_faults_take_the_share_of_time_that_was_asked_for(self, mixed: Drive) -> None:
        assert mixed["anomaly"].mean() == pytest.approx(0.15, rel=0.15)

    def test_every_type_occurs_and_labels_say_so(self, mixed: Drive) -> None:
        np.testing.assert_array_equal(mixed["anomaly"], mixed.fault != np.array(None))
        counts = Counter(stretch.fault for stretch in mixed.stretches)
        assert set(counts) == set(FAULTS)
        usual = [counts[fault] for fault in FAULTS if KINDS[fault].weight == 1]
        assert min(usual) > 0.5 * max(usual)

    def test_stretches_are_the_labelled_events_exactly(self, mixed: Drive) -> None:
        labels = np.full(mixed.fault.shape, None, object)
        for stretch in mixed.stretches:
            labels[mixed.rows(stretch), int(stretch.vehicle_id[1:])] = stretch.fault
        np.testing.assert_array_equal(labels, mixed.fault)

    def test_stretches_of_a_span_are_those_that_touch_it(self, mixed: Drive) -> None:
        assert mixed.some == [s for s in mixed.stretches if s.end_s >= START_S + 400 and s.onset_s <= START_S + 500]
        assert 0 < len(mixed.some) < len(mixed.stretches)

    def test_pauses_between_two_faults_of_a_vehicle_are_long_enough(self, mixed: Drive) -> None:
        by_vehicle: dict[str, list[FaultStretch]] = {}
        for stretch in mixed.stretches:
            by_vehicle.setdefault(stretch.vehicle_id, []).append(stretch)
        pauses = [b.onset_s - a.end_s for row in by_vehicle.values() for a, b in itertools.pairwise(row)]
        assert len(pauses) > 300
        assert min(pauses) >= SHORTEST_PAUSE_S

    def test_lengths_and_strengths_are_spread_over_their_ranges(self, mixed: Drive) -> None:
        strengths = [stretch.strength for stretch in mixed.stretches]
        assert min(strengths) < 0.05
        assert max(strengths) > 0.95
        for fault in sorted(LASTING - {"overspeed", "fuel_theft"}):
            low_s, high_s = KINDS[fault].lasts_s
            lengths_s = [s.end_s - s.onset_s + 1 for s in mixed.over if s.fault == fault]
            assert low_s <= min(lengths_s), fault
            assert max(lengths_s) <= high_s + 1, fault

    def test_signals_are_named_where_a_fault_has_one(self, mixed: Drive) -> None:
        signals: dict[str, set[str | None]] = {}
        for stretch in mixed.stretches:
            signals.setdefault(stretch.fault, set()).add(stretch.signal)
        assert signals.pop("stuck_sensor") == set(SIGNALS)
        assert signals.pop("sensor_bias") == signals.pop("drop_out") == set(SIGNALS) - {"position"}
        assert set().union(*signals.values()) == {None}

    @hypothesis_settings(max_examples=10, deadline=None)
    @given(st.sets(st.sampled_from(FAULTS), min_size=1, max_size=4), st.integers(0, 1_000))
    def test_only_the_types_asked_for_occur(self, faults: set[str], seed: int) -> None:
        fleet = SimulatedFleet(seed, 0, 40, CITY, HIGHEST_FAULT_RATE, START_S, tuple(sorted(faults)))
        for _ in range(20):
            assert set(fleet.step(10.0)["anomalyType"]) <= {None, *faults}

    def test_no_faults_at_a_rate_of_zero(self) -> None:
        drive = Drive(400, 50, 0.0)
        assert not drive["anomaly"].any()
        assert drive.stretches == []

    @pytest.mark.parametrize("rate", [-0.1, HIGHEST_FAULT_RATE + 0.01])
    def test_impossible_rates_are_refused(self, rate: float) -> None:
        with pytest.raises(ValueError, match="fault_rate must be"):
            SimulatedFleet(1, 0, 1, CITY, fault_rate=rate)

    @pytest.mark.parametrize("faults", [(), ("overspeed", "gremlins")])
    def test_unknown_types_are_refused(self, faults: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match="faults must name some of overspeed"):
            SimulatedFleet(1, 0, 1, CITY, faults=faults)


class TestEffects:
    """Each within its label, and absent outside."""

    def test_overspeed_is_driven_within_its_label_only(self, only: Callable[[str], Drive]) -> None:
        drive = only("overspeed")
        ratio = drive["speed"] / drive["speedLimit"]
        assert np.nanmin(ratio[drive["anomaly"]]) > 1.01
        gathering_or_slowing = 12
        assert np.nanmax(ratio[:-12][drive.elsewhere(gathering_or_slowing)[:-12]]) < 1.13
        peaks = [np.nanmax(drive.of("speed", s) / drive.of("speedLimit", s)) for s in drive.over]
        assert min(peaks) < 1.42 < max(peaks)
        assert np.mean([s.end_s - s.onset_s > 28 for s in drive.over]) > 0.97

    def test_harsh_braking_is_labelled_from_its_first_event_to_standstill(self, only: Callable[[str], Drive]) -> None:
        drive = only("harsh_braking")
        change = np.diff(drive["speed"], axis=0) / 3.6
        assert np.nanmin(change[drive.elsewhere()[1:]]) > -4.3
        assert len(drive.over) > 50
        for stretch in drive.over:
            speed_mps = drive.of("speed", stretch, extra=1) / 3.6
            assert not speed_mps[1] - speed_mps[0] > -5.8  # also where one of them is null
            assert not speed_mps[0] < 8.8
            assert not speed_mps[-1] > 0.8
            assert len(speed_mps) <= 7

    def test_engine_overheat_runs_away_and_recovers(self, only: Callable[[str], Drive]) -> None:
        drive = only("engine_overheat")
        assert np.nanmax(drive["temperature"][drive.elsewhere(15)]) < 100
        for stretch in drive.over:
            temperature_c = drive.of("temperature", stretch)
            rate_c_s = 0.3 * (1.0 / 0.3) ** stretch.strength
            reached = temperature_c[0] + rate_c_s * (len(temperature_c) - 1)
            assert np.nanmax(temperature_c[-5:]) > min(reached, 110) - 8
            assert np.nanmax(temperature_c) < 134

    def test_coolant_drift_is_slow(self, only: Callable[[str], Drive]) -> None:
        drive = only("coolant_drift")
        assert len(drive.over) > 20
        for stretch in drive.over:
            temperature_c = drive.of("temperature", stretch)
            rise_c = np.nanmean(temperature_c[-10:]) - np.nanmean(temperature_c[:10])
            rate_c_s = 0.04 * (0.07 / 0.04) ** stretch.strength
            assert rise_c == pytest.approx(rate_c_s * (len(temperature_c) - 10), abs=11)
        assert np.nanmax(drive["temperature"][drive.elsewhere(15)]) < 100

    def test_battery_drains_to_a_floor_and_is_replaced(self, only: Callable[[str], Drive]) -> None:
        drive = only("battery_low")
        assert np.nanmin(drive["battery"][drive.elsewhere()]) > 55
        assert np.nanmin(drive["battery"]) < 12
        for stretch in drive.over:
            battery_pct = drive.of("battery", stretch)
            fallen = np.nanmean(battery_pct[:3]) - np.nanmean(battery_pct[-3:])
            assert fallen > 0.15 * (len(battery_pct) - 3) * 0.85 - 3

    def test_fuel_is_stolen_from_parked_vehicles(self, only: Callable[[str], Drive]) -> None:
        drive = only("fuel_theft")
        assert len(drive.over) > 30
        for stretch in drive.over:
            fuel_pct = drive.of("fuelLevel", stretch, extra=3)
            assert np.nanmax(drive.of("speed", stretch, extra=10)) == 0
            assert np.nanmean(fuel_pct[:3]) - np.nanmin(fuel_pct[-2:]) > 6.5
        fallen = drive["fuelLevel"][:-30] - drive["fuelLevel"][30:]
        assert np.nanmax(fallen[drive.elsewhere(30)[15:-15]]) < 4.0

    def test_fuel_leaks_faster_than_an_engine_burns(self, only: Callable[[str], Drive]) -> None:
        drive = only("fuel_leak")
        lost_pct_s = []
        for stretch in drive.stretches:
            fuel_pct = drive.of("fuelLevel", stretch)
            if len(fuel_pct) > 300:
                lost_pct = np.nanmean(fuel_pct[:10]) - np.nanmean(fuel_pct[-10:])
                lost_pct_s.append(lost_pct / (len(fuel_pct) - 10))
        assert len(lost_pct_s) > 10
        assert 0.012 < min(lost_pct_s) < 0.025
        assert 0.03 < max(lost_pct_s) < 0.055
        lost = drive["fuelLevel"][:-300] - drive["fuelLevel"][300:]
        assert np.nanpercentile(lost[drive.elsewhere(150)[150:-150]], 99) < 3.5

    def test_stuck_sensors_repeat_their_last_reading_while_the_vehicle_moves(
        self, only: Callable[[str], Drive]
    ) -> None:
        drive = only("stuck_sensor")
        columns = {**{name: name for name in SIGNALS}, "position": "latitude"}
        speeds = []
        for stretch in drive.over:
            held = drive.of(columns[stretch.signal], stretch)  # type: ignore[index]
            known = held[~np.isnan(held)]
            assert len(known) > len(held) - 5
            assert (known == known[0]).all()
            before = drive.of(columns[stretch.signal], stretch, extra=1)[0]  # type: ignore[index]
            assert np.isnan(before) or before == known[0]
            if stretch.signal != "speed":
                speeds.append(np.nanmean(drive.of("speed", stretch)))
        assert np.mean(speeds) > 20

    def test_gps_jumps_away_and_back(self, only: Callable[[str], Drive]) -> None:
        drive = only("gps_jump")
        excess_m = np.abs(steps_m(drive) - drive["speed"][1:] / 3.6)
        starts = drive["anomaly"][1:] & ~drive["anomaly"][:-1]
        assert np.nanmin(excess_m[starts]) > 90
        assert np.nanmax(excess_m[drive.elsewhere(1)[1:]]) < 60
        assert np.nanmax(excess_m[drive["anomaly"][1:] & drive["anomaly"][:-1]]) < 60

    def test_gps_spoof_drifts_off_in_one_direction(self, only: Callable[[str], Drive]) -> None:
        drive = only("gps_spoof")
        excess_m = np.abs(steps_m(drive) - (drive["speed"][1:] + drive["speed"][:-1]) / 7.2)
        inside = drive["anomaly"][1:] & drive["anomaly"][:-1]
        assert np.nanmax(excess_m[inside]) < 60
        standing = inside & (drive["speed"][1:] == 0) & (drive["speed"][:-1] == 0)
        assert np.nanpercentile(steps_m(drive)[standing], 1) > 1.0
        assert np.nanpercentile(steps_m(drive)[standing], 99) < 7.5

    def test_biased_sensors_step_by_what_was_asked_for(self, only: Callable[[str], Drive]) -> None:
        drive = only("sensor_bias")
        steps: dict[str, list[float]] = {}
        for stretch in drive.over:
            assert stretch.signal is not None
            reading = drive.of(stretch.signal, stretch, extra=1)
            change = reading[1] - reading[0]  # of speed, with the acceleration of that second
            steps.setdefault(stretch.signal, []).append(float(change))
        for signal, highest, slack in (
            ("speed", 25, 13),
            ("temperature", 20, 3),
            ("battery", 25, 3),
            ("fuelLevel", 25, 3),
        ):
            size = np.abs([step for step in steps[signal] if step == step])
            assert size.min() > 8 - slack
            assert np.median(size) > 10
            assert size.max() < highest + slack
            assert min(steps[signal]) < 0
        for signal in ("speed", "temperature", "fuelLevel"):
            assert max(steps[signal]) > 0

    def test_dropped_out_signals_are_null_and_others_are_not(self, only: Callable[[str], Drive]) -> None:
        drive = only("drop_out")
        for stretch in drive.over:
            for signal in set(SIGNALS) - {"position"}:
                is_null = np.isnan(drive.of(signal, stretch))
                assert is_null.all() if signal == stretch.signal else is_null.mean() < 0.2
        assert np.isnan(drive["speed"][drive.elsewhere()]).mean() < 0.001

    def test_lost_messages_are_most_of_a_stretch_and_few_elsewhere(self, only: Callable[[str], Drive]) -> None:
        drive = only("message_loss")
        assert 0.1 < drive["is_sent"][drive["anomaly"]].mean() < 0.4
        assert drive["is_sent"][drive.elsewhere()].mean() > 0.998
        for stretch in drive.over:
            is_sent = drive.of("is_sent", stretch)
            assert not is_sent[0]
            assert is_sent[-1]

    def test_skewed_clocks_jump_and_come_back(self, only: Callable[[str], Drive]) -> None:
        drive = only("clock_skew")
        true_s = START_S + 1 + np.arange(len(drive["timestamp"]))[:, None]
        skew_s = drive["timestamp"] - true_s
        np.testing.assert_allclose(skew_s, drive["clock_skew_s"], atol=1e-5)
        assert (np.abs(skew_s[drive["anomaly"]]) > 9.9).all()
        assert np.abs(skew_s).max() < 300.1
        assert not drive["clock_skew_s"][drive.elsewhere()].any()
        assert skew_s.min() < 0 < skew_s.max()
