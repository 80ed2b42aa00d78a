"""When events are due: a rate over time, fixed before the test begins, whatever the system does (open loop).

A rate is piecewise linear, so that its integral and the integral's inverse are exact. Event k is due when the integral
reaches k + 1/2; the number of events due up to any moment is thus the rounded integral.

Neighbours: `generator` and `http_clients` send by it, `page` draws it. Pure.
"""

import itertools
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fleet.errors import SettingsError

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]
Shape = Literal["constant", "ramp", "step", "spike", "day"]
SHAPES: Final[tuple[Shape, ...]] = get_args(Shape)

STEPS: Final = 5
SPIKE_BEGINS, SPIKE_ENDS = 0.4, 0.6  # shares of the test's time
_JUMP_S: Final = 1e-9  # a shorter piece is a jump: its slope would overflow
# A working day by the hour, 0 = the base rate and 1 = the peak: quiet nights, rush hours at 8 and 17. An assumption,
# not a measurement; the last hour leads back to the first.
_DAY: Final = (
    *(0.05, 0.02, 0.0, 0.0, 0.05, 0.20, 0.55, 0.90, 1.0, 0.80, 0.70, 0.70),
    *(0.75, 0.75, 0.75, 0.80, 0.90, 1.0, 0.85, 0.60, 0.40, 0.25, 0.15, 0.10, 0.05),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """A rate in events a second over `seconds`, linear between its points; two points at one time are a jump."""

    times_s: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.times_s[-1]

    @property
    def peak(self) -> float:
        """The highest rate."""
        return max(self.rates)

    @property
    def integral(self) -> float:
        """Events over the whole time, as a real number."""
        return float(self._integrals()[-1])

    @property
    def events(self) -> int:
        """How many events are due in all."""
        return self.due_before(self.seconds)

    def rate_at(self, times_s: Float64s) -> Float64s:
        """Return the rates at float64[N] seconds from the start; at a jump, the one behind it."""
        place = np.clip(np.searchsorted(self.times_s, times_s, side="right") - 1, 0, len(self.times_s) - 2)
        begin_s, rate, slope = self._pieces(place)
        rates: Float64s = rate + slope * (np.clip(times_s, 0, self.seconds) - begin_s)
        return rates

    def due_before(self, time_s: float) -> int:
        """Count the events that are due up to a moment."""
        return int(np.floor(self._integral_until(time_s) + 0.5))

    def due_s(self, events: Int64s) -> Float64s:
        """Return when events (their numbers, int64[N]) are due, in seconds from the start: float64[N], ascending."""
        wanted = events + 0.5
        integrals = self._integrals()
        # The piece in which the integral passes what is wanted; pieces without events are passed over.
        place = np.clip(np.searchsorted(integrals, wanted, side="left") - 1, 0, len(self.times_s) - 2)
        begin_s, rate, slope = self._pieces(place)
        rest = np.maximum(wanted - integrals[place], 0.0)
        # The root of rate·t + slope/2·t² = rest in the form that loses no digits where the slope is small.
        root = np.sqrt(np.maximum(rate * rate + 2 * slope * rest, 0.0))
        since_s = np.divide(2 * rest, rate + root, out=np.zeros_like(rest), where=rate + root > 0)
        ends_s = np.asarray(self.times_s)[place + 1]
        due: Float64s = np.minimum(begin_s + since_s, ends_s)
        return due

    def _integral_until(self, time_s: float) -> float:
        time_s = min(max(time_s, 0.0), self.seconds)
        place = min(int(np.searchsorted(self.times_s, time_s, side="right")) - 1, len(self.times_s) - 2)
        begin_s, rate, slope = (float(part[0]) for part in self._pieces(np.array([place])))
        since_s = time_s - begin_s
        return float(self._integrals()[place]) + rate * since_s + slope / 2 * since_s**2

    def _integrals(self) -> Float64s:
        """Return the integral up to each point."""
        times, rates = np.asarray(self.times_s), np.asarray(self.rates)
        return np.concatenate([[0.0], np.cumsum(np.diff(times) * (rates[1:] + rates[:-1]) / 2)])

    def _pieces(self, place: Int64s) -> tuple[Float64s, Float64s, Float64s]:
        """Return begin, rate at the beginning and slope of the pieces that follow these points."""
        times, rates = np.asarray(self.times_s), np.asarray(self.rates)
        lasts_s = np.diff(times)
        slopes = np.divide(np.diff(rates), lasts_s, out=np.zeros_like(lasts_s), where=lasts_s > _JUMP_S)
        return times[place], rates[place], slopes[place]


def make_profile(shape: Shape, rate: float, base_rate: float, seconds: float) -> Profile:
    """Lay out a profile between `base_rate` and `rate`, its peak; `constant` is the peak throughout.

    ramp: from base to peak in a straight line. step: five stairs from base to peak. spike: base, the peak from 40 to
    60 % of the time, base again. day: a working day with two rush hours, pressed into the test's time. Raises
    SettingsError.
    """
    if not 0 <= base_rate <= rate:
        raise SettingsError(
            f"The base rate is {base_rate:g} and the rate, which is the profile's peak, {rate:g}: "
            "the base must lie between 0 and the peak."
        )
    level = rate - base_rate
    match shape:
        case "constant":
            return Profile((0.0, seconds), (rate, rate))
        case "ramp":
            return Profile((0.0, seconds), (base_rate, rate))
        case "step":
            return _stairs(tuple(base_rate + level * step / (STEPS - 1) for step in range(STEPS)), seconds)
        case "spike":
            begins_s, ends_s = SPIKE_BEGINS * seconds, SPIKE_ENDS * seconds
            edges_s = (0.0, begins_s, begins_s, ends_s, ends_s, seconds)
            return Profile(edges_s, (base_rate, base_rate, rate, rate, base_rate, base_rate))
        case "day":
            hours = len(_DAY) - 1
            times_s = tuple(seconds * hour / hours for hour in range(hours + 1))
            return Profile(times_s, tuple(base_rate + level * share for share in _DAY))


def _stairs(rates: tuple[float, ...], seconds: float) -> Profile:
    edges_s = [seconds * step / len(rates) for step in range(len(rates) + 1)]
    times_s = [time for begin, end in itertools.pairwise(edges_s) for time in (begin, end)]
    return Profile(tuple(times_s), tuple(rate for rate in rates for _ in range(2)))
