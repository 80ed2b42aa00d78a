"""Faults put into recordings of ordinary driving, so that a detector can be measured where nobody has labelled any.

Neighbours: `training.backtesting.recordings` reads the columns, `training.metrics` measures what was found. It works on
any channels: nothing here knows what a column means. Everything follows from the plan's seed.

A fault changes one channel in a run of consecutive rows of one trip. How much is told in units of the channel's own
spread, the interquartile range over all rows divided by 1.349 (the standard deviation of a normal distribution with
that range); faults are weak or strong with equal chance. Seven of the eight kinds work like this, with x the value, s
the strength, S the spread, m the channel's median, u from 0 to 1 within the fault:

    sensor_bias    x + s S                              a wrong zero
    drift          x + u s S                            a zero that wanders off
    scaling        m + (1 + |s|) (x - m)                a wrong gain
    noise_burst    x + |s| S ε, ε standard normal       a loose contact
    spike          x + s S in one to three rows, twice the strength
    stuck_sensor   the value of the row before the fault
    signal_lost    NaN
    decoupled      the same channel at another place, if possible of another trip: every single value is plausible,
                   only not beside the other channels (a contextual fault)

What no one could see is no fault: where a stretch would differ from the recording by less than `least_change` spreads
in its root mean square, another kind or channel is tried, and after some tries the place is left ordinary. Changed
values keep the channel's resolution (its smallest step), so that no detector finds faults by their digits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]

KINDS: Final = (
    "sensor_bias",
    "drift",
    "scaling",
    "noise_burst",
    "spike",
    "stuck_sensor",
    "signal_lost",
    "decoupled",
)
_TRIES: Final = 8
_LONGEST_SPIKE_ROWS: Final = 3
_NORMAL_IQR: Final = 1.349
# Distinct values beyond which a channel is taken to be continuous: its smallest step would be a matter of chance.
_MOST_STEPS: Final = 20_000


@dataclass(frozen=True, slots=True)
class InjectionPlan:
    """How many faults, how long and how strong."""

    seed: int = 7
    prevalence: float = 0.03
    """Share of rows in faults that is aimed at; short trips may leave room for fewer."""
    shortest_rows: int = 20
    longest_rows: int = 120
    """A spike is shorter: one to three rows."""
    ordinary_start_rows: int = 60
    """The first rows of a trip, and as many as `longest_rows` between two faults, stay ordinary."""
    weak: tuple[float, float] = (0.5, 1.5)
    strong: tuple[float, float] = (2.0, 5.0)
    """Ranges of strengths, in spreads."""
    least_change: float = 0.1
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """One fault; its rows are those of its trip with `begins_s` ≤ time ≤ `ends_s`."""

    kind: str
    channel: int
    """Column of the values."""
    vehicle: int
    begins_s: float
    ends_s: float
    rows: int
    strength: float
    """In spreads, with its sign; NaN for kinds that have none (stuck_sensor, signal_lost, decoupled)."""


@dataclass(frozen=True, slots=True)
class Injection:
    """The recording with faults, row for row."""

    values: Floats
    """float64[R, C]."""
    fault: Indices
    """intp[R]: the number of the kind in `kinds`, -1 for ordinary rows."""
    kinds: tuple[str, ...]
    faults: tuple[InjectedFault, ...]

    @property
    def label(self) -> Flags:
        """bool[R]: the row is in a fault."""
        return self.fault >= 0


def inject(values: Floats, vehicle: Indices, time_s: Floats, plan: InjectionPlan) -> Injection:
    """Return a copy of `values` with faults in it.

    Args:
        values: float64[R, C], NaN = unknown; the rows in any order.
        vehicle: intp[R], which vehicle or trip.
        time_s: float64[R], seconds.
        plan: What to inject.

    Raises:
        ValueError: The plan names an unknown kind or its lengths contradict each other.

    """
    _check(plan)
    rng = np.random.default_rng(plan.seed)
    order = np.lexsort((time_s, vehicle))
    ordered = values[order]
    borders = np.flatnonzero(np.append(True, np.diff(vehicle[order]) != 0)[: len(order)])
    ends = np.append(borders[1:], len(order))[: len(borders)]
    trips = [slice(int(first), int(end)) for first, end in zip(borders, ends, strict=True)]
    changed, fault = ordered.copy(), np.full(len(order), -1, np.intp)
    injector = _Injector(plan, ordered, trips, rng)
    faults, left = [], round(plan.prevalence * len(order))
    for place in _places(trips, plan, rng):
        if left < 1:
            break
        drawn = injector.draw(place, left)
        if drawn is None:
            continue
        rows, kind, channel, strength, replaced = drawn
        changed[rows, channel] = replaced
        fault[rows] = plan.kinds.index(kind)
        begins_s, ends_s = (float(time_s[order[row]]) for row in (rows.start, rows.stop - 1))
        whose = int(vehicle[order[rows.start]])
        faults.append(InjectedFault(kind, channel, whose, begins_s, ends_s, len(replaced), strength))
        left -= len(replaced)
    values_out, fault_out = np.empty_like(changed), np.empty_like(fault)
    values_out[order], fault_out[order] = changed, fault
    return Injection(values_out, fault_out, plan.kinds, tuple(faults))


def channel_spread(values: Floats) -> Floats:
    """Return float64[C]: interquartile range / 1.349, or the standard deviation where the middle half is constant.

    0 where a channel is constant or never known.
    """
    spread = np.zeros(values.shape[1])
    for channel, column in enumerate(values.T):
        known = column[np.isfinite(column)]
        if len(known):
            low, high = np.percentile(known, (25, 75))
            spread[channel] = (high - low) / _NORMAL_IQR or known.std()
    return spread


def channel_resolution(values: Floats) -> Floats:
    """Return float64[C]: the smallest step between a channel's values, 0 where it is as good as continuous."""
    resolution = np.zeros(values.shape[1])
    for channel, column in enumerate(values.T):
        distinct = np.unique(column[np.isfinite(column)])
        if 2 <= len(distinct) <= _MOST_STEPS:
            steps = np.diff(distinct)
            # Values computed in floating point differ by less than any sensor's step.
            steps = steps[steps > 1e-9 * max(abs(distinct[0]), abs(distinct[-1]))]
            resolution[channel] = steps.min() if len(steps) else 0.0
    return resolution


def _check(plan: InjectionPlan) -> None:
    unknown = set(plan.kinds) - set(KINDS)
    if unknown or not plan.kinds:
        raise ValueError(f"The plan's kinds must be some of {', '.join(KINDS)}; it has {sorted(unknown) or 'none'}.")
    if not 1 <= plan.shortest_rows <= plan.longest_rows:
        raise ValueError(f"Faults of {plan.shortest_rows} to {plan.longest_rows} rows cannot be: give 1 ≤ from ≤ to.")


def _places(trips: Sequence[slice], plan: InjectionPlan, rng: np.random.Generator) -> list[slice]:
    """Return spaces for one fault each, in random order; the rows between two of them stay ordinary."""
    step = 2 * plan.longest_rows
    places = [
        slice(first, min(first + plan.longest_rows, trip.stop))
        for trip in trips
        for first in range(trip.start + plan.ordinary_start_rows, trip.stop, step)
    ]
    roomy = [place for place in places if place.stop - place.start >= plan.shortest_rows]
    return [roomy[number] for number in rng.permutation(len(roomy))]


_Change: TypeAlias = Callable[["_Injector", slice, int, float], Floats | None]


class _Injector:
    """Draws faults and computes what a channel reads in them; rows are in order of trip and time."""

    def __init__(self, plan: InjectionPlan, values: Floats, trips: Sequence[slice], rng: np.random.Generator) -> None:
        self._plan, self._values, self._trips, self._rng = plan, values, trips, rng
        self._spread = channel_spread(values)
        self._resolution = channel_resolution(values)
        self._median = np.array([np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else np.nan for c in values.T])
        self._channels = np.flatnonzero(self._spread > 0)

    def draw(self, place: slice, most_rows: int) -> tuple[slice, str, int, float, Floats] | None:
        """Return rows, kind, channel, strength and new values of a fault within `place`; None where none shows."""
        for _ in range(_TRIES if len(self._channels) else 0):
            kind = self._plan.kinds[self._rng.integers(len(self._plan.kinds))]
            channel = int(self._rng.choice(self._channels))
            rows = self._rows(place, kind, most_rows)
            strength = self._strength()
            replaced = _CHANGES[kind](self, rows, channel, strength)
            if replaced is not None and self._shows(rows, channel, replaced):
                return rows, kind, channel, float("nan") if kind in _WITHOUT_STRENGTH else strength, replaced
        return None

    def _rows(self, place: slice, kind: str, most_rows: int) -> slice:
        """Draw a run of rows; the last fault is shortened to what is left of the prevalence, down to the shortest."""
        room = place.stop - place.start
        low, high = self._plan.shortest_rows, min(self._plan.longest_rows, room)
        if kind == "spike":
            low, high = 1, min(_LONGEST_SPIKE_ROWS, room)
        length = min(int(self._rng.integers(low, high + 1)), max(most_rows, low))
        first = place.start + int(self._rng.integers(room - length + 1))
        return slice(first, first + length)

    def _strength(self) -> float:
        low, high = self._plan.weak if self._rng.random() < 0.5 else self._plan.strong
        return float(self._rng.uniform(low, high) * self._rng.choice((-1.0, 1.0)))

    def _shows(self, rows: slice, channel: int, replaced: Floats) -> bool:
        """Tell whether a fault changes enough: what was known is lost, or differs by some part of the spread."""
        before = self._values[rows, channel]
        known = np.isfinite(before)
        if known.mean() < 0.5:
            return False
        if np.isnan(replaced[known]).all():
            return True
        change = np.nan_to_num(replaced - before)
        return bool(np.sqrt(np.mean(change**2)) >= self._plan.least_change * self._spread[channel])

    def _stepped(self, channel: int, replaced: Floats) -> Floats:
        """Round to the channel's own steps."""
        step, origin = self._resolution[channel], self._median[channel]
        return replaced if step == 0 else origin + np.round((replaced - origin) / step) * step

    def bias(self, rows: slice, channel: int, strength: float) -> Floats:
        """Return x + s S."""
        return self._stepped(channel, self._values[rows, channel] + strength * self._spread[channel])

    def spike(self, rows: slice, channel: int, strength: float) -> Floats:
        """Return x + 2 s S."""
        return self.bias(rows, channel, 2 * strength)

    def drift(self, rows: slice, channel: int, strength: float) -> Floats:
        """Return x + u s S, reaching the full strength in the last row."""
        length = rows.stop - rows.start
        ramp = np.arange(1, length + 1) / length
        return self._stepped(channel, self._values[rows, channel] + ramp * strength * self._spread[channel])

    def scaling(self, rows: slice, channel: int, strength: float) -> Floats:
        """Return m + (1 + |s|) (x - m)."""
        off = self._values[rows, channel] - self._median[channel]
        return self._stepped(channel, self._median[channel] + (1 + abs(strength)) * off)

    def noise(self, rows: slice, channel: int, strength: float) -> Floats:
        """Return x + |s| S ε."""
        noise = self._rng.standard_normal(rows.stop - rows.start) * abs(strength) * self._spread[channel]
        return self._stepped(channel, self._values[rows, channel] + noise)

    def stuck(self, rows: slice, channel: int, strength: float) -> Floats | None:
        """Return the value of the row before throughout; None where that is unknown or of another trip."""
        del strength
        before = rows.start - 1
        if any(trip.start == rows.start for trip in self._trips) or np.isnan(self._values[before, channel]):
            return None
        return np.full(rows.stop - rows.start, self._values[before, channel])

    def lost(self, rows: slice, channel: int, strength: float) -> Floats:
        """Return NaN throughout."""
        del channel, strength
        return np.full(rows.stop - rows.start, np.nan)

    def decoupled(self, rows: slice, channel: int, strength: float) -> Floats | None:
        """Return the channel at another place: of another trip where there is a long enough one, else of this one."""
        del strength
        length = rows.stop - rows.start
        long_enough = [trip for trip in self._trips if trip.stop - trip.start >= length]
        others = [trip for trip in long_enough if not trip.start <= rows.start < trip.stop]
        source = (others or long_enough)[self._rng.integers(len(others or long_enough))]
        first = int(self._rng.integers(source.start, source.stop - length + 1))
        return self._values[first : first + length, channel].copy()


_CHANGES: Final[Mapping[str, _Change]] = {
    "sensor_bias": _Injector.bias,
    "drift": _Injector.drift,
    "scaling": _Injector.scaling,
    "noise_burst": _Injector.noise,
    "spike": _Injector.spike,
    "stuck_sensor": _Injector.stuck,
    "signal_lost": _Injector.lost,
    "decoupled": _Injector.decoupled,
}
_WITHOUT_STRENGTH: Final = frozenset({"stuck_sensor", "signal_lost", "decoupled"})
