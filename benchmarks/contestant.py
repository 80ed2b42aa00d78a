"""Who can run a lap: something that takes the telemetry of one topic to scored records in another.

Every contestant has topics and a consumer group of its own on the same Kafka, and is given the same events.

Neighbours: `race` runs laps; `floor_process`, `running_system` and `peers` are the contestants.
"""

from collections.abc import Mapping
from typing import Protocol

from benchmarks.costs import Roles
from fleet.kafka import OffsetRange


class Contestant(Protocol):
    """What a race needs to know of a contestant, and to tell it."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    @property
    def telemetry(self) -> str:
        """The topic that it reads."""

    @property
    def scored(self) -> str:
        """The topic that it writes."""

    @property
    def group_id(self) -> str:
        """The consumer group whose committed offsets say what is finished."""

    def announce(self, ranges: Mapping[int, OffsetRange]) -> None:
        """Be told which offsets are about to become visible."""

    def roles(self) -> Roles:
        """Return its living processes, by role."""
