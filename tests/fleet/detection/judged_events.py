"""Judged events of one partition for tests of episodes, and how they are followed."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fleet.detection.episodes import EpisodeChange, EpisodeTracker
from fleet.detection.judged import JudgedBlock

PARTITION = 2
CALM, UNSURE, ALARM, SEVERE = 0.1, 0.45, 0.6, 0.95


@dataclass(frozen=True)
class E:
    """One judged event; the append time is the event's own unless it is given."""

    time_s: float
    severity: float = CALM
    cause: str | None = "overspeed"
    vehicle: str = "V"
    appended_at_s: float | None = None
    repeat: bool = False
    tenant: str | None = None
    doubtful: bool = False
    usual_interval_s: float = 1.0
    stands: bool = False


Followed = tuple[list[str | None], list[EpisodeChange]]


def block(events: list[E], first_offset: int) -> JudgedBlock:
    severity = np.array([e.severity for e in events], np.float64)
    return JudgedBlock(
        partition=PARTITION,
        offsets=np.arange(first_offset, first_offset + len(events)),
        vehicle_ids=[e.vehicle for e in events],
        tenant_ids=[e.tenant for e in events],
        time_s=np.array([e.time_s for e in events], np.float64),
        appended_at_s=np.array([e.time_s if e.appended_at_s is None else e.appended_at_s for e in events], np.float64),
        counted=np.array([not e.repeat for e in events], np.bool_),
        is_anomaly=severity >= 0.5,
        severity=severity,
        reconstruction_error=10 * severity,
        causes=[e.cause if e.severity >= 0.5 else None for e in events],
        model_version="m1",
        usual_interval_s=np.array([e.usual_interval_s for e in events], np.float64),
        doubtful=np.array([e.doubtful for e in events], np.bool_),
        stands=np.array([e.stands for e in events], np.bool_),
    )


def follow(tracker: EpisodeTracker, events: list[E], cuts: tuple[int, ...] = (), first_offset: int = 0) -> Followed:
    """Feed events in blocks that end at `cuts`."""
    ids: list[str | None] = []
    changes: list[EpisodeChange] = []
    for start, end in pairwise([0, *sorted(cuts), len(events)]):
        block_ids, block_changes = tracker.update(block(events[start:end], first_offset + start))
        ids += block_ids
        changes += block_changes
    return ids, changes


def kinds(changes: list[EpisodeChange]) -> list[str]:
    return [change.change for change in changes]
