"""The devices of a range of vehicles: what they make of each state, and what of it arrives."""

import numpy as np

from simulator.randomness import Flags, Floats, VehicleRandomness
from simulator.senders.catalogue import HabitBlocks, HabitMix
from simulator.senders.clocks import Clocks
from simulator.senders.delivery import Delivery
from simulator.senders.holding import HeldReadings, ParkedReadings
from simulator.senders.lapses import Lapses
from simulator.senders.messages import Fitting, PartialMessages
from simulator.senders.reports import Reports
from simulator.senders.resolution import Resolution
from simulator.senders.rhythm import Rhythm
from simulator.vehicles import FleetState

_OMIT_KEYS = ("missing_keys", "only_changed", "slow_obd", "split_messages", "rare_signals")


class Senders:
    """The senders of vehicles `first` to `first + count - 1` of the fleet that `seed` describes.

    Everything random is a hash of seed and vehicle, so a sender does the same whatever range a process owns.
    """

    def __init__(
        self,
        seed: int,
        first: int,
        count: int,
        mix: HabitMix | HabitBlocks,
        network_s: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Draw the habits. An event takes `network_s` seconds, from and to, to the log: for who has no real network."""
        random = VehicleRandomness(seed, first, count)
        has = mix.drawn(random)
        # Of those whose habit shows in parking alone, half begin with it.
        shows_parked = has["slow_when_parked"] | has["silent_when_parked"]
        self.parks_first: Flags = has["parked"] | (shows_parked & (random.uniforms(b"parks", 1)[0] < 0.5))
        """bool[n]: whose vehicle is to stand with its engine off at the start."""
        self.omits_keys: Flags = np.logical_or.reduce([has[name] for name in _OMIT_KEYS])
        """bool[n]: who leaves out what it does not send; the others write null."""
        self.is_keyless: Flags = has["keyless"]
        """bool[n]: whose records have no key."""
        self.lost = 0
        """How many events were lost on their way, as the state says."""
        self._rhythm = Rhythm(random, has)
        # In the order of the physical way: the vehicle, the bus, the device, its clock.
        self._habits = (
            ParkedReadings(random, has),
            HeldReadings(random, has),
            Resolution(random, has),
            Lapses(random, has),
            Fitting(random, has),
            PartialMessages(random, has),
            Clocks(random, has),
        )
        self._delivery = Delivery(random, has, network_s)

    def take(self, state: FleetState, due_s: Floats, until_s: float) -> Reports:
        """Take a state; return what arrives by `until_s`, in the order of arrival.

        `due_s` float64[n] is each vehicle's own moment: by `until_s`, and not before the last call's `until_s`.
        """
        is_due = self._rhythm.due(due_s, state["is_parked"])
        who = np.flatnonzero(is_due & state["is_sent"])
        self.lost += int(is_due.sum()) - len(who)
        reports = Reports.of(state, due_s, who)
        for habit in self._habits:
            habit.apply(reports)
        return self._delivery.deliver(reports, until_s)

    @property
    def held(self) -> int:
        """How many events are on their way; at most 1,024 of a vehicle, and 500,000 in all."""
        return self._delivery.held

    @property
    def dropped(self) -> int:
        """How many events found no room to wait in."""
        return self._delivery.dropped
