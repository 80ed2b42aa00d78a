"""What a device's clock says."""

from typing import Final

import numpy as np

from simulator.randomness import Flags, VehicleRandomness
from simulator.senders.reports import Reports
from simulator.senders.spells import Spells

_UNSET_EVENTS: Final = (4, 20)
_EPOCHS_S: Final = np.array([0.0, 0.0, 315_964_800.0, 946_684_800.0])  # 1970, 1970, GPS's 1980, 2000
_BOOTS_IN_S: Final = 60.0
_HOUR_S: Final = 3600.0
_SET_BACK_AFTER_S: Final = (300.0, 2400.0)
_OFFSET_S: Final = (20.0, 60.0)
_WRONG_ONCE_S: Final = (60.0, 1e6)
_WEEKS_LOST_S: Final = 1024 * 7 * 86_400.0


class Clocks:
    """The clocks of n devices."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags]) -> None:
        u = random.uniforms(b"clock", 4)
        names = ("clock_unset_at_start", "clock_wrong_once", "clock_hour_back", "clock_offset", "week_rollover")
        self._has_any = np.logical_or.reduce([has[name] for name in names])
        least, most = _UNSET_EVENTS
        self._unset_events = np.where(has["clock_unset_at_start"], least + (u[0] * (most + 1 - least)), 0).astype(int)
        self._epoch_s = _EPOCHS_S[(u[1] * len(_EPOCHS_S)).astype(np.intp)] + _BOOTS_IN_S * u[2]
        low_s, high_s = _SET_BACK_AFTER_S
        self._back_after_s = np.where(has["clock_hour_back"], low_s + (high_s - low_s) * u[0], np.inf)
        low_s, high_s = _OFFSET_S
        size_s = (low_s + (high_s - low_s) * u[0]) * np.where(u[1] < 0.5, -1.0, 1.0)
        self._offset_s = np.where(has["clock_offset"], size_s, 0.0)
        self._random = random
        self._is_wrong_once, self._rolls_over = has["clock_wrong_once"], has["week_rollover"]
        self._wrong_once = Spells(random, b"wrong", 2400.0)
        self._rollover = Spells(random, b"rollover", 1500.0, (60.0, 600.0))
        self._first_s = np.full(random.count, np.nan)
        self._events = np.zeros(random.count, np.intp)

    def apply(self, reports: Reports) -> None:
        """Say each event's time as the device's clock has it."""
        rows = np.flatnonzero(self._has_any[reports.vehicle])
        if not len(rows):
            return
        who, now_s = reports.vehicle[rows], reports.measured_s[rows]
        self._first_s[who] = np.where(np.isnan(self._first_s[who]), now_s, self._first_s[who])
        self._events[who] += 1
        up_s = now_s - self._first_s[who]
        said_s = reports.timestamp_s[rows] + self._offset_s[who]
        said_s -= np.where(up_s >= self._back_after_s[who], _HOUR_S, 0.0)
        said_s = np.where(self._events[who] <= self._unset_events[who], self._epoch_s[who] + up_s, said_s)
        reports.timestamp_s[rows] = said_s
        self._go_wrong(reports, rows[self._is_wrong_once[who]])
        self._roll_over(reports, rows[self._rolls_over[who]])

    def _go_wrong(self, reports: Reports, rows: np.ndarray) -> None:
        struck = rows[self._wrong_once.strike(reports.vehicle[rows], reports.measured_s[rows])]
        if len(struck):
            u = self._random.uniforms(b"wrongby", 2, self._wrong_once.number, reports.vehicle[struck])
            low_s, high_s = _WRONG_ONCE_S
            by_s = low_s * (high_s / low_s) ** u[0] * np.where(u[1] < 0.4, 1.0, -1.0)
            said_s = np.where(u[1] > 0.8, 0.0, reports.timestamp_s[struck] + by_s)
            reports.timestamp_s[struck] = said_s

    def _roll_over(self, reports: Reports, rows: np.ndarray) -> None:
        struck = rows[self._rollover.strike(reports.vehicle[rows], reports.measured_s[rows])]
        reports.timestamp_s[struck] -= _WEEKS_LOST_S
