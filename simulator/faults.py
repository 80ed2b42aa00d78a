"""Which fault each vehicle is in, when, how strong: a schedule that the seed fixes, with its labels.

`simulator.vehicles` advances it before the physics of every step and shows it the vehicles (`Scene`); `driving`,
`engine`, `electrics` and `sensors` act on the effects that it names. A fault passes four stages: it is paused, it
waits for a vehicle that can have it (one that moves, is warm, has fuel), it may have a prelude without a label (an
overspeeding vehicle gathers speed, a thief waits until it is parked), and it acts. Only what acts is labelled.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from simulator.randomness import Flags, Floats, Indices, VehicleRandomness, Words

FAULTS: Final = (
    "overspeed",
    "harsh_braking",
    "engine_overheat",
    "coolant_drift",
    "battery_low",
    "fuel_theft",
    "fuel_leak",
    "stuck_sensor",
    "gps_jump",
    "gps_spoof",
    "sensor_bias",
    "drop_out",
    "message_loss",
    "clock_skew",
)
(OVERSPEED, HARSH_BRAKING, OVERHEAT, COOLANT_DRIFT, BATTERY_LOW, FUEL_THEFT, FUEL_LEAK) = range(7)
(STUCK_SENSOR, GPS_JUMP, GPS_SPOOF, SENSOR_BIAS, DROP_OUT, MESSAGE_LOSS, CLOCK_SKEW, NO_FAULT) = range(7, 15)
SIGNALS: Final = ("speed", "temperature", "battery", "fuelLevel", "position")
SPEED, TEMPERATURE, BATTERY, FUEL_LEVEL, POSITION, NO_SIGNAL = range(6)

SHORTEST_PAUSE_S: Final = 240.0
HIGHEST_FAULT_RATE: Final = 0.25
LONGEST_LOG: Final = 200_000
OVERSPEED_SHOWS_AT: Final = 1.03  # times the limit

_FIRST_PAUSE_S = 60.0
_OWED_AT_START_S = 300.0  # nobody begins in the middle of a fault; the pauses after the first make up for it
_LONGEST_PRELUDE_S = 40.0
_PARKED_BEFORE_THEFT_S = (15.0, 60.0)
_LONGEST_BRAKING_S = 15.0
_FUEL_RESERVE_PCT = 8.0
_BURNT_MEANWHILE_PCT = 6.0  # by the engine while the tank leaks
_HURRIED_RUN_S = 52.0  # of overspeed that must lie ahead: to gather speed, half a minute of it, to slow down
_SPARE_MPS2 = 0.1
_STANDS_MPS = 0.5

Stages: TypeAlias = npt.NDArray[np.int8]
PAUSED, WAITING, PRELUDE, ACTS = range(4)


@dataclass(frozen=True, slots=True)
class FaultKind:
    """How one type of fault turns out: ranges that strength, or another draw, picks from geometrically."""

    lasts_s: tuple[float, float]
    size: tuple[float, float] = (1.0, 1.0)
    """Overspeed: times the limit; braking: m/s²; overheat and battery: °C and % reached; theft: % in all; jump: m;
    loss: share of messages; skew: s."""
    rate: tuple[float, float] = (1.0, 1.0)
    """Per second: °C, % or m."""
    typical_s: float = 0.0
    """Measured mean length of its label, for the schedule's arithmetic."""
    weight: float = 1.0
    """How often it is drawn; the long ones less, or most faulty time would be theirs."""
    needs_mps: float = 0.0
    needs_warm: bool = False


KINDS: Final = {
    "overspeed": FaultKind((30, 120), size=(1.35, 1.75), typical_s=66, needs_mps=5),
    "harsh_braking": FaultKind((_LONGEST_BRAKING_S, _LONGEST_BRAKING_S), size=(6.5, 9.5), typical_s=2.2, needs_mps=10),
    "engine_overheat": FaultKind((60, 180), size=(110, 130), rate=(0.3, 1.0), typical_s=120, needs_warm=True),
    "coolant_drift": FaultKind((300, 600), rate=(0.04, 0.07), typical_s=450, weight=0.6, needs_warm=True),
    "battery_low": FaultKind((90, 240), size=(3, 10), rate=(0.15, 0.6), typical_s=165),
    "fuel_theft": FaultKind((1, 400), size=(8, 30), rate=(0.15, 0.8), typical_s=52),
    "fuel_leak": FaultKind((900, 1500), rate=(0.012, 0.04), typical_s=1200, weight=0.4),
    "stuck_sensor": FaultKind((60, 180), typical_s=120, needs_mps=4.5),
    "gps_jump": FaultKind((5, 60), size=(150, 2000), typical_s=33),
    "gps_spoof": FaultKind((60, 180), rate=(2, 6), typical_s=120),
    "sensor_bias": FaultKind((60, 180), typical_s=120),
    "drop_out": FaultKind((20, 90), typical_s=55),
    "message_loss": FaultKind((30, 120), size=(0.6, 0.95), typical_s=75),
    "clock_skew": FaultKind((20, 90), size=(10, 300), typical_s=55),
}
_BIAS = np.array([(8.0, 25.0), (8.0, 20.0), (8.0, 25.0), (8.0, 25.0), (0.0, 0.0), (0.0, 0.0)])  # by signal
_LASTS, _SIZE, _RATE = (np.array([getattr(KINDS[f], name) for f in FAULTS]) for name in ("lasts_s", "size", "rate"))
_NEEDS_MPS = np.array([KINDS[f].needs_mps for f in FAULTS])
_NEEDS_WARM = np.array([KINDS[f].needs_warm for f in FAULTS])


@dataclass(frozen=True, slots=True)
class FaultStretch:
    """One fault as it turned out: from its first to its last labelled event, in true Unix time."""

    vehicle_id: str
    fault: str
    onset_s: float
    end_s: float
    strength: float
    """0 (weakest) to 1."""
    signal: str | None
    """Which reading is stuck, biased or missing; None for the other faults."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the vehicles are doing, as far as faults depend on it; all of length n."""

    speed_mps: Floats
    limit_mps: Floats
    clear_m: Floats
    """How far the road goes straight on under one limit."""
    spare_mps2: Floats
    """The acceleration that the engine has left at the speed of the overspeed that is planned."""
    stood_s: Floats
    is_warm: Flags
    is_ordinary: Flags
    """Neither refuelling, nor idling, nor in a tunnel."""
    fuel_pct: Floats
    battery_pct: Floats


class FaultSchedule:
    """The faults of n vehicles, at most one at a time each; all arrays are of length n."""

    def __init__(self, random: VehicleRandomness, fault_rate: float, faults: Sequence[str], now_s: float) -> None:
        """Schedule faults of these types so that they take `fault_rate` of the time; raises ValueError.

        Where the types are short, pauses of 240 s keep the realised share below the rate.
        """
        codes = _codes(faults)
        if not 0 <= fault_rate <= HIGHEST_FAULT_RATE:
            raise ValueError(f"fault_rate must be from 0 to {HIGHEST_FAULT_RATE}, but it is {fault_rate}.")
        count = random.count
        self._random = random
        self._codes = np.array(codes, np.intp)
        self._weights = np.cumsum([KINDS[FAULTS[code]].weight for code in codes])
        self._pause_s = _mean_pause_s(fault_rate, codes)
        self.kind = np.full(count, NO_FAULT)
        """Which fault acts or is in its prelude, a place in `FAULTS` or `NO_FAULT`."""
        self.stage: Stages = np.full(count, PAUSED, np.int8)
        self.strength, self.size, self.rate, self.angle = (np.zeros(count) for _ in range(4))
        self.signal = np.full(count, NO_SIGNAL)
        self.until_s = np.full(count, np.inf)
        self.begun_s = np.zeros(count)
        self._planned = np.full(count, NO_FAULT)
        self._lasts_s = np.zeros(count)
        self._number: Words = np.zeros(count, np.uint64)
        # Time spent waiting for a fitting moment shortens the pauses to come.
        self._overdue_s = np.full(count, _OWED_AT_START_S)
        # No fault in the first minute: a fleet that starts has nothing to compare it with.
        first_s = _FIRST_PAUSE_S - self._pause_s * np.log1p(-random.uniforms(b"first", 1)[0])
        self._due_s = now_s + first_s if np.isfinite(self._pause_s) else np.full(count, np.inf)
        self._log = _StretchLog(count)

    def planned_overspeed(self) -> Floats:
        """How many times the limit an overspeed would be; only where one is planned does it mean anything."""
        factor: Floats = np.minimum(self.size, _SIZE[OVERSPEED, 1])
        return factor

    def acts(self, kind: int) -> Flags:
        """Say where a fault of this kind has its effect."""
        acts: Flags = (self.kind == kind) & (self.stage == ACTS)
        return acts

    def is_busy(self) -> Flags:
        """Say where a fault acts or is in its prelude."""
        busy: Flags = self.stage >= PRELUDE
        return busy

    def advance(self, now_s: float, scene: Scene) -> None:
        """End, begin and call faults before the vehicles are moved on from `now_s`."""
        acting = np.flatnonzero(self.stage >= PRELUDE)
        self._leave_preludes(acting[self.stage[acting] == PRELUDE], now_s, scene)
        over = (now_s >= self.until_s[acting]) | self._must_slow_down(acting, scene)
        self._end(acting[over], now_s)
        self._begin(np.flatnonzero(self.stage == WAITING), now_s, scene)
        self._call(np.flatnonzero((self.stage == PAUSED) & (self._due_s <= now_s)))

    def observe(self, now_s: float, scene: Scene) -> None:
        """Look at the vehicles after they moved: speeding shows, ends, and hard braking comes to its end."""
        acting = np.flatnonzero(self.stage >= PRELUDE)
        kind, stage, speed_mps = self.kind[acting], self.stage[acting], scene.speed_mps[acting]
        speeds = speed_mps > OVERSPEED_SHOWS_AT * scene.limit_mps[acting]
        self._show(acting[(kind == OVERSPEED) & (stage == PRELUDE) & speeds], now_s)
        self._end(acting[(kind == OVERSPEED) & (stage == ACTS) & ~speeds], now_s)
        self.until_s[acting[(kind == HARSH_BRAKING) & (speed_mps < _STANDS_MPS)]] = now_s

    def label(self, now_s: float) -> Indices:
        """Return the place in `FAULTS` of each vehicle's labelled fault, or `NO_FAULT`, and note it in the log."""
        kind = np.where(self.stage == ACTS, self.kind, NO_FAULT)
        self._log.note(now_s, kind, self._number, self.strength, self.signal)
        return kind

    def stretches(self, from_s: float, until_s: float, vehicle_ids: Sequence[str]) -> list[FaultStretch]:
        """Return the stretches labelled so far that touch a span of time, in order of onset."""
        return self._log.between(from_s, until_s, vehicle_ids)

    def _call(self, who: Indices) -> None:
        """Draw the next fault of these vehicles; it then waits for its moment."""
        if not len(who):
            return
        self._number[who] += np.uint64(1)
        u = self._random.uniforms(b"fault", 7, self._number, who)
        place = np.searchsorted(self._weights, u[0] * self._weights[-1], side="right")
        code = self._codes[np.minimum(place, len(self._codes) - 1)]
        self._planned[who], self.strength[who], self.stage[who] = code, u[1], WAITING
        self.size[who], self.rate[who] = _between(_SIZE[code], u[1]), _between(_RATE[code], u[1])
        self._lasts_s[who] = _LASTS[code, 0] + (_LASTS[code, 1] - _LASTS[code, 0]) * u[2]
        self.angle[who] = 2 * np.pi * u[4]
        self._draw_signals(who, code, u[3])
        self._draw_sides(who, code, u)

    def _draw_signals(self, who: Indices, code: Indices, u: Floats) -> None:
        choices = np.where(code == STUCK_SENSOR, len(SIGNALS), len(SIGNALS) - 1)
        has_signal = (code == STUCK_SENSOR) | (code == SENSOR_BIAS) | (code == DROP_OUT)
        self.signal[who] = np.where(has_signal, (u * choices).astype(np.intp), NO_SIGNAL)

    def _draw_sides(self, who: Indices, code: Indices, u: Floats) -> None:
        """Give bias and skew their sign, thefts their length, and what is reached a strength of its own."""
        reaches = np.flatnonzero((code == OVERHEAT) | (code == BATTERY_LOW) | (code == FUEL_THEFT))
        self.size[who[reaches]] = _between(_SIZE[code[reaches]], u[5, reaches])
        biased = np.flatnonzero(code == SENSOR_BIAS)
        self.size[who[biased]] = _between(_BIAS[self.signal[who[biased]]], u[1, biased])
        signed = np.flatnonzero((code == SENSOR_BIAS) | (code == CLOCK_SKEW))
        self.size[who[signed]] *= np.where(u[6, signed] < 0.5, -1.0, 1.0)
        thefts = who[code == FUEL_THEFT]
        self._lasts_s[thefts] = self.size[thefts] / self.rate[thefts]

    def _begin(self, waiting: Indices, now_s: float, scene: Scene) -> None:
        who = waiting[self._may_begin(waiting, scene)]
        if not len(who):
            return
        code = self._planned[who]
        self._keep_percentages(who, scene)
        self.kind[who], self.begun_s[who] = code, now_s
        has_prelude = (code == OVERSPEED) | (code == FUEL_THEFT)
        self.stage[who] = PRELUDE
        self.until_s[who] = now_s + _LONGEST_PRELUDE_S
        thefts = who[code == FUEL_THEFT]
        self.until_s[thefts] = np.inf
        self._show(who[~has_prelude], now_s)

    def _may_begin(self, who: Indices, scene: Scene) -> Flags:
        code, signal, limit_mps = self._planned[who], self.signal[who], scene.limit_mps[who]
        moves = np.where((code == SENSOR_BIAS) & (signal == SPEED), _NEEDS_MPS[STUCK_SENSOR], _NEEDS_MPS[code])
        run_m = np.where(code == OVERSPEED, self.size[who] * limit_mps * _HURRIED_RUN_S, 0.0)
        lost_pct = np.where(code == FUEL_LEAK, self.rate[who] * _LASTS[FUEL_LEAK, 0] + _BURNT_MEANWHILE_PCT, 0.0)
        lost_pct = np.where(code == FUEL_THEFT, self.size[who], lost_pct)
        may: Flags = (
            scene.is_ordinary[who]
            & (scene.speed_mps[who] >= moves)
            & (scene.clear_m[who] >= run_m)
            & ((scene.spare_mps2[who] > _SPARE_MPS2) | (code != OVERSPEED))
            & (scene.is_warm[who] | ~_NEEDS_WARM[code])
            & (scene.fuel_pct[who] >= np.where(lost_pct > 0, lost_pct + _FUEL_RESERVE_PCT, 0.0))
        )
        return may

    def _keep_percentages(self, who: Indices, scene: Scene) -> None:
        """Turn round a bias that would leave 0 to 100 %, where it would not show; end a leak before the tank is dry."""
        leaks = who[self._planned[who] == FUEL_LEAK]
        dry_s = (scene.fuel_pct[leaks] - _FUEL_RESERVE_PCT - _BURNT_MEANWHILE_PCT) / self.rate[leaks]
        self._lasts_s[leaks] = np.minimum(self._lasts_s[leaks], dry_s)
        biased = self._planned[who] == SENSOR_BIAS
        for signal, level_pct in ((BATTERY, scene.battery_pct), (FUEL_LEVEL, scene.fuel_pct)):
            these = who[biased & (self.signal[who] == signal)]
            reached = level_pct[these] + self.size[these]
            self.size[these] *= np.where((reached > 100.0) | (reached < 2.0), -1.0, 1.0)

    def _leave_preludes(self, who: Indices, now_s: float, scene: Scene) -> None:
        """Let thieves begin who have waited long enough."""
        low_s, high_s = _PARKED_BEFORE_THEFT_S
        parked_s = low_s + (high_s - low_s) * self.angle[who] / (2 * np.pi)
        self._show(who[(self.kind[who] == FUEL_THEFT) & (scene.stood_s[who] >= parked_s)], now_s)

    def _show(self, who: Indices, now_s: float) -> None:
        self.stage[who], self.begun_s[who] = ACTS, now_s
        self.until_s[who] = now_s + self._lasts_s[who]
        self._overdue_s[who] += now_s - self._due_s[who]

    def _must_slow_down(self, acting: Indices, scene: Scene) -> Flags:
        """Say which of those who speed come to a bend, or to another limit."""
        speed_mps, limit_mps = scene.speed_mps[acting], scene.limit_mps[acting]
        needed_m = (speed_mps**2 - (0.6 * limit_mps) ** 2) / 4.0 + 2 * speed_mps
        slow: Flags = (self.kind[acting] == OVERSPEED) & (scene.clear_m[acting] < needed_m)
        return slow

    def _end(self, who: Indices, now_s: float) -> None:
        if not len(who):
            return
        pause_s = -np.log1p(-self._random.uniforms(b"pause", 1, self._number, who)[0])
        pause_s = SHORTEST_PAUSE_S + pause_s * max(self._pause_s - SHORTEST_PAUSE_S, 0.0)
        # Whoever never came to show his fault owes it still.
        unseen = self.stage[who] == PRELUDE
        shortened_s = np.where(unseen, SHORTEST_PAUSE_S, np.maximum(SHORTEST_PAUSE_S, pause_s - self._overdue_s[who]))
        late_s = np.where(unseen, now_s - self._due_s[who] + SHORTEST_PAUSE_S, shortened_s - pause_s)
        self._overdue_s[who] += late_s
        self._due_s[who] = now_s + shortened_s
        self.kind[who], self.stage[who], self.until_s[who] = NO_FAULT, PAUSED, np.inf


class _StretchLog:
    """Labelled stretches: those that go on, as arrays, and the last 200,000 that are over."""

    def __init__(self, count: int) -> None:
        self._kind = np.full(count, NO_FAULT)
        self._number = np.zeros(count, np.uint64)
        self._onset_s, self._last_s = np.zeros(count), np.zeros(count)
        self._strength, self._signal = np.zeros(count), np.full(count, NO_SIGNAL)
        self._over: deque[tuple[int, int, float, float, float, int]] = deque(maxlen=LONGEST_LOG)

    def note(self, now_s: float, kind: Indices, number: Words, strength: Floats, signal: Indices) -> None:
        changed = np.flatnonzero((kind != self._kind) | ((number != self._number) & (kind != NO_FAULT)))
        if len(changed):
            self._over.extend(self._rows(changed[self._kind[changed] != NO_FAULT]))
            self._onset_s[changed] = now_s
            self._strength[changed], self._signal[changed] = strength[changed], signal[changed]
            self._kind[changed], self._number[changed] = kind[changed], number[changed]
        self._last_s[kind != NO_FAULT] = now_s

    def between(self, from_s: float, until_s: float, vehicle_ids: Sequence[str]) -> list[FaultStretch]:
        rows = [*self._over, *self._rows(np.flatnonzero(self._kind != NO_FAULT))]
        found = [
            FaultStretch(vehicle_ids[who], FAULTS[kind], onset_s, end_s, strength, _signal_name(signal))
            for who, kind, onset_s, end_s, strength, signal in rows
            if end_s >= from_s and onset_s <= until_s
        ]
        return sorted(found, key=lambda stretch: (stretch.onset_s, stretch.vehicle_id))

    def _rows(self, who: Indices) -> Iterator[tuple[int, int, float, float, float, int]]:
        columns = (self._kind, self._onset_s, self._last_s, self._strength, self._signal)
        return zip(who.tolist(), *(column[who].tolist() for column in columns), strict=True)


def _signal_name(signal: int) -> str | None:
    return None if signal == NO_SIGNAL else SIGNALS[signal]


def _codes(faults: Sequence[str]) -> list[int]:
    unknown = [fault for fault in faults if fault not in FAULTS]
    if unknown or not faults:
        raise ValueError(f"faults must name some of {', '.join(FAULTS)}, but they are {', '.join(faults) or 'none'}.")
    return [FAULTS.index(fault) for fault in faults]


def _mean_pause_s(fault_rate: float, codes: list[int]) -> float:
    """Return the mean pause at which faults take their share: stretches of mean length L, pauses of L (1 - f) / f."""
    if fault_rate == 0:
        return float("inf")
    kinds = [KINDS[FAULTS[code]] for code in codes]
    length_s = sum(kind.weight * kind.typical_s for kind in kinds) / sum(kind.weight for kind in kinds)
    return max(SHORTEST_PAUSE_S, length_s * (1 - fault_rate) / fault_rate)


def _between(limits: Floats, share: Floats) -> Floats:
    """Interpolate geometrically, so that weak faults are as frequent as strong ones; limits float64[n, 2]."""
    low, high = limits[:, 0], limits[:, 1]
    between: Floats = np.where(low > 0, np.where(low > 0, low, 1.0) ** (1 - share) * high**share, 0.0)
    return between
