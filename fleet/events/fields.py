"""What the fields of events and verdicts are called on the wire, what they mean, and in which unit they are.

Python says them in snake case and msgspec renames them. What a scored record adds to its event stands here and not in
`fleet.records`: `fleet.events.telemetry` replaces a sender's fields of these names, which are ours to say.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

MAX_VEHICLE_ID_CHARACTERS: Final = 256
DEFAULT_TENANT: Final = "default"
"""Whose an event is that names no tenant."""
# The origin system's names, which its screens read.
_SNAKE_CASE: Final = frozenset({"reconstruction_error", "anomaly_threshold", "is_anomaly", "model_loaded"})
# In the schema alone: a reader must not refuse what it does not judge.
IN_0_TO_1: Final = {"minimum": 0, "maximum": 1}


def wire_name(name: str) -> str:
    """Return the JSON name of a field: camel case, but for the few that the origin system writes in snake case."""
    if name in _SNAKE_CASE:
        return name
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


VehicleId: TypeAlias = Annotated[
    str,
    Meta(
        description="the vehicle, as its sender names it",
        extra_json_schema={"minLength": 1, "maxLength": MAX_VEHICLE_ID_CHARACTERS},
    ),
]
Timestamp: TypeAlias = Annotated[float | str, Meta(description="event time: Unix seconds, or ISO-8601")]
TenantId: TypeAlias = Annotated[str | None, Meta(description="whose vehicle it is; null where nobody said")]
SourceText: TypeAlias = Annotated[str, Meta(description="`partition:offset` of the telemetry record")]
UnixSeconds: TypeAlias = Annotated[float, Meta(description="Unix seconds")]
ModelVersion: TypeAlias = Annotated[str, Meta(description="the model that judged")]

IsAnomaly: TypeAlias = Annotated[bool, Meta(description="the error exceeds the threshold")]
Anomaly: TypeAlias = Annotated[bool, Meta(description="the same as `is_anomaly`, under the event's own name")]
Cause: TypeAlias = Annotated[str | None, Meta(description="what the anomaly is called; null where there is none")]
ReconstructionError: TypeAlias = Annotated[
    float, Meta(description="decades of rarity (−log10); 0 where no judged signal is known")
]
AnomalyThreshold: TypeAlias = Annotated[float, Meta(description="the model's, in the unit of the error")]
Severity: TypeAlias = Annotated[
    float, Meta(description="rising with the error; 0.5 at the threshold", extra_json_schema=IN_0_TO_1)
]
Contributions: TypeAlias = Annotated[
    dict[str, float], Meta(description="feature → share of the error, the largest three")
]
Expected: TypeAlias = Annotated[
    dict[str, tuple[float, float, float]],
    Meta(
        description="of alarms: feature → lower bound, expected value, upper bound in its own unit, for those of the"
        " largest three that have one; about 99 % of ordinary values lie between the bounds"
    ),
]
WarmingUp: TypeAlias = Annotated[bool, Meta(description="the vehicle has no usable history yet")]
Repeat: TypeAlias = Annotated[bool, Meta(description="the same event as the vehicle's latest; it enters no history")]
Doubtful: TypeAlias = Annotated[
    bool, Meta(description="so far from what was before that the next events have to confirm it; left out where not")
]
UsualInterval: TypeAlias = Annotated[
    float, Meta(description="seconds from event to event of a vehicle that reports seldom; left out where it is often")
]
Stands: TypeAlias = Annotated[
    bool, Meta(description="the vehicle stands, or stood when its speed was last known; left out where it moves")
]
EpisodeId: TypeAlias = Annotated[
    str, Meta(description="`vehicleId:partition:offset` of the opening event; of a silence, of the one that showed it")
]
EpisodeOfEvent: TypeAlias = Annotated[
    str | None, Meta(description="the episode that the event belongs to; null where there is none")
]
AppendedAt: TypeAlias = Annotated[float, Meta(description="when the broker took the telemetry record, Unix seconds")]
IngestedAt: TypeAlias = Annotated[float, Meta(description="when ingest read it, Unix seconds")]
ScoredAt: TypeAlias = Annotated[float, Meta(description="when its verdict was there, Unix seconds")]


class Truth(msgspec.Struct, frozen=True, cache_hash=True, rename=wire_name, gc=False):
    """The simulator's ground truth; it travels beside the event and is never an input to the model."""

    anomaly: Annotated[bool | None, Meta(description="ground truth: whether a fault was injected")]
    anomaly_type: Annotated[str | None, Meta(description="ground truth: which fault")]


class EventVerdictFields(msgspec.Struct, rename=wire_name, gc=False):
    """What a scored record adds to its event and is the event's own."""

    anomaly: Anomaly
    anomaly_type: Cause
    is_anomaly: IsAnomaly
    reconstruction_error: ReconstructionError
    severity: Severity
    contributions: Contributions
    warming_up: WarmingUp
    repeat: Repeat
    episode_id: EpisodeOfEvent
    source: SourceText
    appended_at: AppendedAt
    doubtful: Doubtful | msgspec.UnsetType = msgspec.UNSET
    usual_interval: UsualInterval | msgspec.UnsetType = msgspec.UNSET
    stands: Stands | msgspec.UnsetType = msgspec.UNSET
    expected: Expected | msgspec.UnsetType = msgspec.UNSET


class BlockVerdictFields(msgspec.Struct, rename=wire_name, gc=False):
    """What it adds that is the same for a whole block, but for the truth."""

    anomaly_threshold: AnomalyThreshold
    model_version: ModelVersion
    ingested_at: IngestedAt
    scored_at: ScoredAt
    truth: Annotated[Truth | msgspec.UnsetType, Meta(description="the ground truth, where the event carried one")] = (
        msgspec.UNSET
    )


VERDICT_FIELDS: Final = frozenset(
    field.encode_name for added in (EventVerdictFields, BlockVerdictFields) for field in msgspec.structs.fields(added)
)
"""The names of everything that a scored record adds."""
IDENTITY_FIELDS: Final = frozenset(map(wire_name, ("vehicle_id", "timestamp", "tenant_id")))
"""The names of what an event carries beside its signals."""
