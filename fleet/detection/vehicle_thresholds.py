"""Each vehicle's own threshold: the bundle's, corrected by how often this vehicle has alarmed.

On the event's way this stands between verdicts and episodes. A threshold that holds for a fleet does not hold for each
of its vehicles: one complains every hour about what is usual for it, another never does. Each alarm that comes after
some calm raises its vehicle's threshold by a step, and each hour lowers it by as much of a step as alarms are wanted in
an hour (adaptive conformal inference: Gibbs and Candès, NeurIPS 2021). In the long run each vehicle so has as many as
are wanted, within the bounds of the correction.

A fault is not learnt away: however long it alarms, it is one, and judged by the threshold at which it began. What
counts is what was said of a vehicle and when, by the log's time where there is a log: the same records give the same
thresholds, however they are cut into blocks.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fleet.detection.verdicts import severity
from fleet.records.scored import Verdicts

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]

# In decades of rarity, as errors and thresholds are.
STEP: Final = 0.25
LOWEST: Final = -0.2
HIGHEST: Final = 1.0
WANTED_PER_HOUR: Final = 0.05
# Alarms that follow each other sooner are of one thing.
CALM_S: Final = 300.0
# Of the bundle's threshold: an error below is no alarm and keeps no episode open, whatever the correction.
NEAR: Final = 0.8


class _Own(msgspec.Struct, array_like=True, gc=False):
    """A vehicle's correction, while alarms follow each other and when they will have ended."""

    present: float
    following: float
    alarmed_s: float

    def at(self, now_s: float) -> float:
        """Return the correction after the latest alarm."""
        quiet_s = now_s - self.alarmed_s
        if quiet_s <= CALM_S:
            return self.present
        return max(self.following - STEP * WANTED_PER_HOUR * quiet_s / 3600.0, LOWEST)

    def alarm(self, now_s: float) -> None:
        """Take an alarm; the first after some calm raises the threshold of whatever comes after the next calm."""
        if now_s - self.alarmed_s > CALM_S:
            self.present = self.at(now_s)
            self.following = min(self.present + STEP, HIGHEST)
        self.alarmed_s = max(self.alarmed_s, now_s)


class VehicleThresholds:
    """Corrections for the vehicles of one partition that have alarmed, at most `max_vehicles` of them.

    Those go first whose latest alarm is longest ago.
    """

    def __init__(self, max_vehicles: int = 200_000) -> None:
        self._max_vehicles = max_vehicles
        self._own: OrderedDict[str, _Own] = OrderedDict()

    def __len__(self) -> int:
        return len(self._own)

    def corrected(
        self, verdicts: Verdicts, threshold: float, vehicle_ids: Sequence[str], now_s: Floats, counted: Flags
    ) -> Verdicts:
        """Judge N events by their vehicles' own thresholds, and let those go on.

        `verdicts` are by the shared `threshold` and name a cause wherever the lowest threshold would alarm; `now_s` is
        float64[N]; `counted` bool[N] says which events tell something of their vehicle.
        """
        near = np.flatnonzero(verdicts.reconstruction_error > min(NEAR * threshold, threshold + LOWEST))
        if not len(near):
            return verdicts
        thresholds = np.array(
            [
                self._threshold(vehicle_ids[row], threshold, moment_s, error, counts)
                for row, moment_s, error, counts in zip(
                    near.tolist(),
                    now_s[near].tolist(),
                    verdicts.reconstruction_error[near].tolist(),
                    counted[near].tolist(),
                    strict=True,
                )
            ]
        )
        return _rejudged(verdicts, near, thresholds)

    def follow(self, vehicle_ids: Sequence[str], now_s: Floats, alarms: Flags) -> None:
        """Take events whose verdicts stand: those with `alarms` bool[N] alarmed and told something."""
        for row in np.flatnonzero(alarms).tolist():
            self._alarm(vehicle_ids[row], float(now_s[row]))

    def snapshot(self) -> bytes:
        """Return everything that `restore` needs."""
        return msgspec.msgpack.encode(self._own)

    def restore(self, snapshot: bytes) -> None:
        """Continue where a snapshot was taken."""
        self._own = OrderedDict(msgspec.msgpack.decode(snapshot, type=dict[str, _Own]))

    def _threshold(self, vehicle_id: str, threshold: float, now_s: float, error: float, counts: bool) -> float:
        own = self._own.get(vehicle_id)
        corrected = threshold + own.at(now_s) if own else threshold
        if counts and error > corrected:
            self._alarm(vehicle_id, now_s)
        return corrected

    def _alarm(self, vehicle_id: str, now_s: float) -> None:
        if own := self._own.get(vehicle_id):
            own.alarm(now_s)
        else:
            self._own[vehicle_id] = _Own(0.0, STEP, now_s)
        self._own.move_to_end(vehicle_id)
        if len(self._own) > self._max_vehicles:
            self._own.popitem(last=False)


def _rejudged(verdicts: Verdicts, rows: npt.NDArray[np.intp], thresholds: Floats) -> Verdicts:
    """Return the verdicts with some rows judged by other thresholds."""
    error, own = verdicts.reconstruction_error[rows], verdicts.threshold.copy()
    is_anomaly, own_severity, causes = verdicts.is_anomaly.copy(), verdicts.severity.copy(), list(verdicts.causes)
    own[rows], is_anomaly[rows], own_severity[rows] = thresholds, error > thresholds, severity(error, thresholds)
    for row in rows[~is_anomaly[rows]].tolist():
        causes[row] = None
    return replace(verdicts, threshold=own, is_anomaly=is_anomaly, severity=own_severity, causes=causes)
