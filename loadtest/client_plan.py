"""What the clients of the gateway are told to do, and what they say afterwards; one file each way.

Neighbours: `clients` writes the plan and reads the findings, `locust_clients` the other way round. Pure.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from loadtest.lateness import Lateness
from loadtest.profile import Profile
from loadtest.samples import Measured, joined

MOST_REQUESTS: Final = 5_000_000  # of one kind in one test
PATHS: Final = {"predict": "/predict", "score": "/v1/score"}
REQUEST_TIMEOUT_S: Final = 10.0
OVERTIME_S: Final = 10.0  # requests that found no free client so long after the end are not sent at all


class Requests(msgspec.Struct, frozen=True):
    """Requests of one kind: the rate over time, and how many clients share them (each has one at a time)."""

    times_s: tuple[float, ...]
    rates: tuple[float, ...]
    clients: int
    events: int = 1
    """Telemetry events in each."""

    @property
    def profile(self) -> Profile:
        """The rate over time."""
        return Profile(self.times_s, self.rates)


class ClientPlan(msgspec.Struct, frozen=True):
    """What all client processes of a test do together."""

    gateway: str
    run: str
    seconds: float
    predict: Requests | None = None
    score: Requests | None = None
    feed_clients: int = 0
    feed_query: str = "batch=true"
    processes: int = 1
    seed: int = 7

    @property
    def requests(self) -> dict[str, Requests]:
        """The kinds that are asked for, by name."""
        return {name: kind for name, kind in (("predict", self.predict), ("score", self.score)) if kind is not None}

    @property
    def counts_losses(self) -> bool:
        """Whether every client of the feed should see every event: not where they ask for some of them."""
        return not any(name in self.feed_query for name in ("vehicleId=", "anomalies="))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.requests and not self.feed_clients

    @property
    def parts(self) -> int:
        """How many processes have something to do: none has less than one client."""
        most = max([self.feed_clients, *(kind.clients for kind in self.requests.values())])
        return min(self.processes, most)


class SealedLateness(msgspec.Struct, frozen=True):
    """`Lateness`, ready to travel."""

    worst_s: bytes
    sent: bytes

    @classmethod
    def of(cls, lateness: Lateness) -> "SealedLateness":
        """Seal."""
        return cls(lateness.worst_s.tobytes(), lateness.sent.tobytes())

    def opened(self, seconds: float) -> Lateness:
        """Open."""
        lateness = Lateness(seconds)
        lateness.worst_s, lateness.sent = np.frombuffer(self.worst_s), np.frombuffer(self.sent, np.int64)
        return lateness


class PartFindings(msgspec.Struct, frozen=True):
    """What one client process found."""

    lateness: SealedLateness
    requests: dict[str, Measured]
    all_busy: dict[str, int]
    """By kind: requests that found every client waiting for an answer when they were due."""
    feed: Measured
    feed_received: list[int]
    """Events of this run, by client."""
    cpu_share: float


class Findings(msgspec.Struct, frozen=True):
    """What all client processes found."""

    requests: dict[str, Measured]
    all_busy: dict[str, int]
    feed: Measured
    feed_received: list[int]
    lateness: Lateness
    cpu_share: float

    def feed_lost(self, expected: int) -> int:
        """How many events Kafka had acknowledged and clients never saw, over all clients."""
        return sum(max(expected - received, 0) for received in self.feed_received)


def findings_of(plan: ClientPlan, parts: Sequence[PartFindings]) -> Findings:
    """Add up what the processes found."""
    lateness = Lateness(plan.seconds)
    for part in parts:
        lateness.add(part.lateness.opened(plan.seconds))
    names = plan.requests
    return Findings(
        {name: joined(part.requests[name] for part in parts if name in part.requests) for name in names},
        {name: sum(part.all_busy.get(name, 0) for part in parts) for name in names},
        joined(part.feed for part in parts),
        [received for part in parts for received in part.feed_received],
        lateness,
        max((part.cpu_share for part in parts), default=0.0),
    )
