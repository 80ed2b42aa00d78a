"""The bodies of the REST interface: what is encoded is what OpenAPI documents.

Events and episodes leave as the bytes that came from Kafka; `fleet.records` says what stands in them.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fleet.events import fields
from fleet.events.fields import wire_name
from fleet.records.action import Action

MAX_LISTED: Final = 100_000
NEVER_STORE: Final = {"cache-control": "no-store"}


def json_text(body: bytes) -> Response:
    """Answer with JSON that nobody stores."""
    return Response(body, media_type="application/json", headers=NEVER_STORE)


def json_answer(answer: msgspec.Struct) -> Response:
    """Encode an answer, and give it."""
    return json_text(msgspec.json.encode(answer))


def refer(name: str) -> dict[str, Any]:
    """Refer to a schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


ScoredRecord: TypeAlias = Annotated[msgspec.Raw, Meta(extra_json_schema=refer("ScoredRecord"))]
ListedEpisode: TypeAlias = Annotated[msgspec.Raw, Meta(extra_json_schema=refer("ListedEpisode"))]
SenderText: TypeAlias = Annotated[msgspec.Raw, Meta(extra_json_schema=refer("SenderReport"))]
Point: TypeAlias = Annotated[dict[str, float], Meta(extra_json_schema=refer("Point"))]
SentTimestamp: TypeAlias = Annotated[
    msgspec.Raw,
    Meta(
        description="as it was sent; one that had to be mended, as it was read",
        extra_json_schema={"type": ["number", "string"]},
    ),
]


class Prediction(msgspec.Struct, rename=wire_name):
    """The verdict on one point."""

    input: Point
    reconstruction_error: fields.ReconstructionError
    anomaly_threshold: fields.AnomalyThreshold
    is_anomaly: fields.IsAnomaly


class EventVerdict(msgspec.Struct, rename=wire_name, gc=False):
    """The verdict on one event, as in the scored record; what only the log can say (source, times) is not in it."""

    vehicle_id: fields.VehicleId
    timestamp: SentTimestamp
    anomaly: fields.Anomaly
    anomaly_type: fields.Cause
    reconstruction_error: fields.ReconstructionError
    anomaly_threshold: fields.AnomalyThreshold
    is_anomaly: fields.IsAnomaly
    severity: fields.Severity
    contributions: fields.Contributions
    model_version: fields.ModelVersion
    warming_up: fields.WarmingUp
    repeat: fields.Repeat
    expected: fields.Expected | msgspec.UnsetType = msgspec.UNSET


class ScoreAnswer(msgspec.Struct, omit_defaults=True):
    """Verdicts in the order of the events."""

    verdicts: list[EventVerdict]
    notes: Annotated[list[str], Meta(description="fields that are not read, and what would be, by sender")] = []


class VehicleList(msgspec.Struct):
    """The latest events of the vehicles heard most recently."""

    vehicles: list[ScoredRecord]
    total: Annotated[int, Meta(description="vehicles known to this gateway")]


class VehicleHistory(msgspec.Struct, rename=wire_name):
    """One vehicle's latest event and its recent ones, the oldest first."""

    vehicle_id: fields.VehicleId
    latest: ScoredRecord
    history: list[ScoredRecord]


class EpisodeList(msgspec.Struct):
    """Episodes, the one that changed last first."""

    episodes: list[ListedEpisode]
    next: Annotated[
        str | msgspec.UnsetType, Meta(description="`after` of the next page; left out where this is the last")
    ] = msgspec.UNSET


class EpisodeStory(msgspec.Struct):
    """One episode, and what was done about it, the first action first."""

    episode: ListedEpisode
    actions: list[Action]


class SenderList(msgspec.Struct):
    """What has been learnt of vehicles' senders, the latest report first."""

    senders: list[SenderText]
    findings: Annotated[dict[str, int], Meta(description="vehicles with a finding, by its kind, of all that are known")]


class ChannelRecord(msgspec.Struct):
    """One field of this fleet's events, as its channel specification describes it."""

    name: Annotated[str, Meta(description="the field of the event")]
    label: Annotated[str, Meta(description="the name in words")]
    unit: Annotated[str, Meta(description="empty where there is none")]
    range: Annotated[
        tuple[float, float] | None, Meta(description="plausible values; those outside are marked, not refused")
    ]
    role: Annotated[
        Literal["judged", "witness", "context", "carried"],
        Meta(description="judged by the model, told to it, or carried through beside it"),
    ]
    safety: Annotated[bool, Meta(description="shown first")]


class ChannelList(msgspec.Struct):
    """The fields of this fleet's events, those that matter for safety first."""

    spec: Annotated[str, Meta(description="the channel specification that the served model was fitted to")]
    description: str
    channels: list[ChannelRecord]


class Latency(msgspec.Struct):
    """Milliseconds from a telemetry record's append to its verdict's arrival in the gateway; null without events."""

    p50: float | None
    p95: float | None
    p99: float | None


class PartitionReport(msgspec.Struct, rename=wire_name):
    """The books of one partition: read = scored + deadLettered + inFlight, each counted by itself."""

    partition: int
    read: Annotated[int, Meta(description="records polled, up to the last commit")]
    scored: Annotated[int, Meta(description="records that became scored records")]
    dead_lettered: Annotated[int, Meta(description="records that became dead letters")]
    in_flight: Annotated[int, Meta(description="records polled that the last commit did not cover yet")]
    keyless: Annotated[int, Meta(description="events whose record had no key: nothing keeps their vehicles in order")]
    lag: Annotated[
        int,
        Meta(description="records from the committed offset to the end of the log, those in flight among them"),
    ]
    oldest_unscored_seconds: Annotated[
        float | None,
        Meta(description="age of the record at the committed offset; 0 without lag, null where it could not be read"),
    ]
    events_per_second: Annotated[float, Meta(description="events that arrived here in the last seconds")]
    latency_ms: Latency


class PipelineBooks(msgspec.Struct, rename=wire_name):
    """How the pipeline is doing; numbers of the ledger are null until Kafka has answered once."""

    read: int | None
    scored: int | None
    dead_lettered: int | None
    in_flight: int | None
    keyless: Annotated[
        int | None,
        Meta(description="events whose record had no key; senders set it to `vehicleId`, to keep vehicles in order"),
    ]
    lag: int | None
    oldest_unscored_seconds: float | None
    events_per_second: float
    latency_ms: Latency
    replicas: Annotated[dict[str, int], Meta(description="running replicas by deployment")]
    ledger_read_at: Annotated[float | None, Meta(description="Unix seconds")]
    partitions: list[PartitionReport]


class PipelineReport(PipelineBooks):
    """How the pipeline is doing; numbers of the ledger are null until Kafka has answered once."""

    model_version: fields.ModelVersion
    clients: Annotated[int, Meta(description="WebSockets of the answering gateway replica")]
    dropped: Annotated[int, Meta(description="events that its slow clients lost")]
    duplicates: Annotated[int, Meta(description="records that came twice and were not passed on")]
    unreadable: Annotated[int, Meta(description="records of the scored topic that are no scored events")]


class Health(msgspec.Struct, rename=wire_name):
    """Whether everything is ready; what is not says why, and the answer is then a problem (503)."""

    status: str
    model_loaded: bool
    model_version: fields.ModelVersion
    kafka: Annotated[str, Meta(description="`ok`, or why not")]
    scorer: Annotated[str, Meta(description="`ok`, or why not")]
    ingest: Annotated[str, Meta(description="`ok`, or why not")]


class SignIn(msgspec.Struct, forbid_unknown_fields=True):
    """What a browser sends to sign in."""

    token: Annotated[str, Meta(description="as `fleet token create` printed it")]


class Session(msgspec.Struct, rename=wire_name):
    """Who is signed in."""

    name: Annotated[str, Meta(description="as the token was named")]
    role: Annotated[Literal["viewer", "scorer", "operator", "admin"], Meta(description="what it allows")]
    tenant: Annotated[str | None, Meta(description="whose events are shown; null where every tenant's are")]
    expires_at: Annotated[datetime | None, Meta(description="when the token expires; null where none is asked for")]


class SignedOut(msgspec.Struct, rename=wire_name):
    """The browser has no token any more. The token itself is as good as before."""

    signed_in: Literal[False] = False


class Problem(msgspec.Struct):
    """Why a request was not answered (RFC 9457, application/problem+json); some have further members."""

    type: str
    title: str
    status: int
    detail: Annotated[str, Meta(description="what to change")]


ANSWERS: tuple[type[msgspec.Struct], ...] = (
    Prediction, ScoreAnswer, VehicleList, VehicleHistory, EpisodeList, EpisodeStory, SenderList, ChannelList,
    PipelineReport, Health, Session, SignedOut,
)  # fmt: skip
