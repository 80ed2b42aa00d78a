"""What windows make of a stream: against a reference in plain Python, and what must not matter to the result."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.features import KINDS, FeaturePlan
from fleet.detection.window_kernel import FADING, HIGHEST_RATE, LATE_RUN, LONGEST_MEMORY, MEMORY, TRUSTED_EVENTS
from fleet.detection.windows import VehicleWindows, WindowedBlock
from fleet.events.channels import VEHICLE_DATA, Channel, ChannelSpec, FeatureKind

NAN = math.nan
GAP_S = 100.0
START_S = 1.7e9
ONE = FeaturePlan.of(ChannelSpec("one", (Channel("x", features=get_args(FeatureKind)),), gap_s=GAP_S))
DRIVE = FeaturePlan.of(
    ChannelSpec(
        "drive",
        (
            Channel("latitude", features=()),
            Channel("longitude", features=()),
            Channel("speed", unit="km/h", features=("level", "fast", "frozen")),
            Channel("limit", unit="km/h", role="context"),
            Channel("road", role="context", codes={"urban": 1, "rural": 2}),
            Channel("night", role="context", kind="flag"),
            Channel("over", formula="excess_ratio", of=("speed", "limit"), features=("level",)),
            Channel("change", formula="rate", of=("speed",), features=("level",)),
            Channel("travelled", formula="travelled", of=("latitude", "longitude"), features=("level",)),
            Channel("error", formula="travel_error", of=("latitude", "longitude", "speed"), features=("level",)),
            Channel("step", formula="step_excess", of=("latitude", "longitude", "speed"), features=("level",)),
        ),
        gap_s=GAP_S,
    )
)
BUILT_IN = FeaturePlan.of(VEHICLE_DATA)


def push(windows: VehicleWindows, *events: tuple[str, float, dict[str, float]]) -> WindowedBlock:
    ids, times, signals = zip(*events, strict=True)
    names = windows.plan.spec.field_names
    rows = [[known.get(name, NAN) for name in names] for known in signals]
    return windows.push(list(ids), np.array(times), np.array(rows))


def drive(*events: tuple[str, float, dict[str, float]]) -> WindowedBlock:
    return push(VehicleWindows(DRIVE), *events)


def feature(block: WindowedBlock, name: str, plan: FeaturePlan = DRIVE) -> list[float]:
    return block.features[:, plan.names.index(name)].tolist()


# Against a reference -------------------------------------------------------------------------------------------------

# A difference of means may be withheld while they have seen little; it is never a wrong one.
WITHHELD_WHILE_YOUNG = {"fast", "medium", "slow", "drift", "mean5", "mean30", "peak"}
REFERRED = {*get_args(FeatureKind), *KINDS[KINDS.index("interval") :]} - {"rough", "stepped", "is_code"}


def mean(before: float, value: float, count: int, span: int) -> float:
    """The plain mean of as many values as it spans, from then on an exponential one."""
    return before + (value - before) / min(count, span)


def surprise(run: int, rate: float, events: int) -> float:
    return math.log(1 - run * math.log(1 - min(rate * min(1.0, events / TRUSTED_EVENTS), HIGHEST_RATE))) if run else 0.0


def rate_after(rate: float, events: int, run: int) -> float:
    memory = min(events, LONGEST_MEMORY)
    return (rate * memory + 1) / (memory + run + 1)


@dataclass
class Past:
    """All known values of the one channel since its history began, and what it made of them."""

    values: list[float] = field(default_factory=list)
    means: dict[int, float] = field(default_factory=lambda: dict.fromkeys((5, 30, 120, 480), 0.0))
    mean5_before: float = 0.0
    run: int = 0
    change_rate: float = 0.5
    absent: int = 0
    seen_rate: float = 0.5
    peak: float = 0.0

    def take(self, value: float) -> None:
        if math.isnan(value):
            self.absent += bool(self.values)
            return
        if self.values:
            self.seen_rate = rate_after(self.seen_rate, len(self.values), self.absent)
            self.take_step(value - self.values[-1])
        self.absent = 0
        self.peak = max(self.peak * FADING, value) if self.values else value
        self.values.append(value)
        self.mean5_before = self.means[5]
        for span in self.means:
            self.means[span] = mean(self.means[span], value, len(self.values), span)

    def take_step(self, step: float) -> None:
        steps = len(self.values)
        if step:
            self.change_rate = rate_after(self.change_rate, steps + 1, self.run)
        self.run = 0 if step else self.run + 1

    def features(self, value: float, pace_s: float) -> dict[str, float]:
        count, means = len(self.values), self.means
        known = {
            "level": value,
            "fast": value - self.mean5_before,
            "medium": (means[5] - means[30]) / pace_s,
            "slow": (means[30] - means[120]) / pace_s,
            "drift": (means[120] - means[480]) / pace_s,
            "mean5": means[5],
            "mean30": means[30],
            "frozen": surprise(self.run, self.change_rate, count),
            "peak": self.peak,
        }
        found = known if not math.isnan(value) else dict.fromkeys(known, NAN)
        return {**found, "lost": surprise(self.absent, self.seen_rate, count) if count else NAN}


@dataclass
class Reference:
    """One vehicle with one channel, event by event; there is no log and so no lag."""

    latest_s: float | None = None
    value: float = NAN
    events: int = 0
    past: Past = field(default_factory=Past)
    log_interval: float = 0.0
    spread: float = 0.0
    interval_mean: float = 0.0
    late: list[float] = field(default_factory=list)
    set_back_s: float = 0.0

    def push(self, time_s: float, value: float) -> tuple[dict[str, float], bool, bool]:
        """Return the features, and whether it is warming up, and a repeat."""
        interval_s = NAN if self.latest_s is None else time_s - self.latest_s
        self.set_back_s = max(-interval_s if interval_s <= 0 else 0.0, self.set_back_s * FADING**1.5)
        self.set_back_s *= self.set_back_s >= 1
        repeat = interval_s == 0 and (value == self.value or (math.isnan(value) and math.isnan(self.value)))
        if repeat or (interval_s <= 0 and not self.was_set_back(time_s)):
            told = {"interval": NAN, "log_interval": NAN}
            return {**dict.fromkeys(get_args(FeatureKind), NAN), "level": value, **self.timing(), **told}, True, repeat
        warming_up = not 0 < interval_s <= GAP_S
        if warming_up:
            self.past, self.events, self.spread, self.interval_mean = Past(), 0, 0.0, 0.0
        unusual = self.unusual(interval_s) if not warming_up and self.events >= 3 else NAN
        self.past.take(value)
        self.remember_time(NAN if warming_up else interval_s, unusual)
        self.latest_s, self.value, self.late = time_s, value, []
        told = {
            "interval": unusual,
            "log_interval": NAN if warming_up else math.log(interval_s),
        }
        pace_s = max(math.exp(self.log_interval), 1.0) if self.events >= 3 else 1.0
        return {**self.past.features(value, pace_s), **self.timing(), **told}, warming_up, False

    def was_set_back(self, time_s: float) -> bool:
        self.late = [*self.late, time_s] if self.late and time_s > self.late[-1] else [time_s]
        return len(self.late) >= LATE_RUN

    def unusual(self, interval_s: float) -> float:
        return (math.log(interval_s) - self.log_interval) / (0.15 + 2 * self.spread)

    def remember_time(self, interval_s: float, unusual: float) -> None:
        self.events += 1
        if self.events == 2:
            self.log_interval = math.log(interval_s)
        elif self.events > 2:
            off, span = math.log(interval_s) - self.log_interval, min(self.events - 1, 120)
            self.log_interval += max(-1.0, min(off, 1.0)) / span
            self.spread += (min(abs(off), 1.0) - self.spread) / span
        if not math.isnan(unusual):
            self.interval_mean += (max(-20.0, min(unusual, 20.0)) - self.interval_mean) / 5

    def timing(self) -> dict[str, float]:
        behind = math.log1p(self.set_back_s)
        return {"interval_mean": self.interval_mean, "ahead": 0.0, "behind": behind, "history": math.log1p(self.events)}


STEPS_S = st.sampled_from([1.0, 1.0, 1.0, 0.5, 2.0, 7.0, 0.0, -3.0, GAP_S, GAP_S + 0.5, -150.0])
VALUES = st.one_of(st.sampled_from([1.0, 1.0, 2.5, NAN, -80.0]), st.floats(-1e3, 1e3))
STREAMS = st.lists(st.tuples(STEPS_S, VALUES), min_size=1, max_size=80)


def assert_follows_the_reference(times: Any, values: Any) -> Reference:
    windows, reference = VehicleWindows(ONE, idle_s=1e9), Reference()
    block = windows.push(["v"] * len(times), np.array(times), np.array(values)[:, None])
    kinds = [f.kind for f in ONE.features]
    for i, (time_s, value) in enumerate(zip(times, values, strict=True)):
        expected, warming_up, repeat = reference.push(time_s, value)
        assert (block.warming_up[i], block.repeat[i]) == (warming_up, repeat)
        found = dict(zip(kinds, block.features[i].tolist(), strict=True))
        is_young = len(reference.past.values) < 200
        withheld = {kind for kind in WITHHELD_WHILE_YOUNG if is_young and math.isnan(found[kind])}
        for kind in REFERRED - withheld:
            assert found[kind] == pytest.approx(expected[kind], rel=3e-7, abs=1e-9, nan_ok=True), (i, kind)
    if reference.past.values:
        memory = windows.snapshot()["memory"].view(MEMORY)[0, 0, 0]
        means = [memory[f"mean{span}"] for span in reference.past.means]
        np.testing.assert_allclose(means, list(reference.past.means.values()), 1e-9, 1e-9)
    return reference


@given(STREAMS)
def test_windows_compute_what_the_reference_does(stream):
    assert_follows_the_reference(START_S + np.cumsum([step for step, _ in stream]), [value for _, value in stream])


@pytest.mark.parametrize("seed", range(4))
def test_windows_compute_what_the_reference_does_over_a_long_drive(seed):
    rng = np.random.default_rng(seed)
    count = 1500
    values = np.round(np.cumsum(rng.normal(0, 0.3, count)), rng.integers(0, 3))
    values[rng.random(count) < 0.05] = NAN
    values[700:760] = values[699]
    times = START_S + np.cumsum(rng.choice([1.0, 1.0, 1.1, 0.9, 4.0], count))
    reference = assert_follows_the_reference(times, values)
    assert len(reference.past.values) > 1200


def test_a_shift_that_is_over_is_forgotten_and_one_that_goes_on_is_not():
    rng = np.random.default_rng(3)
    seconds = np.arange(900)
    signals = np.full((2, len(seconds), len(BUILT_IN.spec.fields)), NAN)
    fuel = BUILT_IN.spec.field_names.index("fuelLevel")
    signals[0, :, fuel] = 80 - np.clip((seconds - 400) * 0.5, 0, 25) + rng.normal(0, 0.2, 900)  # 25 % in 50 s
    signals[1, :, fuel] = 80 - 0.05 * seconds + rng.normal(0, 0.2, 900)  # a leak
    for vehicle, is_over in zip(signals, (True, False), strict=True):
        block = VehicleWindows(BUILT_IN).push(["v"] * 900, START_S + seconds, vehicle)
        slow = np.array(feature(block, "fuelLevel_slow", BUILT_IN))
        during = slow[460] if is_over else slow[400]
        assert during < -4
        assert (slow[650:] > -1).all() if is_over else (slow[650:] < -4).all()


def test_rough_and_stepped_are_nothing_while_nothing_moves_and_grow_with_what_does():
    rng = np.random.default_rng(2)
    noise = np.where(np.arange(300) < 100, 0.0, rng.normal(0, 1, 300))
    values = 20 + noise * np.where(np.arange(300) < 200, 1, 4)
    block = VehicleWindows(ONE).push(["v"] * 300, START_S + np.arange(300.0), values[:, None])
    for name in ("x_rough", "x_stepped"):
        found = feature(block, name, ONE)
        assert set(found[90:100]) == {0.0}
        assert 0.5 < found[199] < 8
        assert found[299] > 1.8 * found[199]


# What must not matter ------------------------------------------------------------------------------------------------

# A stream of three vehicles in any order; time may stand still, run back, or leave a gap.
EVENT = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from([-130.0, -1.0, 0.0, 0.0, 0.2, 1.0, 1.0, 7.0, 120.0, 120.5]),
    st.tuples(st.sampled_from([0.0, 50.0, NAN]), st.sampled_from([80.0, 90.5, NAN]), st.sampled_from([-31.4, -31.5])),
)
FLEETS = st.lists(EVENT, min_size=1, max_size=40)


def columns(stream: list[Any]) -> tuple[list[str], Any, Any, Any]:
    times = START_S + np.cumsum([step for _, step, _ in stream])
    names = BUILT_IN.spec.field_names
    rows = np.full((len(stream), len(names)), NAN)
    for column, place in (("speed", 0), ("temperature", 1), ("latitude", 2)):
        rows[:, names.index(column)] = [signals[place] for _, _, signals in stream]
    rows[:, names.index("longitude")] = -64.0
    return [vehicle for vehicle, _, _ in stream], times, rows, START_S + np.arange(len(stream))


def assert_same(found: list[WindowedBlock], whole: WindowedBlock) -> None:
    for name in ("features", "warming_up", "repeat"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in found]), getattr(whole, name))


@given(FLEETS, st.lists(st.integers(0, 40), max_size=6))
def test_windows_give_the_same_however_the_stream_is_cut(stream, cuts):
    ids, times, rows, appended = columns(stream)
    whole = VehicleWindows(BUILT_IN, idle_s=1e9).push(ids, times, rows, appended)
    windows = VehicleWindows(BUILT_IN, idle_s=1e9)
    bounds = [0, *sorted(min(cut, len(ids)) for cut in cuts), len(ids)]
    assert_same([windows.push(ids[a:b], times[a:b], rows[a:b], appended[a:b]) for a, b in pairwise(bounds)], whole)


@given(FLEETS, st.integers(0, 40), st.sampled_from([3, 4, 2000]), st.sampled_from([3, 1024, 3000]))
def test_windows_restored_from_a_snapshot_go_on_bit_for_bit(stream, cut, before, after):
    ids, times, rows, appended = columns(stream)
    windows = VehicleWindows(BUILT_IN, idle_s=1e9, max_vehicles=before)
    first = windows.push(ids[:cut], times[:cut], rows[:cut], appended[:cut])
    snapshot = windows.snapshot()
    whole = [first, windows.push(ids[cut:], times[cut:], rows[cut:], appended[cut:])]
    restored = VehicleWindows(BUILT_IN, idle_s=1e9, max_vehicles=after)
    restored.push(["other", "a"], np.array([5.0, 6.0]), rows[[0, 0]])  # is forgotten
    restored.restore(snapshot)
    again = restored.push(ids[cut:], times[cut:], rows[cut:], appended[cut:])
    assert again.features.tobytes() == whole[1].features.tobytes()
    assert_same([again], whole[1])
    assert len(restored) == len(windows)


def test_a_clock_that_is_a_day_ahead_makes_nobody_else_forgotten():
    windows = VehicleWindows(ONE, idle_s=600.0)
    row = np.ones((1, len(ONE.spec.fields)))
    windows.push(["a"], np.array([1000.0]), row, np.array([1000.5]))
    windows.push(["b"], np.array([1001.0 + 86_400]), row, np.array([1001.5]))
    assert windows.push(["a"], np.array([1000.0]), row, np.array([1002.5])).repeat.tolist() == [True]


def test_windows_restored_forget_the_idle_at_the_same_event():
    windows = VehicleWindows(ONE, idle_s=600.0)
    push(windows, ("a", 0.0, {"x": 1.0}), ("b", 0.0, {"x": 2.0}))
    push(windows, ("a", 300.0, {"x": 1.0}))
    restored = VehicleWindows(ONE, idle_s=600.0)
    restored.restore(windows.snapshot())
    for own in (windows, restored):
        push(own, ("c", 650.0, {"x": 1.0}))
        assert len(own) == 2, "b has been idle for too long, a has not"


def test_a_snapshot_is_not_changed_by_what_comes_after_it():
    windows = VehicleWindows(ONE)
    push(windows, ("a", 0.0, {"x": 1.0}))
    snapshot = windows.snapshot()
    kept = {name: np.copy(value) for name, value in snapshot.items()}
    push(windows, ("a", 1.0, {"x": 9.0}), ("b", 1.0, {"x": 9.0}))
    for name, value in kept.items():
        np.testing.assert_array_equal(snapshot[name], value)


def test_windows_refuse_a_snapshot_that_does_not_fit():
    windows = VehicleWindows(ONE)
    push(windows, ("a", 0.0, {"x": 1.0}), ("b", 0.0, {"x": 1.0}))
    for other in (VehicleWindows(BUILT_IN), VehicleWindows(ONE, max_vehicles=1)):
        with pytest.raises(ValueError, match="2 vehicles does not fit these windows"):
            other.restore(windows.snapshot())


def test_ten_vehicles_give_the_same_one_after_the_other_as_interleaved():
    rng = np.random.default_rng(4)
    count, vehicles = 300, 10
    ids = [f"v{number % vehicles}" for number in range(count * vehicles)]
    times = START_S + np.repeat(np.arange(count), vehicles) + rng.uniform(0, 0.2, count * vehicles)
    rows = rng.normal(50, 20, (count * vehicles, len(BUILT_IN.spec.fields)))
    rows[rng.random(rows.shape) < 0.1] = NAN
    interleaved = VehicleWindows(BUILT_IN, idle_s=1e9).push(ids, times, rows, times + 0.1)
    order = np.argsort([number % vehicles for number in range(len(ids))], kind="stable")
    by_vehicle = VehicleWindows(BUILT_IN, idle_s=1e9).push(
        [ids[i] for i in order], times[order], rows[order], times[order] + 0.1
    )
    np.testing.assert_array_equal(by_vehicle.features, interleaved.features[order])


# Rules of time -------------------------------------------------------------------------------------------------------


def ahead_and_behind(times: Any, appended: Any) -> tuple[Any, Any, WindowedBlock]:
    block = VehicleWindows(ONE).push(["v"] * len(times), times, np.ones((len(times), 1)), appended)
    return np.array(feature(block, "ahead", ONE)), np.array(feature(block, "behind", ONE)), block


@pytest.mark.parametrize("pace", [1, 5, 60])
@pytest.mark.parametrize("interval_s", [1.0, 10.0])
def test_a_replay_at_a_higher_pace_is_no_clock_set_forward(pace, interval_s):
    rng = np.random.default_rng(pace)
    drive_s = interval_s * np.arange(400.0)
    appended = START_S + drive_s / pace + rng.uniform(0.02, 0.3, 400)
    ahead, behind, _ = ahead_and_behind(1.6e9 + drive_s, appended)
    assert (ahead == 0).all()
    assert (behind == 0).all()


def test_a_clock_set_forward_is_ahead_of_the_log():
    times = START_S + np.arange(200.0)
    skewed = times + np.where(np.arange(200) >= 100, 30.0, 0.0)
    ahead, behind, _ = ahead_and_behind(skewed, times + 0.1)
    assert (ahead[:100] == 0).all()
    assert ahead[100] > math.log1p(20)
    assert (ahead[100:105] > 1).all()
    assert (behind == 0).all()


def test_a_clock_set_back_is_behind_and_begins_a_new_history_after_a_few_events():
    times = START_S + np.arange(200.0)
    skewed = times - np.where(np.arange(200) >= 100, 50.0, 0.0)
    ahead, behind, block = ahead_and_behind(skewed, times + 0.1)
    late = slice(100, 100 + LATE_RUN - 1)
    assert (behind[:100] == 0).all()
    assert (behind[100 : 100 + LATE_RUN] > math.log1p(40)).all()
    assert (np.diff(behind[100:]) <= 0).all(), "it fades"
    assert behind[-1] == 0
    assert block.warming_up[late].all()
    assert block.warming_up[late.stop], "the new history begins"
    assert not block.warming_up[late.stop + 1 :].any()
    assert feature(block, "history", ONE)[late.stop + 1] == pytest.approx(math.log1p(2))
    assert (ahead[late.stop :] == 0).all(), "its lag is the new usual one"


def test_late_events_that_do_not_follow_each_other_leave_the_history_alone():
    events = [("v", float(second), {"x": 1.0}) for second in range(50)]
    strays = [("v", float(second), {"x": 1.0}) for second in (40, 30, 20, 10, 5, 3, 2)]
    block = push(VehicleWindows(ONE), *events, *strays, ("v", 50.0, {"x": 1.0}))
    assert block.warming_up[50:57].all()
    assert not block.warming_up[57]
    assert feature(block, "history", ONE)[57] == pytest.approx(math.log1p(51))


def test_lost_messages_are_an_unusual_interval():
    times = START_S + np.array([*range(60), 70, 71])
    block = VehicleWindows(ONE).push(["v"] * 62, times, np.ones((62, 1)))
    interval = feature(block, "interval", ONE)
    assert max(abs(value) for value in interval[4:60]) < 0.1
    assert interval[60] > 5
    assert feature(block, "interval_mean", ONE)[61] > 1


# Formulas ------------------------------------------------------------------------------------------------------------


def at(speed: float, latitude: float = -31.0, longitude: float = -64.0, **others: float) -> dict[str, float]:
    return {"speed": speed, "latitude": latitude, "longitude": longitude, **others}


def test_windows_compare_positions_with_speed():
    ten_metres = 10 / 111_195
    block = drive(
        ("v", 0.0, at(36.0)), ("v", 1.0, at(36.0, -31.0 + ten_metres)), ("v", 2.0, at(36.0, -31.01)),
        ("v", 3.0, at(36.0, -31.01)),
    )  # fmt: skip
    assert feature(block, "travelled_level")[1] == pytest.approx(10, rel=1e-4)
    assert feature(block, "error_level")[1] == pytest.approx(0.0, abs=0.01)
    assert feature(block, "step_level")[1] == 0.0
    assert feature(block, "step_level")[2] > 1000
    assert feature(block, "error_level")[3] == pytest.approx(-10.0, abs=0.01)


def test_windows_measure_a_step_across_the_date_line_as_short():
    block = drive(("v", 0.0, at(36.0, 0.0, 179.99995)), ("v", 1.0, at(36.0, 0.0, -179.99995)))
    assert feature(block, "travelled_level")[1] == pytest.approx(11.1, abs=0.1)


def test_windows_do_not_compare_distance_with_speed_over_long_intervals():
    block = drive(("v", 0.0, at(60.0)), ("v", 60.0, at(60.0, -31.1)))
    for name in ("travelled_level", "error_level", "step_level", "change_level"):
        assert math.isnan(feature(block, name)[1])


def test_windows_take_a_change_per_second_and_never_over_an_instant():
    block = drive(("v", 0.0, at(50.0)), ("v", 2.0, at(40.0)), ("v", 2.001, at(41.0)))
    assert feature(block, "change_level")[1:] == [-5.0, 2.0]


@pytest.mark.parametrize(("speed", "limit", "excess"), [(90, 60, 0.5), (30, 60, 0), (10, 0, 1), (10, -50, 1)])
def test_windows_compare_speed_with_the_limit_and_do_not_believe_a_broken_one(speed, limit, excess):
    assert feature(drive(("v", 0.0, at(speed, limit=limit))), "over_level") == [excess]


def test_windows_tell_words_and_flags_as_numbers():
    block = drive(("v", 0.0, at(1.0, road=2.0, night=1.0)), ("v", 1.0, at(1.0)))
    assert [feature(block, name)[0] for name in ("road_urban", "road_rural", "night")] == [0, 1, 1]
    assert all(math.isnan(feature(block, name)[1]) for name in ("road_urban", "road_rural", "night"))


@given(st.lists(st.booleans(), min_size=6, max_size=6))
def test_windows_leave_unknown_what_needs_an_unknown_signal(known):
    names = DRIVE.spec.field_names
    has = dict(zip(names, known, strict=True))
    row = {name: float(number) for number, name in enumerate(names, 1) if has[name]}
    block = drive(("v", 0.0, row), ("v", 1.0, row))
    is_placed = has["latitude"] and has["longitude"]
    expected = {
        "speed_level": has["speed"],
        "speed_frozen": has["speed"],
        "over_level": has["speed"] and has["limit"],
        "change_level": has["speed"],
        "travelled_level": is_placed,
        "error_level": is_placed and has["speed"],
        "step_level": is_placed and has["speed"],
        "limit": has["limit"],
        "road_urban": has["road"],
        "night": has["night"],
    }
    for name, is_known in expected.items():
        assert np.isfinite(feature(block, name)[1]) == is_known, name


def test_features_are_blind_to_the_senders_claims_and_to_where_on_earth_it_is():
    def event(latitude: float, longitude: float, claim: float) -> dict[str, float]:
        place = {"latitude": latitude, "longitude": longitude}
        return {**place, "speed": 50.0, "previousSpeed": claim, "acceleration": -claim, "temperature": 80.0}

    here, there = ("v", event(-31.0, -64.0, 10.0)), ("w", event(48.0, 2.0, 90.0))
    windows = VehicleWindows(BUILT_IN)
    for second in range(5):
        block = push(windows, *((vehicle, float(second), signals) for vehicle, signals in (here, there)))
        np.testing.assert_array_equal(block.features[0], block.features[1])


# Absurd values -------------------------------------------------------------------------------------------------------

ABSURD = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e300, -1e300, 1.8e308 / 1.1, -1.7e308, 5e-324, 0.0, -0.0]),
    st.just(NAN),
)
WIDTH = len(BUILT_IN.spec.fields)


@given(
    st.lists(st.lists(ABSURD, min_size=WIDTH, max_size=WIDTH), min_size=2, max_size=8),
    st.lists(st.floats(0, 2.5e11), min_size=8, max_size=8),
    st.booleans(),
)
def test_windows_give_no_infinite_feature_for_absurd_signals_and_times(rows, times, is_regular):
    count = len(rows)
    event_s = START_S + np.arange(count) if is_regular else np.array(times[:count])
    block = VehicleWindows(BUILT_IN).push(["v"] * count, event_s, np.array(rows), np.array(times[::-1][:count]))
    assert not np.isinf(block.features).any()


# Bounds --------------------------------------------------------------------------------------------------------------


def test_a_vehicle_takes_less_than_two_kilobytes():
    assert VehicleWindows(BUILT_IN).bytes_per_vehicle < 2048


@pytest.mark.parametrize("vehicles", [7, 64, 1500])
def test_windows_keep_at_most_their_maximum_of_vehicles_and_count_evictions(vehicles):
    windows = VehicleWindows(ONE, max_vehicles=64)
    block = push(windows, *((str(i), i * 1e-3, {"x": 1.0}) for i in range(vehicles)))
    assert len(windows) == min(vehicles, 64)
    assert windows.evictions == max(0, vehicles - 64)
    assert block.warming_up.all()


def test_windows_grow_without_touching_what_they_hold():
    windows, small = VehicleWindows(ONE), VehicleWindows(ONE)
    for own in (windows, small):
        push(own, ("a", 0.0, {"x": 1.0}), ("a", 1.0, {"x": 3.0}))
    push(windows, *((f"n{i}", 1.0, {"x": 1.0}) for i in range(5000)))
    blocks = [push(own, ("a", 2.0, {"x": 5.0})) for own in (windows, small)]
    np.testing.assert_array_equal(blocks[0].features, blocks[1].features)


def test_windows_evict_those_seen_longest_ago():
    windows = VehicleWindows(ONE, max_vehicles=3)
    for second, vehicle in enumerate("abca"):
        push(windows, (vehicle, float(second), {"x": 1.0}))
    push(windows, ("d", 4.0, {"x": 1.0}))  # b is the longest unseen
    assert push(windows, *((v, 5.0, {"x": 1.0}) for v in "acd")).warming_up.tolist() == [False] * 3
    assert push(windows, ("b", 6.0, {"x": 1.0})).warming_up.tolist() == [True]


def test_windows_forget_idle_vehicles_and_reuse_their_rows_without_their_history():
    windows = VehicleWindows(DRIVE, idle_s=600.0, max_vehicles=2)
    push(windows, ("a", 0.0, at(100.0)), ("b", 0.0, at(90.0)))
    block = push(windows, ("c", 700.0, at(1.0)))
    assert windows.evictions == 2
    assert len(windows) == 1
    assert block.warming_up.tolist() == [True]
    fresh = drive(("c", 700.0, at(1.0)))
    np.testing.assert_array_equal(block.features, fresh.features)


def test_windows_forgive_a_clock_that_once_ran_ahead():
    windows = VehicleWindows(ONE, idle_s=600.0)
    push(windows, ("a", 9e9, {"x": 1.0}), *((other, 0.0, {"x": 1.0}) for other in "bcd"))
    for second in range(100, 1500, 100):
        push(windows, *((vehicle, float(second), {"x": 1.0}) for vehicle in "abcd"))
    assert push(windows, ("a", 1450.0, {"x": 1.0})).warming_up.tolist() == [False]


def test_windows_take_an_empty_block():
    empty = VehicleWindows(ONE).push([], np.empty(0), np.empty((0, 1)))
    assert empty.features.shape == (0, len(ONE.features))


def test_windows_keep_histories_for_as_long_as_a_gap_may_be_and_refuse_bounds_without_meaning():
    assert VehicleWindows(ONE, idle_s=GAP_S / 2).idle_s == GAP_S
    for bounds in ({"idle_s": 0.0}, {"idle_s": NAN}, {"max_vehicles": 0}):
        with pytest.raises(ValueError, match="idle_s must be above 0 and max_vehicles at least 1"):
            VehicleWindows(ONE, **bounds)
