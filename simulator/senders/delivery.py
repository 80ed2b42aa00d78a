"""When an event reaches the log, and whether it does so twice. What is not there yet is held, within bounds."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Final

import numpy as np

from simulator.randomness import Flags, Floats, Indices, VehicleRandomness, Words
from simulator.senders.reports import SIGNALS, Reports
from simulator.senders.spells import Spells

HELD_OF_ONE: Final = 1_024  # events: seventeen minutes at one a second
HELD_OF_ALL: Final = 500_000

_DELAY_S: Final = (0.02, 5.0)
_DELAY_JITTER: Final = 0.2
_OVERTAKEN_SHARE: Final = 0.02
_OVERTAKEN_S: Final = (1.0, 2.5)
_OFFLINE_PAUSE_S, _OFFLINE_S = 1800.0, (30.0, 600.0)
_BATCH_S: Final = (10.0, 300.0)
_SENT_AGAIN_PAUSE_S, _SENT_AGAIN_S = 1800.0, (10.0, 60.0)
_TWICE_SHARE: Final = 0.01
_TWICE_AFTER_S: Final = (0.005, 0.5)
_BURST_SPEED: Final = 1_000.0  # events that waited are sent a thousand times as fast as they were measured
_CATCHES_UP_SPEED: Final = 4.0  # where live events go between them
_BEHIND_S: Final = 1e-4
_OFFLINE_HABITS: Final = ("offline_then_in_order", "offline_then_newest_first", "offline_then_interleaved")


class Delivery:
    """The ways of n senders' events to the log."""

    def __init__(self, random: VehicleRandomness, has: dict[str, Flags], network_s: tuple[float, float]) -> None:
        """Let every event travel for `network_s` seconds, from and to, and for what its sender's habit adds."""
        self._random, self._network_s, self._has = random, network_s, has
        u = random.uniforms(b"delivery", 2)
        self._delay_s = np.where(has["delayed"], _between(_DELAY_S, u[0]), 0.0)
        self._batch_s = np.where(has["batched"], _between(_BATCH_S, u[0]), np.inf)
        self._batch_phase_s = u[1] * _between(_BATCH_S, u[0])
        self._offline = Spells(random, b"offline", _OFFLINE_PAUSE_S, _OFFLINE_S)
        self._again = Spells(random, b"again", _SENT_AGAIN_PAUSE_S, _SENT_AGAIN_S)
        self._goes_offline = np.logical_or.reduce([has[name] for name in _OFFLINE_HABITS])
        self._travels = has["delayed"] | has["out_of_order"] | has["last_sent_twice"] | (network_s[1] > 0)
        self._has_one_connection = (self._travels & ~has["out_of_order"]) | has["batched"] | has[_OFFLINE_HABITS[0]]
        self._has_one_connection &= ~np.logical_or.reduce([has[name] for name in _OFFLINE_HABITS[1:]])
        self._events: Words = np.zeros(random.count, np.uint64)
        self._latest_s = np.full(random.count, -np.inf)
        self._held = Held(random.count)

    @property
    def held(self) -> int:
        """How many events are on their way."""
        return self._held.count

    @property
    def dropped(self) -> int:
        """How many found no room to wait in."""
        return self._held.dropped

    def deliver(self, reports: Reports, until_s: float) -> Reports:
        """Take what was measured now; return what arrives by `until_s`, in the order of arrival."""
        sent = [reports, self._travel(reports), self._send_stretch_again(reports)]
        self._await_network(reports)
        self._await_batch(reports)
        self._keep_order(reports)
        arrived = [self._held.taken(until_s)]
        for part in sent:
            is_late = part.arrives_s > until_s
            if is_late.any():
                self._held.put(part.picked(np.flatnonzero(is_late)))
                part = part.picked(np.flatnonzero(~is_late))
            arrived.append(part)
        return _in_order_of_arrival(arrived)

    def _travel(self, reports: Reports) -> Reports:
        """Delay events by their way; returns those that are sent a second time at once."""
        rows = np.flatnonzero(self._travels[reports.vehicle])
        if not len(rows):
            return reports.rows(0, 0)
        who = reports.vehicle[rows]
        self._events[who] += np.uint64(1)
        u = self._random.uniforms(b"travel", 3, self._events, who)
        shortest_s, longest_s = self._network_s
        way_s = shortest_s + (longest_s - shortest_s) * u[0]
        way_s += self._delay_s[who] * (1 + _DELAY_JITTER * (2 * u[1] - 1))
        arrives_s = reports.measured_s[rows] + way_s
        is_overtaken = self._has["out_of_order"][who] & (u[2] < _OVERTAKEN_SHARE)
        arrives_s[is_overtaken] += _OVERTAKEN_S[0] + (_OVERTAKEN_S[1] - _OVERTAKEN_S[0]) * u[1, is_overtaken]
        reports.arrives_s[rows] = arrives_s
        is_doubled = self._has["last_sent_twice"][who] & (u[2] < _TWICE_SHARE)
        return _again(reports, rows[is_doubled], arrives_s[is_doubled] + _between(_TWICE_AFTER_S, u[1, is_doubled]))

    def _send_stretch_again(self, reports: Reports) -> Reports:
        """Return copies of the events of a stretch; they come when it is over."""
        rows = np.flatnonzero(self._has["stretch_sent_again"][reports.vehicle])
        rows = rows[self._again.strike(reports.vehicle[rows], reports.measured_s[rows])]
        return _again(reports, rows, _burst_s(self._again, reports, rows) + _TWICE_AFTER_S[1])

    def _await_network(self, reports: Reports) -> None:
        rows = np.flatnonzero(self._goes_offline[reports.vehicle])
        rows = rows[self._offline.strike(reports.vehicle[rows], reports.measured_s[rows])]
        if not len(rows):
            return
        who, measured_s = reports.vehicle[rows], reports.measured_s[rows]
        until_s = np.maximum(self._offline.until_s[who], measured_s)
        caught_up_s = np.maximum(measured_s - self._offline.begins_s[who], 0.0) / _CATCHES_UP_SPEED
        arrives_s = _burst_s(self._offline, reports, rows)
        newest_first, interleaved = (self._has[name][who] for name in _OFFLINE_HABITS[1:])
        arrives_s[newest_first] = (until_s + (until_s - measured_s) / _BURST_SPEED)[newest_first]
        arrives_s[interleaved] = (until_s + caught_up_s)[interleaved]
        reports.arrives_s[rows] += arrives_s - measured_s

    def _await_batch(self, reports: Reports) -> None:
        rows = np.flatnonzero(self._has["batched"][reports.vehicle])
        if not len(rows):
            return
        every_s, phase_s = self._batch_s[reports.vehicle[rows]], self._batch_phase_s[reports.vehicle[rows]]
        uploads, since_s = np.divmod(reports.measured_s[rows] - phase_s, every_s)
        at_s = (uploads + 1) * every_s + phase_s + since_s / _BURST_SPEED
        reports.arrives_s[rows] += at_s - reports.measured_s[rows]

    def _keep_order(self, reports: Reports) -> None:
        """Let no event overtake an earlier one where there is one connection, however its delay varies."""
        rows = np.flatnonzero(self._has_one_connection[reports.vehicle])
        if len(rows):
            who = reports.vehicle[rows]
            self._latest_s[who] = np.maximum(reports.arrives_s[rows], self._latest_s[who] + _BEHIND_S)
            reports.arrives_s[rows] = self._latest_s[who]


class Held:
    """Events on their way, in no order: at most `HELD_OF_ONE` of a vehicle, and `HELD_OF_ALL` in all."""

    def __init__(self, vehicles: int) -> None:
        self.count = self.dropped = 0
        self._of_vehicle = np.zeros(vehicles, np.intp)
        self._slots = _free_slots(64)

    def put(self, reports: Reports) -> None:
        """Hold events, one of a vehicle at most; count those for which there is no room."""
        fits = np.flatnonzero(self._of_vehicle[reports.vehicle] < HELD_OF_ONE)[: HELD_OF_ALL - self.count]
        self.dropped += len(reports.vehicle) - len(fits)
        reports = reports.picked(fits)
        self._of_vehicle[reports.vehicle] += 1
        self.count += len(fits)
        while len(self._slots.vehicle) < self.count:
            self._slots = Reports.joined([self._slots, _free_slots(len(self._slots.vehicle))])
        free = np.flatnonzero(np.isinf(self._slots.arrives_s))[: len(fits)]
        for column in fields(Reports):
            getattr(self._slots, column.name)[free] = getattr(reports, column.name)

    def taken(self, until_s: float) -> Reports:
        """Take out what arrives by `until_s`."""
        due = np.flatnonzero(self._slots.arrives_s <= until_s)
        reports = self._slots.picked(due)
        self._slots.arrives_s[due] = np.inf
        np.subtract.at(self._of_vehicle, reports.vehicle, 1)
        self.count -= len(due)
        return reports


def _free_slots(count: int) -> Reports:
    """Return slots of which none arrives."""
    nothing = np.zeros(count)
    return Reports(
        vehicle=np.zeros(count, np.intp),
        measured_s=nothing.copy(),
        timestamp_s=nothing.copy(),
        arrives_s=np.full(count, np.inf),
        signals=np.zeros((count, len(SIGNALS))),
        fault=np.zeros(count, np.intp),
        is_parked=np.zeros(count, bool),
    )


def _again(reports: Reports, rows: Indices, arrives_s: Floats) -> Reports:
    return replace(reports.picked(rows), arrives_s=arrives_s)


def _burst_s(spells: Spells, reports: Reports, rows: Indices) -> Floats:
    """Say when events come that wait for the end of a spell and are then sent in order, one upon the other."""
    who, measured_s = reports.vehicle[rows], reports.measured_s[rows]
    waited_from_s = np.minimum(spells.begins_s[who], measured_s)
    burst_s: Floats = np.maximum(spells.until_s[who], measured_s) + (measured_s - waited_from_s) / _BURST_SPEED
    return burst_s


def _between(limits: tuple[float, float], share: Floats) -> Floats:
    """Interpolate geometrically: short ones are as frequent as long ones."""
    low, high = limits
    between: Floats = low * (high / low) ** share
    return between


def _in_order_of_arrival(parts: Sequence[Reports]) -> Reports:
    filled = [part for part in parts if len(part.vehicle)] or parts[:1]
    whole = filled[0] if len(filled) == 1 else Reports.joined(filled)
    return whole.picked(np.argsort(whole.arrives_s, kind="stable"))
