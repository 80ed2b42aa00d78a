"""Events as columns of numbers, from the vehicles' state to what is written on the wire."""

from dataclasses import dataclass
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.columns import Columns
from simulator.city import ROAD_TYPES, WEATHERS
from simulator.faults import FAULTS
from simulator.randomness import Flags, Floats, Indices
from simulator.vehicles import FleetState

Objects: TypeAlias = npt.NDArray[np.object_]

SIGNALS: Final = (
    "latitude",
    "longitude",
    "speed",
    "previousSpeed",
    "acceleration",
    "temperature",
    "battery",
    "fuelLevel",
    "speedLimit",
    "trafficLevel",
    "weather",
    "roadType",
    "night",
)
LATITUDE, LONGITUDE, SPEED, PREVIOUS_SPEED, ACCELERATION, TEMPERATURE, BATTERY, FUEL_LEVEL = range(8)
LIMIT, TRAFFIC, WEATHER, ROAD_TYPE, NIGHT = range(8, 13)
WORDS: Final = (WEATHER, ROAD_TYPE)

# What stands for a signal's whole numbers on the wire; the last stands for NaN.
_MEANINGS: Final[dict[int, Objects]] = {
    TRAFFIC: np.array([0, 1, 2, 3, 4, 5, None], object),
    WEATHER: np.array([*WEATHERS, None], object),
    ROAD_TYPE: np.array([*ROAD_TYPES, None], object),
    NIGHT: np.array([False, True, None], object),
}
_FAULT_NAMES: Final = np.array([*FAULTS, None], object)
_FAULT_OF: Final = {name: place for place, name in enumerate(_FAULT_NAMES.tolist())}
_CODES: Final = {signal: {word: code for code, word in enumerate(_MEANINGS[signal].tolist())} for signal in _MEANINGS}


@dataclass(frozen=True, slots=True)
class Reports(Columns):
    """N events of vehicles of one range."""

    vehicle: Indices
    """intp[N]: place in the range."""
    measured_s: Floats
    """float64[N]: Unix time at which it was so."""
    timestamp_s: Floats
    """float64[N]: what the device's clock said then."""
    arrives_s: Floats
    """float64[N]: the log's time."""
    signals: Floats
    """float64[N, 13] in the order of `SIGNALS`: words and flags by their number, NaN is missing."""
    fault: Indices
    """intp[N]: place in `FAULTS` of the fault that acts, or `len(FAULTS)`."""
    is_parked: Flags

    @classmethod
    def of(cls, state: FleetState, measured_s: Floats, who: Indices) -> Self:
        """Take the events of the vehicles `who` from a state, as an ideal sender reports them at its own moment."""
        signals = np.empty((len(who), len(SIGNALS)))
        for signal, name in enumerate(SIGNALS):
            column: Any = state[name]  # type: ignore[literal-required]
            if signal in WORDS:
                column = np.array([_CODES[signal][word] for word in column], np.float64)
            signals[:, signal] = column[who]
        at_s = measured_s[who]
        fault = np.array([_FAULT_OF[name] for name in state["anomalyType"]], np.intp)[who]
        skewed_s = at_s + state["clock_skew_s"][who]
        return cls(who, at_s, skewed_s, at_s.copy(), signals, fault, state["is_parked"][who])

    @property
    def fault_names(self) -> Objects:
        """object[N]: the name of the fault, or None."""
        names: Objects = _FAULT_NAMES[self.fault]
        return names

    def column(self, signal: int) -> Floats | Objects:
        """Return one signal as the telemetry JSON has it: numbers float64[N], or words and flags object[N]."""
        values = self.signals[:, signal]
        if (meanings := _MEANINGS.get(signal)) is None:
            return values
        known = ~np.isnan(values)
        places = np.full(len(values), len(meanings) - 1)
        places[known] = values[known].astype(np.intp)
        column: Objects = meanings[places]
        return column
