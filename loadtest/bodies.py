"""Bodies of requests: what simulated vehicles report, as `/predict` and `/v1/score` take it.

Neighbour: `locust_clients` sends them.
"""

import time
from collections.abc import Sequence

import msgspec
import numpy as np

from simulator.city import City
from simulator.publisher import encode_rows, wire_columns
from simulator.senders import Reports
from simulator.vehicles import FAULTS, SimulatedFleet

POINT_FIELDS = (
    "latitude longitude speed previousSpeed acceleration temperature battery fuelLevel speedLimit trafficLevel".split()
)
FIRST_VEHICLE = 2_000_000
VEHICLES_PER_BODY = 100  # so that a body's events form histories
_DIFFERENT = 8
# A point must have its ten numbers, and a clock that is wrong would put a body's events out of order.
_FAULTS = tuple(fault for fault in FAULTS if fault not in ("clock_skew", "message_loss", "drop_out"))


def predict_bodies(seed: int) -> list[bytes]:
    """Return a few hundred points."""
    [rows] = _steps(seed, _DIFFERENT * 32, 1)
    points = [{name: row[name] for name in POINT_FIELDS} for row in map(msgspec.json.decode, rows)]
    return [msgspec.json.encode(point) for point in points if None not in point.values()]


def score_bodies(seed: int, events: int) -> list[bytes]:
    """Return a few bodies of so many events each, in order of time."""
    vehicles = min(VEHICLES_PER_BODY, events)
    steps = _steps(seed, vehicles, -(-events // vehicles) + _DIFFERENT - 1)
    rows = [row for step in steps for row in step]
    starts = range(0, _DIFFERENT * vehicles, vehicles)
    return [b'{"events":[' + b",".join(rows[start : start + events]) + b"]}" for start in starts]


def _steps(seed: int, vehicles: int, steps: int) -> Sequence[Sequence[bytes]]:
    """Drive for so many seconds; return each second's events, encoded."""
    begins_s = time.time() - steps
    fleet = SimulatedFleet(seed, FIRST_VEHICLE, vehicles, City.generate(), start_s=begins_s, faults=_FAULTS)
    everyone = np.arange(vehicles)
    times_s = begins_s + np.arange(1, steps + 1)
    reports = (Reports.of(fleet.step(1.0), np.full(vehicles, time_s), everyone) for time_s in times_s)
    return [encode_rows(wire_columns(step, fleet.vehicle_ids)) for step in reports]
