"""Which habits there are, and which share of a fleet's senders has each.

A sender has at most one habit of a family; the families are drawn independently of one another.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np

from simulator.randomness import Flags, VehicleRandomness


class Habit(NamedTuple):
    """One thing that some senders do."""

    name: str
    share: float
    """Of the senders of a usual fleet."""
    meaning: str
    """What such a sender does, and why there are such."""


# Habits by family.
CATALOGUE: Final[Mapping[str, tuple[Habit, ...]]] = {
    # About a third of the senders round something.
    "resolution": (
        Habit("coarse_temperature", 0.05, "coolant to 1 °C, as OBD has it"),
        Habit("coarse_fuel", 0.06, "fuel to 1, 2 or 5 %: floats in tanks have few contacts"),
        Habit("whole_speed", 0.04, "speed to 1 km/h, as OBD has it"),
        Habit("coarse_battery", 0.03, "battery to 1 %, as battery managers have it"),
        Habit("obd_steps", 0.05, "levels to 100/255 %, speed and coolant to 1: OBD's bytes"),
        Habit("coarse_position", 0.04, "degrees to 4 or 5 decimals: thrifty firmware"),
        Habit("whole_numbers", 0.05, "speed, coolant, battery and fuel whole: exports, old gateways"),
        Habit("held_readings", 0.04, "the same four up to 2 to 5 s old: slow adapters ask in turn"),
    ),
    # In working hours most vehicles drive.
    "parking": (Habit("parked", 0.08, "stands for 10 min to 2 h: says the same, drifts or charges"),),
    # A fifth reports more rarely than every 10 s.
    "rhythm": (
        Habit("every_2_s", 0.05, "a common setting"),
        Habit("every_5_s", 0.06, "a common setting"),
        Habit("every_10_s", 0.09, "the default of many trackers"),
        Habit("every_30_s", 0.07, "a tariff by volume"),
        Habit("every_60_s", 0.06, "a tariff by volume"),
        Habit("every_300_s", 0.02, "trailers, and satellite modems"),
        Habit("every_600_s", 0.01, "trailers, and satellite modems"),
        Habit("every_900_s", 0.01, "equipment on batteries"),
        Habit("jittered", 0.05, "every 5 to 60 s, up to a fifth sooner or later: busy devices"),
        Habit("slow_when_parked", 0.06, "every 60 s while the engine is off: saves power"),
        Habit("silent_when_parked", 0.04, "nothing while the engine is off: powered by the ignition"),
    ),
    # The way of a third of the senders shows.
    "delivery": (
        Habit("delayed", 0.15, ".02 to 5 s late, always about the same: mobile networks"),
        Habit("out_of_order", 0.03, "one event in fifty is overtaken: datagrams"),
        Habit("offline_then_in_order", 0.04, "no network for 30 to 600 s, then a queue: dead zones"),
        Habit("offline_then_newest_first", 0.01, "the same with a stack: the latest place matters most"),
        Habit("offline_then_interleaved", 0.01, "the same, and what waited comes between live events"),
        Habit("batched", 0.03, "uploads every 10 to 300 s: saves airtime"),
        Habit("stretch_sent_again", 0.02, "10 to 60 s of events come twice: a lost acknowledgement"),
        Habit("last_sent_twice", 0.03, "one event in a hundred comes twice: at least once"),
    ),
    # With the units below, about one in fifty is wrong for good.
    "clock": (
        Habit("clock_unset_at_start", 0.02, "4 to 20 events say 1970, 1980 or 2000: no fix yet"),
        Habit("clock_wrong_once", 0.005, "a wrong time once or twice an hour: rare, flipped bits"),
        Habit("clock_hour_back", 0.002, "back by an hour, and stays there: one night a year"),
        Habit("clock_offset", 0.008, "20 to 60 s ahead or behind: nobody has set it"),
        Habit("week_rollover", 0.003, "1024 weeks ago, for 1 to 10 minutes: old GPS receivers"),
    ),
    # Once or twice an hour.
    "lapse": (
        Habit("zero_position_once", 0.02, "a position of 0, 0, which stands for no fix"),
        Habit("cold_once", 0.02, "a coolant of -40 °C: the byte 0, which stands for no answer"),
        Habit("level_off_once", 0.02, "a fuel or battery of 0 or 255, which stand for no answer"),
        Habit("speed_spike_once", 0.02, "60 to 200 km/h too fast: a pulse too many"),
    ),
    # One in seven sends some of its signals at a time.
    "message": (
        Habit("only_changed", 0.04, "the speed, and what has changed in whole numbers: telegrams on change"),
        Habit("slow_obd", 0.05, "the bus with every 3rd to 10th position, mostly every 5th"),
        Habit("split_messages", 0.02, "positions and engine in turns: two devices in one"),
        Habit("rare_signals", 0.03, "one to five slow signals with every 10th message alone"),
    ),
    # Few devices have all signals.
    "fitting": (
        Habit("missing_keys", 0.12, "lacks some signals, and their keys"),
        Habit("not_fitted", 0.03, "0, -40 or 255 where there is no sensor: the firmware's filling"),
    ),
    # Mappings that forgot the unit.
    "unit": (
        Habit("speed_in_knots", 0.003, "as NMEA has it"),
        Habit("speed_in_mph", 0.004, "as in the United States"),
        Habit("speed_in_mps", 0.003, "as physics has it"),
    ),
    # On request alone, and in Kafka alone: it breaks the order of a vehicle's events.
    "key": (Habit("keyless", 0.0, "records have no key"),),
}
HABITS: Final = tuple(habit.name for family in CATALOGUE.values() for habit in family)
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class HabitMix:
    """Which share of the senders has each habit; raises ValueError."""

    shares: Mapping[str, float] = field(
        default_factory=lambda: {habit.name: habit.share for family in CATALOGUE.values() for habit in family}
    )

    def __post_init__(self) -> None:
        if unknown := [name for name in self.shares if name not in HABITS]:
            raise ValueError(f"{', '.join(unknown)} is no habit; choose from {', '.join(HABITS)}.")
        for family, habits in CATALOGUE.items():
            shares = [self.shares.get(habit.name, 0.0) for habit in habits]
            if min(shares) < 0 or sum(shares) > 1 + _ROUNDING:
                raise ValueError(
                    f"Shares of {family} habits must be 0 or more and at most 1 in all; they are {shares}."
                )

    @classmethod
    def none(cls) -> Self:
        """Ideal senders."""
        return cls({})

    @classmethod
    def only(cls, name: str) -> Self:
        """Return the mix in which every sender has this habit and no other."""
        return cls({name: 1.0})

    @classmethod
    def usual(cls, shares: Mapping[str, float] | None = None) -> Self:
        """Return the mix with these shares, and without any the usual fleet's."""
        return cls() if shares is None else cls(shares)

    @classmethod
    def without(cls, *families: str) -> Self:
        """Return a usual fleet's mix without some families."""
        return cls({h.name: h.share for family, habits in CATALOGUE.items() if family not in families for h in habits})

    def drawn(self, random: VehicleRandomness) -> dict[str, Flags]:
        """Say for each habit which senders have it, bool[n]."""
        has = {}
        for family, habits in CATALOGUE.items():
            u = random.uniforms(b"h-" + family[:6].encode(), 1)[0]
            edges = np.cumsum([0.0, *(self.shares.get(habit.name, 0.0) for habit in habits)])
            for habit, (low, high) in zip(habits, itertools.pairwise(edges), strict=True):
                has[habit.name] = (low <= u) & (u < high)
        return has


@dataclass(frozen=True, slots=True)
class HabitBlocks:
    """A fleet cut into blocks of vehicles, each of which has one habit; a name that is none has none."""

    names: tuple[str, ...]

    def drawn(self, random: VehicleRandomness) -> dict[str, Flags]:
        """Say for each habit which senders have it, bool[n]: the fleet's vehicles in order, block by block."""
        block = np.arange(random.count) * len(self.names) // random.count
        place = {name: number for number, name in enumerate(self.names)}
        return {habit: block == place.get(habit, -1) for habit in HABITS}
