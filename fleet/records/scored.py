"""The scored record: how a verdict is written onto the event it judges, and how readers see it.

Neighbours on the event's way: `fleet.detection.verdicts` gives the verdicts, `deployments.ingest` publishes what is
encoded here, `deployments.gateway` reads it. The event's own fields are not encoded again: their text is carried over
byte for byte, and the verdict's fields are appended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.detection.episodes import JudgedBlock
from fleet.detection.verdicts import Verdicts
from fleet.events.telemetry import TelemetryBlock, Truth, event_time_s


class _TruthFields(msgspec.Struct, gc=False):
    anomaly: bool | None
    anomalyType: str | None  # noqa: N815 - the names are the wire's


class _EventFields(msgspec.Struct, gc=False):
    """What a scored record adds to its event and is the event's own; see the contract."""

    anomaly: bool
    anomalyType: str | None  # noqa: N815
    is_anomaly: bool
    reconstruction_error: float
    severity: float
    contributions: dict[str, float]
    warmingUp: bool  # noqa: N815
    repeat: bool
    episodeId: str | None  # noqa: N815
    source: str
    appendedAt: float  # noqa: N815


class _BlockFields(msgspec.Struct, gc=False):
    """What it adds that is the same for a whole block, but for the truth. Times are Unix seconds."""

    anomaly_threshold: float
    modelVersion: str  # noqa: N815
    ingestedAt: float  # noqa: N815
    scoredAt: float  # noqa: N815
    truth: _TruthFields | msgspec.UnsetType = msgspec.UNSET


ADDED_FIELDS: Final = frozenset(
    field.encode_name for part in (_EventFields, _BlockFields) for field in msgspec.structs.fields(part)
)
"""Everything that a scored record adds."""


class ScoredEvent(msgspec.Struct, gc=False):
    """A reader's view of a scored record; everything else in it stays in the bytes."""

    vehicleId: str  # noqa: N815
    timestamp: float | str
    reconstruction_error: float
    anomaly_threshold: float
    is_anomaly: bool
    severity: float
    modelVersion: str  # noqa: N815
    source: str
    appendedAt: float  # noqa: N815
    scoredAt: float  # noqa: N815
    anomalyType: str | None = None  # noqa: N815
    warmingUp: bool = False  # noqa: N815
    repeat: bool = False
    tenantId: str | None = None  # noqa: N815

    @property
    def offset(self) -> int:
        """The telemetry record's offset in its partition."""
        return int(self.source.rpartition(":")[2])


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where and when the N events of a block entered: one partition, offsets and append times by row."""

    partition: int
    offsets: NDArray[np.int64]  # int64[N]
    appended_at_s: NDArray[np.float64]  # float64[N]
    ingested_at_s: float
    scored_at_s: float
    sources: list[str] = field(init=False)
    """`partition:offset` by row."""

    def __post_init__(self) -> None:
        prefix = f"{self.partition}:"
        object.__setattr__(self, "sources", [prefix + str(offset) for offset in self.offsets.tolist()])


decode_scored = msgspec.json.Decoder(ScoredEvent).decode
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def encode_results(
    block: TelemetryBlock,
    verdicts: Verdicts,
    provenance: Provenance,
    *,
    model_version: str,
    threshold: float,
    warming_up: Sequence[bool],
    repeat: Sequence[bool],
    episode_ids: Sequence[str | None],
) -> list[bytes]:
    """Encode the N scored records of a block, in its order.

    Each is three pieces of JSON: the event's own text, the fields of its verdict, and those that the block shares.
    """
    anomalous = verdicts.is_anomaly.tolist()
    # A list: of any other iterable msgspec 0.22 never lets go (measured: 500 bytes an event were lost for good).
    fields = list(
        map(
            _EventFields,
            anomalous,
            verdicts.causes,
            anomalous,
            verdicts.reconstruction_error.tolist(),
            verdicts.severity.tolist(),
            verdicts.contributions,
            warming_up,
            repeat,
            episode_ids,
            provenance.sources,
            provenance.appended_at_s.tolist(),
        )
    )
    # One call for the block; no line break stands inside encoded JSON.
    lines = _encode_lines(fields).split(b"\n")
    times = (provenance.ingested_at_s, provenance.scored_at_s)
    shared = {truth: _shared_fields(threshold, model_version, *times, truth) for truth in set(block.truths)}
    return [
        b"%b,%b,%b" % (body, line[1:-1], shared[truth])
        for body, line, truth in zip(block.bodies, lines, block.truths, strict=False)  # a last, empty line follows
    ]


def _shared_fields(
    threshold: float, model_version: str, ingested_at_s: float, scored_at_s: float, truth: Truth | None
) -> bytes:
    of_truth = msgspec.UNSET if truth is None else _TruthFields(truth.anomaly, truth.anomaly_type)
    return _encode(_BlockFields(threshold, model_version, ingested_at_s, scored_at_s, of_truth))[1:]


def judged_block(
    block: TelemetryBlock,
    verdicts: Verdicts,
    provenance: Provenance,
    *,
    counted: NDArray[np.bool_],
    model_version: str,
) -> JudgedBlock:
    """Put together what episodes are followed by; `counted` bool[N] is False for what changes nothing."""
    return JudgedBlock(
        partition=provenance.partition,
        offsets=provenance.offsets,
        vehicle_ids=block.vehicle_ids,
        tenant_ids=block.tenant_ids,
        time_s=block.timestamp_s,
        appended_at_s=provenance.appended_at_s,
        counted=counted,
        is_anomaly=verdicts.is_anomaly,
        severity=verdicts.severity,
        reconstruction_error=verdicts.reconstruction_error,
        causes=verdicts.causes,
        model_version=model_version,
    )


def judged_blocks(partition: int, events: Sequence[ScoredEvent]) -> Iterator[JudgedBlock]:
    """Give scored records of one partition, in log order, back as the verdicts that episodes were followed by.

    One block for each run of events that one model judged.
    """
    for version, run in groupby(events, attrgetter("modelVersion")):
        rows = list(run)
        yield JudgedBlock(
            partition=partition,
            offsets=np.array([row.offset for row in rows], np.int64),
            vehicle_ids=[row.vehicleId for row in rows],
            tenant_ids=[row.tenantId for row in rows],
            time_s=np.array([event_time_s(row.timestamp) for row in rows], np.float64),
            appended_at_s=np.array([row.appendedAt for row in rows], np.float64),
            counted=np.array([not row.repeat for row in rows], np.bool_),
            is_anomaly=np.array([row.is_anomaly for row in rows], np.bool_),
            severity=np.array([row.severity for row in rows], np.float64),
            reconstruction_error=np.array([row.reconstruction_error for row in rows], np.float64),
            causes=[row.anomalyType for row in rows],
            model_version=version,
        )
