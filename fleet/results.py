"""The scored record: how a verdict is written onto the event it judges, and how readers see it.

Neighbours on the event's way: `fleet.scoring` gives the verdicts, `deployments.ingest` publishes what is encoded
here, `deployments.gateway` reads it. The event's own fields are not encoded again: their text is carried over byte
for byte, and the verdict's fields are appended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.scoring import Verdicts
from fleet.telemetry import TelemetryBlock, Truth


class _TruthFields(msgspec.Struct, gc=False):
    anomaly: bool | None
    anomalyType: str | None  # noqa: N815 - the names are the wire's


class VerdictFields(msgspec.Struct, gc=False):
    """What a scored record adds to its event; see the contract. Times are Unix seconds."""

    anomaly: bool
    anomalyType: str | None  # noqa: N815
    reconstruction_error: float
    anomaly_threshold: float
    is_anomaly: bool
    severity: float
    contributions: dict[str, float]
    modelVersion: str  # noqa: N815
    warmingUp: bool  # noqa: N815
    repeat: bool
    episodeId: str | None  # noqa: N815
    source: str
    appendedAt: float  # noqa: N815
    ingestedAt: float  # noqa: N815
    scoredAt: float  # noqa: N815
    truth: _TruthFields | msgspec.UnsetType = msgspec.UNSET


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


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where and when the N events of a block entered: one partition, offsets and append times by row."""

    partition: int
    offsets: NDArray[np.int64]  # int64[N]
    appended_at_s: NDArray[np.float64]  # float64[N]
    ingested_at_s: float
    scored_at_s: float


decode_scored = msgspec.json.Decoder(ScoredEvent).decode
_encode = msgspec.json.Encoder().encode


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
    """Encode the N scored records of a block, in its order."""
    partition = provenance.partition
    rows = zip(
        block.bodies,
        verdicts.is_anomaly.tolist(),
        verdicts.causes,
        verdicts.reconstruction_error.tolist(),
        verdicts.severity.tolist(),
        verdicts.contributions,
        warming_up,
        repeat,
        episode_ids,
        provenance.offsets.tolist(),
        provenance.appended_at_s.tolist(),
        block.truths,
        strict=True,
    )
    return [
        body
        + b","
        + _encode(
            VerdictFields(
                anomalous,
                cause,
                error,
                threshold,
                anomalous,
                severity,
                contributions,
                model_version,
                warm,
                again,
                episode_id,
                f"{partition}:{offset}",
                appended_at_s,
                provenance.ingested_at_s,
                provenance.scored_at_s,
                msgspec.UNSET if truth is None else _truth_fields(truth),
            )
        )[1:]
        for (
            body,
            anomalous,
            cause,
            error,
            severity,
            contributions,
            warm,
            again,
            episode_id,
            offset,
            appended_at_s,
            truth,
        ) in rows
    ]


def _truth_fields(truth: Truth) -> _TruthFields:
    return _TruthFields(truth.anomaly, truth.anomaly_type)
