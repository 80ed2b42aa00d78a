"""The scored record: how a verdict is written onto the event it judges, and how readers see it.

Neighbours on the event's way: `fleet.detection.verdicts` makes the verdicts, `fleet.ingest` publishes what is encoded
here, `fleet.delivery` reads it. The event's own fields are not encoded again: their text is carried over byte for byte,
and the fields of `fleet.events.fields` are appended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.columns import Columns
from fleet.events import fields
from fleet.events.channels import ChannelSpec
from fleet.events.event_type import event_type
from fleet.events.fields import BlockVerdictFields, EventVerdictFields, Truth, wire_name
from fleet.events.telemetry import TelemetryBlock


class ScoredEvent(msgspec.Struct, gc=False, rename=wire_name):
    """A reader's view of a scored record; everything else in it stays in the bytes."""

    vehicle_id: fields.VehicleId
    timestamp: fields.Timestamp
    reconstruction_error: fields.ReconstructionError
    anomaly_threshold: fields.AnomalyThreshold
    is_anomaly: fields.IsAnomaly
    severity: fields.Severity
    model_version: fields.ModelVersion
    source: fields.SourceText
    appended_at: fields.AppendedAt
    scored_at: fields.ScoredAt
    anomaly_type: fields.Cause = None
    warming_up: fields.WarmingUp = False
    repeat: fields.Repeat = False
    tenant_id: fields.TenantId = None
    doubtful: fields.Doubtful = False
    usual_interval: fields.UsualInterval = 0.0
    stands: fields.Stands = False

    @property
    def offset(self) -> int:
        """The telemetry record's offset in its partition."""
        return int(self.source.rpartition(":")[2])


def scored_type(spec: ChannelSpec) -> type[msgspec.Struct]:
    """Build the type of a whole scored record, for its documentation: the event as it came, and its verdict."""
    parts = (event_type(spec), EventVerdictFields, BlockVerdictFields)
    merged = {part.encode_name: part for of_type in parts for part in msgspec.structs.fields(of_type)}
    places = {f"field_{place}": name for place, name in enumerate(merged)}
    return msgspec.defstruct(
        "ScoredRecord",
        [(place, merged[name].type, msgspec.field(default=merged[name].default)) for place, name in places.items()],
        rename=places,
        namespace={"__doc__": "An event as it came, with its verdict."},
        kw_only=True,
    )


@dataclass(frozen=True, slots=True)
class Verdicts(Columns):
    """The verdicts on one block of N events, in the order of the events. All numbers are finite."""

    reconstruction_error: NDArray[np.float64]
    """float64[N]; 0 where no judged feature is known."""
    is_anomaly: NDArray[np.bool_]
    """bool[N]: the error exceeds the threshold."""
    severity: NDArray[np.float64]
    """float64[N] in 0..1, rising with the error; 0.5 at the threshold."""
    causes: list[str | None]
    """What the anomaly is called; None where there is no anomaly."""
    contributions: list[dict[str, float]]
    """Feature -> share of the error, the largest three; empty where the error is 0."""
    threshold: NDArray[np.float64]
    """float64[N]: what the error was judged by."""
    expected: list[fields.Expected | None]
    """What was expected of those features; None where it was not asked."""

    def said_expected(self) -> list[fields.Expected | msgspec.UnsetType]:
        """Say by event what was expected, as a record does: of alarms, and where there is something to say."""
        rows = zip(self.is_anomaly.tolist(), self.expected, strict=True)
        return [expected if is_anomaly and expected else msgspec.UNSET for is_anomaly, expected in rows]


# A usual interval below it changes nothing: every silence that means something is longer than four of them.
SELDOM_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How the N events of a block stand in their vehicles' histories."""

    warming_up: Sequence[bool]
    repeat: Sequence[bool]
    doubtful: Sequence[bool]
    usual_interval_s: Sequence[float]
    stands: Sequence[bool]


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


decode_scored: Callable[[bytes], ScoredEvent] = msgspec.json.Decoder(ScoredEvent).decode
_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines


def encode_results(
    block: TelemetryBlock,
    verdicts: Verdicts,
    provenance: Provenance,
    standing: Standing,
    *,
    model_version: str,
    episode_ids: Sequence[str | None],
) -> list[bytes]:
    """Encode the N scored records of a block, in its order.

    Each is three pieces of JSON: the event's own text, the fields of its verdict, and those that the block shares.
    """
    added = _verdict_fields(verdicts, provenance, standing, episode_ids)
    # One call for the block; no line break stands inside encoded JSON.
    lines = _encode_lines(added).split(b"\n")
    times = (provenance.ingested_at_s, provenance.scored_at_s)
    common = list(zip(verdicts.threshold.tolist(), block.truths, strict=True))
    shared = {own: _shared_fields(own[0], model_version, *times, own[1]) for own in set(common)}
    return [
        b"%b,%b,%b" % (body, line[1:-1], shared[own])
        for body, line, own in zip(block.bodies, lines, common, strict=False)  # a last, empty line follows
    ]


def _verdict_fields(
    verdicts: Verdicts,
    provenance: Provenance,
    standing: Standing,
    episode_ids: Sequence[str | None],
) -> list[EventVerdictFields]:
    anomalous = verdicts.is_anomaly.tolist()
    # A list: of any other iterable msgspec 0.22 never lets go.
    return list(
        map(
            EventVerdictFields,
            anomalous,
            verdicts.causes,
            anomalous,
            verdicts.reconstruction_error.tolist(),
            verdicts.severity.tolist(),
            verdicts.contributions,
            standing.warming_up,
            standing.repeat,
            episode_ids,
            provenance.sources,
            provenance.appended_at_s.tolist(),
            [True if is_so else msgspec.UNSET for is_so in standing.doubtful],
            [seconds if seconds > SELDOM_S else msgspec.UNSET for seconds in standing.usual_interval_s],
            [True if is_so else msgspec.UNSET for is_so in standing.stands],
            verdicts.said_expected(),
        )
    )


def _shared_fields(
    threshold: float, model_version: str, ingested_at_s: float, scored_at_s: float, truth: Truth | None
) -> bytes:
    of_truth = msgspec.UNSET if truth is None else truth
    return _encode(BlockVerdictFields(threshold, model_version, ingested_at_s, scored_at_s, of_truth))[1:]
