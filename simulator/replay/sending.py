"""Streams a recorded data set through the live system: each recording becomes a vehicle.

Neighbours: `recording` reads it, `simulator.pacing` says when to send, `simulator.sender` hands over to Kafka,
`commands/replay.py` runs it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from simulator.pacing import SteadyClock, Stop, due_slices
from simulator.replay.recording import Recording
from simulator.sender import Sender

_GAP_IN_SEQUENCE_S = 1.0

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """How to send a recording.

    `speed_up` is the pace relative to the recording's own (infinity: as fast as it goes); event times keep their own
    spacing whatever the pace. `start_s` is the event time of the first event, None keeps the recorded times.
    """

    speed_up: float
    start_s: float | None
    in_sequence: bool = False


def schedule(recording: Recording, plan: ReplayPlan) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Decide the order of sending and each row's seconds since the first: (intp[R], float64[R]), both in that order.

    Every recording begins at 0 (side by side), or one second after the end of the one before it (in sequence).
    """
    count = len(recording.vehicle_ids)
    first_s = np.full(count, np.inf)
    np.minimum.at(first_s, recording.vehicle, recording.time_s)
    last_s = np.full(count, -np.inf)
    np.maximum.at(last_s, recording.vehicle, recording.time_s)
    begins_s = np.zeros(count)
    if plan.in_sequence:
        begins_s[1:] = np.cumsum(last_s - first_s + _GAP_IN_SEQUENCE_S)[:-1]
    since_s = recording.time_s - (first_s - begins_s)[recording.vehicle]
    order = np.argsort(since_s, kind="stable")
    return order, since_s[order]


def start_without_future_s(recording: Recording, plan: ReplayPlan, now_s: float) -> float:
    """Return the event time to start at (Unix seconds) so that no event is sent before it happened.

    Sent faster than recorded, events have to begin in the past: the last one is then sent at its own time. At the
    recorded pace or slower they begin now.
    """
    _, since_s = schedule(recording, plan)
    lasts_s = float(since_s[-1]) if len(since_s) else 0.0
    return now_s - max(lasts_s - lasts_s / plan.speed_up, 0.0)


def first_events(recording: Recording, plan: ReplayPlan, count: int) -> list[bytes]:
    """Return the first events as they would be sent."""
    order, since_s = schedule(recording, plan)
    _, values = _encoded(recording, order[:count], _event_times(recording, plan, order, since_s)[:count])
    return values


def replay(recording: Recording, plan: ReplayPlan, sender: Sender, stop: Stop) -> int:
    """Send a recording at the plan's pace; returns how many rows were handed over before `stop` was set."""
    order, since_s = schedule(recording, plan)
    clock = SteadyClock()
    time_s = _event_times(recording, plan, order, since_s)
    pace = np.full(len(order), -np.inf) if math.isinf(plan.speed_up) else clock.now_s() + since_s / plan.speed_up
    handed_over = 0
    for rows in due_slices(pace, clock.now_s, stop):
        keys, values = _encoded(recording, order[rows], time_s[rows])
        sender.send(keys, values)
        handed_over += len(keys)
    return handed_over


def _event_times(
    recording: Recording, plan: ReplayPlan, order: NDArray[np.intp], since_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    return recording.time_s[order] if plan.start_s is None else plan.start_s + since_s


def _encoded(
    recording: Recording, rows: NDArray[np.intp], time_s: NDArray[np.float64]
) -> tuple[list[str], list[bytes]]:
    keys = [recording.vehicle_ids[index] for index in recording.vehicle[rows]]
    columns: dict[str, Iterable[Any]] = {
        **{
            name: [None if math.isnan(x) else x for x in column[rows].tolist()]
            for name, column in recording.numbers.items()
        },
        **{name: [column[row] for row in rows] for name, column in recording.texts.items()},
    }
    return keys, [
        _encode({"vehicleId": key, "timestamp": time, **_known(columns, values)})
        for key, time, values in zip(keys, time_s.tolist(), zip(*columns.values(), strict=True), strict=True)
    ]


def _known(columns: Iterable[str], values: tuple[Any, ...]) -> dict[str, Any]:
    """Leave out what a row does not know: an unknown value is not zero."""
    return {name: value for name, value in zip(columns, values, strict=True) if value is not None}
