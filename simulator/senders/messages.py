"""Which signals a device has, and which of them come with which message."""

from typing import Final

import numpy as np

from simulator.randomness import Flags, VehicleRandomness
from simulator.senders.reports import (
    ACCELERATION,
    BATTERY,
    FUEL_LEVEL,
    LATITUDE,
    LIMIT,
    LONGITUDE,
    NIGHT,
    PREVIOUS_SPEED,
    ROAD_TYPE,
    SIGNALS,
    SPEED,
    TEMPERATURE,
    TRAFFIC,
    WEATHER,
    Reports,
)

_POSITION: Final = [LATITUDE, LONGITUDE]
_ENGINE: Final = [TEMPERATURE, BATTERY, FUEL_LEVEL]
_SPEEDS: Final = [SPEED, PREVIOUS_SPEED, ACCELERATION]
_WORLD: Final = [LIMIT, TRAFFIC, WEATHER, ROAD_TYPE, NIGHT]
# Drawn with equal shares.
_MISSING: Final = (
    _POSITION,
    [BATTERY, FUEL_LEVEL],
    [BATTERY],
    [FUEL_LEVEL],
    [TEMPERATURE],
    _WORLD,
    [*_ENGINE, *_WORLD],
    [*_POSITION, BATTERY, FUEL_LEVEL, *_WORLD],
)
_NOT_FITTED: Final = (
    ([BATTERY], 0.0),
    ([FUEL_LEVEL], 0.0),
    (_POSITION, 0.0),
    ([TEMPERATURE], -40.0),
    ([TEMPERATURE], 255.0),
    ([BATTERY], 255.0),
    ([FUEL_LEVEL], 255.0),
)
_RARE: Final = ([FUEL_LEVEL], [BATTERY, FUEL_LEVEL], [TEMPERATURE], _WORLD)
_RARELY: Final = 10
_OBD_EVERY: Final = (3, 10)  # messages; mostly 5
_IN_FULL_EVERY_S: Final = 300.0


class Fitting:
    """Sensors that a vehicle lacks: no key at all, or a constant in place of a value."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        u = random.uniforms(b"fitting", 1)[0]
        self._has = has["missing_keys"] | has["not_fitted"]
        self._is_filled = np.zeros((random.count, len(SIGNALS)), bool)
        self._filled_with = np.full(random.count, np.nan)
        for part, signals in enumerate(_MISSING):
            who = np.flatnonzero(has["missing_keys"] & _drawn(u, part, len(_MISSING)))
            self._is_filled[who[:, None], signals] = True
        for part, (signals, value) in enumerate(_NOT_FITTED):
            who = np.flatnonzero(has["not_fitted"] & _drawn(u, part, len(_NOT_FITTED)))
            self._is_filled[who[:, None], signals] = True
            self._filled_with[who] = value

    def apply(self, reports: Reports) -> None:
        """Take out or fill in what is not fitted."""
        rows = np.flatnonzero(self._has[reports.vehicle])
        who = reports.vehicle[rows]
        filled = np.where(self._is_filled[who], self._filled_with[who, None], reports.signals[rows])
        reports.signals[rows] = filled


class PartialMessages:
    """Signals that come with every so-manieth message, or only when they have changed."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        u = random.uniforms(b"partial", 2)
        self._every = np.ones((random.count, len(SIGNALS)), np.intp)
        self._turn = np.zeros((random.count, len(SIGNALS)), np.intp)
        self._share_turns(has, u)
        self._takes_turns: Flags = np.any(self._every > 1, axis=1)
        self._messages = np.zeros(random.count, np.intp)
        self._only_changed = has["only_changed"]
        self._tells_in_full = u[1] < 0.5
        self._said = np.full((random.count, len(SIGNALS)), np.nan)
        self._in_full_s = np.full(random.count, -np.inf)

    def apply(self, reports: Reports) -> None:
        """Take out what does not come with this message."""
        self._take_turns(reports)
        self._leave_unchanged_out(reports)

    def _share_turns(self, has: dict[str, Flags], u: np.ndarray) -> None:
        soonest, latest = _OBD_EVERY
        obd_every = np.where(u[0] < 0.5, 5, soonest + (2 * (u[0] - 0.5) * (latest + 1 - soonest)).astype(np.intp))
        has_slow_obd, is_split = np.flatnonzero(has["slow_obd"]), np.flatnonzero(has["split_messages"])
        speed_is_slow = has_slow_obd[u[1, has_slow_obd] < 0.5]  # others have the speed of the receiver
        self._every[has_slow_obd[:, None], _ENGINE] = obd_every[has_slow_obd, None]
        self._every[speed_is_slow[:, None], _SPEEDS] = obd_every[speed_is_slow, None]
        self._every[is_split] = 2
        self._turn[is_split[:, None], _ENGINE] = 1
        for part, signals in enumerate(_RARE):
            who = np.flatnonzero(has["rare_signals"] & _drawn(u[0], part, len(_RARE)))
            self._every[who[:, None], signals] = _RARELY

    def _take_turns(self, reports: Reports) -> None:
        rows = np.flatnonzero(self._takes_turns[reports.vehicle])
        if not len(rows):
            return
        who = reports.vehicle[rows]
        comes = self._messages[who, None] % self._every[who] == self._turn[who]
        reports.signals[rows] = np.where(comes, reports.signals[rows], np.nan)
        self._messages[who] += 1

    def _leave_unchanged_out(self, reports: Reports) -> None:
        rows = np.flatnonzero(self._only_changed[reports.vehicle])
        if not len(rows):
            return
        who, read = reports.vehicle[rows], reports.signals[rows]
        now_s = reports.measured_s[rows]
        in_full = self._tells_in_full[who] & (now_s - self._in_full_s[who] >= _IN_FULL_EVERY_S)
        self._in_full_s[who[in_full]] = now_s[in_full]
        unchanged = (read == self._said[who]) & ~in_full[:, None]
        unchanged[:, SPEED] = False  # the trigger is in every message: an empty one would be none
        self._said[who] = np.where(np.isnan(read), self._said[who], read)
        reports.signals[rows] = np.where(unchanged, np.nan, read)


def _drawn(u: np.ndarray, part: int, parts: int) -> Flags:
    drawn: Flags = (u * parts).astype(np.intp) == part
    return drawn
