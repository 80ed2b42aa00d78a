"""What the REST bodies look like, for the OpenAPI document alone.

The hot paths neither validate with these models nor serialise through them: `fleet.events.telemetry` decodes, msgspec
encodes, and stored events leave as the bytes that came.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Point(BaseModel):
    """One point without history; `previousSpeed` counts as one event a second earlier."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "latitude": -31.4139,
                "longitude": -64.1876,
                "speed": 30.8,
                "previousSpeed": 39.9,
                "acceleration": -9.1,
                "temperature": 77.6,
                "battery": 79.8,
                "fuelLevel": 99.5,
                "speedLimit": 60,
                "trafficLevel": 3,
            }
        },
    )

    latitude: float = Field(ge=-90, le=90, description="degrees")
    longitude: float = Field(ge=-180, le=180, description="degrees")
    speed: float = Field(description="km/h")
    previousSpeed: float = Field(description="km/h, a second earlier")  # noqa: N815 - the names are the wire's
    acceleration: float = Field(description="km/h since the previous event; the model derives its own")
    temperature: float = Field(description="°C of the engine")
    battery: float = Field(description="%")
    fuelLevel: float = Field(description="%")  # noqa: N815
    speedLimit: float = Field(description="km/h")  # noqa: N815
    trafficLevel: float = Field(description="1 to 5")  # noqa: N815


class Prediction(BaseModel):
    """The verdict on one point."""

    input: Point
    reconstruction_error: float
    anomaly_threshold: float
    is_anomaly: bool


class TelemetryEvent(BaseModel):
    """One telemetry event; required are vehicleId, timestamp and at least one signal. Null is unknown."""

    model_config = ConfigDict(extra="allow")

    vehicleId: str = Field(min_length=1, max_length=256)  # noqa: N815
    timestamp: float | str = Field(description="Unix seconds, or ISO-8601")
    latitude: float | None = Field(None, description="degrees")
    longitude: float | None = Field(None, description="degrees")
    speed: float | None = Field(None, description="km/h")
    previousSpeed: float | None = Field(None, description="km/h, the sender's claim")  # noqa: N815
    acceleration: float | None = Field(None, description="km/h since the previous event, the sender's claim")
    temperature: float | None = Field(None, description="°C of the engine")
    battery: float | None = Field(None, description="%")
    fuelLevel: float | None = Field(None, description="%")  # noqa: N815
    speedLimit: float | None = Field(None, description="km/h")  # noqa: N815
    trafficLevel: float | None = Field(None, description="1 to 5")  # noqa: N815
    weather: Literal["clear", "rain", "fog", "storm"] | None = None
    roadType: Literal["highway", "urban", "rural"] | None = None  # noqa: N815
    night: bool | None = None
    tenantId: str | None = None  # noqa: N815


class EventVerdict(BaseModel):
    """The verdict on one event of a request."""

    vehicleId: str  # noqa: N815
    timestamp: float | str = Field(description="as it was sent")
    anomaly: bool
    anomalyType: str | None = Field(description="the detector's cause")  # noqa: N815
    reconstruction_error: float
    anomaly_threshold: float
    is_anomaly: bool
    severity: float = Field(ge=0, le=1)
    contributions: dict[str, float] = Field(description="feature → share of the error, the largest three")
    modelVersion: str  # noqa: N815
    warmingUp: bool = Field(description="no usable history yet")  # noqa: N815
    repeat: bool = Field(description="the same event as the vehicle's latest")


class ScoreAnswer(BaseModel):
    """Verdicts in the order of the events."""

    verdicts: list[EventVerdict]


class ScoredRecord(EventVerdict):
    """An event as it came, with its verdict."""

    model_config = ConfigDict(extra="allow")

    episodeId: str | None  # noqa: N815
    source: str = Field(description="partition:offset of the telemetry record")
    appendedAt: float = Field(description="Unix seconds")  # noqa: N815
    ingestedAt: float = Field(description="Unix seconds")  # noqa: N815
    scoredAt: float = Field(description="Unix seconds")  # noqa: N815
    truth: dict[str, Any] | None = Field(None, description="the simulator's ground truth, where the event carried it")


class VehicleList(BaseModel):
    """The latest events of the vehicles heard most recently."""

    vehicles: list[ScoredRecord]
    total: int = Field(description="vehicles known to this gateway")


class VehicleHistory(BaseModel):
    """One vehicle's latest event and its recent ones, the oldest first."""

    vehicleId: str  # noqa: N815
    latest: ScoredRecord
    history: list[ScoredRecord]


class EpisodeRecord(BaseModel):
    """One stretch of anomalous behaviour of one vehicle, as its latest record has it; times are event times."""

    model_config = ConfigDict(extra="allow")

    episodeId: str = Field(description="vehicleId:partition:offset of the opening event")  # noqa: N815
    vehicleId: str  # noqa: N815
    tenantId: str | None  # noqa: N815
    state: Literal["open", "closed"]
    openedAt: float = Field(description="Unix seconds, of the first alarm of the opening window")  # noqa: N815
    updatedAt: float = Field(description="Unix seconds, of the latest event that this record knows")  # noqa: N815
    closedAt: float | None = Field(description="Unix seconds; after a silence, when it was last heard of")  # noqa: N815
    cause: str | None = Field(description="the one with the largest summed severity")
    severity: float = Field(ge=0, le=1, description="the largest so far")
    peakError: float = Field(description="the largest reconstruction error so far")  # noqa: N815
    events: int = Field(description="since openedAt")
    anomalousEvents: int  # noqa: N815
    worst: list[str] = Field(max_length=3, description="sources of the events with the largest errors")
    closedBy: Literal["recovery", "silence"] | None  # noqa: N815
    modelVersion: str  # noqa: N815


class ChannelRecord(BaseModel):
    """One field of this fleet's events, as its channel specification describes it."""

    name: str = Field(description="the field of the event")
    label: str = Field(description="the name in words")
    unit: str = Field(description="empty where there is none")
    range: tuple[float, float] | None = Field(description="plausible values; those outside are marked, not refused")
    role: Literal["judged", "context", "carried"] = Field(
        description="judged by the model, told to it, or carried through beside it"
    )
    safety: bool


class ChannelList(BaseModel):
    """The fields of this fleet's events, those that matter for safety first."""

    spec: str = Field(description="name of the channel specification that the served model was fitted to")
    description: str
    channels: list[ChannelRecord]


class EpisodeList(BaseModel):
    """Episodes, the one that changed last first."""

    episodes: list[EpisodeRecord]


class Latency(BaseModel):
    """Milliseconds from a telemetry record's append to its verdict's arrival in the gateway; null without events."""

    p50: float | None
    p95: float | None
    p99: float | None


class PartitionReport(BaseModel):
    """The books of one partition: read = scored + deadLettered + inFlight, each counted by itself."""

    partition: int
    read: int = Field(description="records polled, up to the last commit")
    scored: int
    deadLettered: int  # noqa: N815
    inFlight: int = Field(description="records polled that the last commit did not cover yet")  # noqa: N815
    lag: int = Field(description="records from the committed offset to the end of the log, those in flight among them")
    oldestUnscoredSeconds: float | None = Field(  # noqa: N815
        description="age of the record at the committed offset; 0 without lag, null where it could not be read"
    )
    eventsPerSecond: float  # noqa: N815
    latencyMs: Latency  # noqa: N815


class PipelineReport(BaseModel):
    """How the pipeline is doing; numbers of the ledger are null until Kafka has answered once."""

    read: int | None
    scored: int | None
    deadLettered: int | None  # noqa: N815
    inFlight: int | None  # noqa: N815
    lag: int | None
    oldestUnscoredSeconds: float | None  # noqa: N815
    eventsPerSecond: float  # noqa: N815
    latencyMs: Latency  # noqa: N815
    modelVersion: str  # noqa: N815
    replicas: dict[str, int] = Field(description="running replicas by deployment")
    clients: int = Field(description="WebSockets of the answering gateway replica")
    dropped: int = Field(description="events that its slow clients lost")
    duplicates: int = Field(description="records that came twice and were not passed on")
    unreadable: int = Field(description="records of the scored topic that are no scored events")
    ledgerReadAt: float | None = Field(description="Unix seconds")  # noqa: N815
    partitions: list[PartitionReport]


class Health(BaseModel):
    """Everything is ready."""

    status: Literal["ok"]
    model_loaded: bool
    modelVersion: str  # noqa: N815
    kafka: Literal["ok"]
    scorer: Literal["ok"]
    ingest: Literal["ok"]


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457, application/problem+json)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="what to change")


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return a model's JSON schema for a request body; the model must not refer to others."""
    return model.model_json_schema()
