"""A fleet together with its senders: each step gives what arrives at the log. `training` drives it."""

from typing import Any

from simulator.pacing import phases
from simulator.senders.reports import SIGNALS, WORDS
from simulator.senders.senders import Senders
from simulator.vehicles import SimulatedFleet


class ReportingFleet:
    """Vehicles whose events go through senders, each at its own moment of the step."""

    def __init__(self, fleet: SimulatedFleet, senders: Senders, first: int) -> None:
        """Join vehicles and senders of the same range, which begins at `first`."""
        self._fleet, self._senders = fleet, senders
        self._phases = phases(first, len(fleet.vehicle_ids))

    @property
    def time_s(self) -> float:
        """Unix time of the vehicles."""
        return self._fleet.time_s

    def step(self, dt_s: float) -> dict[str, Any]:
        """Advance by `dt_s` seconds; return N events in the order of arrival, as columns named as in the telemetry.

        Beside them: `vehicle` intp[N], the place in the range; `measured_s` and `arrives_s` float64[N], in true Unix
        time. NaN is missing, and None where it is a word; a flag is 0 or 1.
        """
        state = self._fleet.step(dt_s)
        due_s = self.time_s + self._phases * dt_s
        reports = self._senders.take(state, due_s, self.time_s + dt_s)
        return {
            "vehicle": reports.vehicle,
            "timestamp": reports.timestamp_s,
            "measured_s": reports.measured_s,
            "arrives_s": reports.arrives_s,
            "anomalyType": reports.fault_names,
            **{
                name: reports.column(signal) if signal in WORDS else reports.signals[:, signal]
                for signal, name in enumerate(SIGNALS)
            },
        }
