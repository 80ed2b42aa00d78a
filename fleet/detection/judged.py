"""Judged events of one partition, as columns: what episodes are made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from fleet.events.event_time import event_time_s
from fleet.records.scored import ScoredEvent


@dataclass(frozen=True, slots=True)
class JudgedBlock:
    """N events of one partition in log order, with their verdicts, as columns."""

    partition: int
    offsets: NDArray[np.int64]  # int64[N]
    vehicle_ids: Sequence[str]
    tenant_ids: Sequence[str | None]
    time_s: NDArray[np.float64]  # float64[N]: event time, Unix seconds
    appended_at_s: NDArray[np.float64]  # float64[N]: Unix seconds, the log's
    counted: NDArray[np.bool_]  # bool[N]: False for repeats and what could not be scored; they change nothing
    is_anomaly: NDArray[np.bool_]  # bool[N]
    severity: NDArray[np.float64]  # float64[N] in 0..1, 0.5 at the alarm's threshold
    reconstruction_error: NDArray[np.float64]  # float64[N]
    causes: Sequence[str | None]
    model_version: str
    usual_interval_s: NDArray[np.float64]  # float64[N]: from event to event of the vehicle; 0 = unknown
    doubtful: NDArray[np.bool_]  # bool[N]: one such alarm opens nothing, however severe: a reading may be wrong once
    stands: NDArray[np.bool_]  # bool[N]: the vehicle stands, as far as its speed is known


def judged_blocks(partition: int, events: Sequence[ScoredEvent]) -> Iterator[JudgedBlock]:
    """Give scored records of one partition, in log order, back as the verdicts that episodes were followed by.

    One block for each run of events that one model judged.
    """
    for version, run in groupby(events, attrgetter("model_version")):
        rows = list(run)
        yield JudgedBlock(
            partition=partition,
            offsets=np.array([row.offset for row in rows], np.int64),
            vehicle_ids=[row.vehicle_id for row in rows],
            tenant_ids=[row.tenant_id for row in rows],
            time_s=np.array([event_time_s(row.timestamp) for row in rows], np.float64),
            appended_at_s=np.array([row.appended_at for row in rows], np.float64),
            counted=np.array([not row.repeat for row in rows], np.bool_),
            is_anomaly=np.array([row.is_anomaly for row in rows], np.bool_),
            severity=np.array([row.severity for row in rows], np.float64),
            reconstruction_error=np.array([row.reconstruction_error for row in rows], np.float64),
            causes=[row.anomaly_type for row in rows],
            model_version=version,
            usual_interval_s=np.array([row.usual_interval for row in rows], np.float64),
            doubtful=np.array([row.doubtful for row in rows], np.bool_),
            stands=np.array([row.stands for row in rows], np.bool_),
        )
