"""States of a fleet that nobody drove: cheap, smooth, and the same whatever range is asked for."""

from collections.abc import Iterator
from functools import cache

import numpy as np

from simulator.senders import SIGNALS, HabitMix, Reports, Senders
from simulator.vehicles import FleetState

START_S = 1_764_585_000.0
LATER_S = 1e11


def state(first: int, count: int, step: int, parked: bool = False) -> FleetState:
    """Return the events of vehicles `first` to `first + count - 1` at a step."""
    place, wave = np.arange(first, first + count), step / 20
    speed = 60 + 20 * np.sin(wave + place)
    return FleetState(
        vehicleId=[f"V{index:06d}" for index in place],
        timestamp=np.full(count, START_S + step),
        latitude=-31.4 + 0.01 * np.sin(wave / 10 + place),
        longitude=-64.2 + 0.01 * np.cos(wave / 10 + place),
        speed=speed,
        previousSpeed=speed - 1,
        acceleration=np.ones(count),
        temperature=88 + 3 * np.sin(wave / 3 + place),
        battery=80 + 5 * np.sin(wave / 5 + place),
        fuelLevel=60 - step / 300 + np.sin(wave + place) / 5,
        speedLimit=np.full(count, 80.0),
        trafficLevel=1.0 + place % 5,
        weather=["rain"] * count,
        roadType=["urban" if index % 2 else "rural" for index in place],
        night=place % 3 == 0,
        anomaly=place % 7 == 0,
        anomalyType=["overspeed" if index % 7 == 0 else None for index in place],
        clock_skew_s=np.where(place % 11 == 0, 30.0, 0.0),
        is_parked=np.full(count, parked),
        is_sent=(place + step) % 13 != 0,
    )


def due_s(first: int, count: int, step: int) -> np.ndarray:
    """Each vehicle's own moment of a step."""
    return START_S + step + np.arange(first, first + count) % 10 / 10


def drive(senders: Senders, first: int, count: int, steps: int, parked: range = range(0)) -> Iterator[Reports]:
    """Hand over state by state, and at the end wait for what is on its way; `parked` are steps."""
    for step in range(steps):
        yield senders.take(state(first, count, step, step in parked), due_s(first, count, step), START_S + step + 1)
    nothing = state(first, count, steps)
    nothing["is_sent"][:] = False
    yield senders.take(nothing, due_s(first, count, steps), LATER_S)


@cache
def driven(
    habit: str, steps: int, count: int = 8, seed: int = 3, parked: range = range(0)
) -> list[dict[str, np.ndarray]]:
    """Return what arrives of each vehicle where all senders have one habit: columns by name, in order of arrival."""
    senders = Senders(seed, 0, count, HabitMix.only(habit) if habit else HabitMix.none())
    return by_vehicle(Reports.joined(list(drive(senders, 0, count, steps, parked))), count)


def by_vehicle(reports: Reports, count: int) -> list[dict[str, np.ndarray]]:
    """Return the columns of each vehicle's events."""
    found = []
    for place in range(count):
        own = reports.picked(np.flatnonzero(reports.vehicle == place))
        columns = {name: own.signals[:, signal] for signal, name in enumerate(SIGNALS)}
        times = {"measured_s": own.measured_s, "arrives_s": own.arrives_s, "timestamp_s": own.timestamp_s}
        found.append({**columns, **times, "fault": own.fault_names})
    return found
