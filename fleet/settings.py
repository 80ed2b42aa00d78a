"""Typed settings of every process: what an operator may change, in which bounds, and what it does.

`serve_config.yaml` gives them as the application's `args`; an unknown key or a value out of bounds stops the start.
Connection and credentials of Kafka come from the environment (`fleet.kafka.client_config`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleet.detection.episodes import EpisodeRules
from fleet.errors import SettingsError

PROJECT_FOLDER = Path(__file__).resolve().parents[1]

Milliseconds = Annotated[int, Field(ge=0, le=60_000)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TopicNames(_Section):
    """Names of the topics; all have the same number of partitions."""

    telemetry: str = "vehicle-telemetry"
    scored: str = "vehicle-telemetry-scored"
    episodes: str = "vehicle-anomaly-episodes"
    dlq: str = "vehicle-telemetry-dlq"
    state: str = "vehicle-state"


class KafkaSettings(_Section):
    """Topics, group and the sizes that Kafka is told when a topic is created."""

    application_id: str = Field("fleet", description="prefix of the group and of every transactional id")
    topics: TopicNames = TopicNames()
    partitions: int = Field(6, ge=1, le=1_000)
    replication_factor: int = Field(1, ge=1, le=9)
    retention_hours: float = Field(24.0, gt=0, le=8_760)
    max_message_bytes: int = Field(
        1_048_576,
        ge=65_536,
        le=16_777_216,
        description="of telemetry; results and dead letters get 64 KiB more",
    )

    @property
    def group_id(self) -> str:
        """The consumer group of the ingest pool."""
        return f"{self.application_id}-ingest"


class ModelSettings(_Section):
    """Which model bundle serves."""

    folder: Path = Field(Path("models"), description="relative paths start at the project's folder")
    version: str = Field("current", description="a version's name, or `current`: what training wrote last")

    @property
    def absolute_folder(self) -> Path:
        """The folder of bundles, wherever the process was started."""
        return self.folder if self.folder.is_absolute() else PROJECT_FOLDER / self.folder


class IngestSettings(_Section):
    """The pool that reads, windows, publishes and commits."""

    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    turn_records: int = Field(4_096, ge=1, le=65_536, description="most records that are read and scored together")
    linger_ms: Milliseconds = Field(
        10,
        description="wait this long for more records after the first of a turn; up to 5 times as long while commits or "
        "calls to scorers do",
    )
    turns_in_flight: int = Field(4, ge=1, le=64, description="turns that may wait for scorers at once")
    commit_interval_ms: Milliseconds = Field(5, description="exactly once: least time from one commit to the next")
    commit_interval_backlog_ms: Milliseconds = Field(100, description="both: the same, while there is a backlog")
    uncommitted_records: int = Field(
        65_536, ge=1, le=1_000_000, description="read but not committed records, above which partitions pause"
    )
    vehicle_idle_s: float = Field(
        1_800.0, ge=60, le=604_800, description="append time after which a silent vehicle's history is forgotten"
    )
    max_vehicles: int = Field(200_000, ge=1, le=10_000_000, description="histories kept per partition")
    state_share: float = Field(
        0.1, gt=0, le=1, description="of the input's bytes, that snapshots of histories and open episodes may take"
    )
    max_event_bytes: int = Field(262_144, ge=1_024, description="larger records go to the dlq as too_large")
    pause_after_s: Seconds = Field(1.0, description="push-back this long pauses the partitions")
    score_timeout_s: Seconds = Field(
        0.5, description="least wait for a scorer, before another one is asked as well; each further time twice as long"
    )
    score_attempts: int = Field(
        6,
        ge=1,
        le=100,
        description="tries per turn before its events go to the dlq as scoring_failed, one by one",
    )
    commit_timeout_s: Seconds = Field(
        5.0,
        description="for a commit, before it is found out what became of it; the next try has transaction_timeout_s",
    )
    transaction_timeout_s: Annotated[float, Field(ge=1, le=900)] = 10.0
    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = 6.0
    stuck_after_s: Seconds = Field(
        30.0,
        description="a loop that made no turn for so long fails its health check, and its group goes on without it",
    )
    drain_timeout_s: Seconds = Field(8.0, description="for finishing what is in flight when a partition leaves")
    skip_lost_records: bool = Field(
        False,
        description="go on at the earliest record when retention has overtaken the group, instead of stopping",
    )


_RULES = EpisodeRules()


class EpisodeSettings(_Section):
    """When a vehicle's alarms become an episode, and when it is over."""

    alarms_to_open: int = Field(
        _RULES.alarms_to_open, ge=1, le=1_000, description="M: open when M of a vehicle's last N events alarmed"
    )
    window_events: int = Field(_RULES.window_events, ge=1, le=1_000, description="N")
    open_severity: float = Field(_RULES.open_severity, ge=0.5, le=1, description="one alarm this severe opens at once")
    recovery_events: int = Field(
        _RULES.recovery_events, ge=1, le=100_000, description="consecutive events below close_severity that close it"
    )
    close_severity: float = Field(_RULES.close_severity, gt=0, le=0.5, description="an alarm begins at 0.5")
    silence_s: Seconds = Field(_RULES.silence_s, description="a longer gap closes it, by event and by append time")
    update_interval_s: Seconds = Field(_RULES.update_interval_s, description="event time between updates without news")
    max_vehicles: int = Field(
        _RULES.max_vehicles, ge=1, le=10_000_000, description="remembered per partition; the longest silent goes first"
    )

    def rules(self) -> EpisodeRules:
        """Return what the tracker goes by. Raises ValueError where the numbers contradict one another."""
        return EpisodeRules(**self.model_dump())

    @model_validator(mode="after")
    def _rules_agree(self) -> "EpisodeSettings":
        self.rules()
        return self


class ScorerSettings(_Section):
    """The TensorFlow replicas."""

    max_batch_rows: int = Field(8_192, ge=1, le=1_000_000)
    batch_wait_ms: Milliseconds = 1
    threads: int = Field(1, ge=1, le=256, description="of TensorFlow inside one operation")
    explained_rows: int = Field(
        512, ge=0, le=1_000_000, description="alarms of one batch whose cause is found by imputing and rescoring"
    )


class GatewaySettings(_Section):
    """REST, WebSockets and the page."""

    batch_interval_ms: Milliseconds = Field(10, description="between two frames of a ?batch=true client")
    client_backlog_events: int = Field(20_000, ge=1, description="per client; beyond it the oldest is dropped")
    allowed_origins: tuple[str, ...] = Field(
        (), description="pages of other sites that may open the WebSocket, as https://host:port"
    )
    max_clients: int = Field(1_000, ge=1, le=100_000)
    max_vehicles: int = Field(20_000, ge=1, description="latest states kept; the longest silent goes first")
    history_events: int = Field(100_000, ge=1, description="recent events kept over all vehicles")
    max_request_events: int = Field(10_000, ge=1, le=100_000)
    max_request_bytes: int = Field(16_777_216, ge=1_024)
    score_timeout_s: Seconds = 10.0


class Settings(_Section):
    """Everything that `serve_config.yaml` may say under `args`."""

    kafka: KafkaSettings = KafkaSettings()
    model: ModelSettings = ModelSettings()
    ingest: IngestSettings = IngestSettings()
    episodes: EpisodeSettings = EpisodeSettings()
    scorer: ScorerSettings = ScorerSettings()
    gateway: GatewaySettings = GatewaySettings()

    @model_validator(mode="after")
    def _turns_fit_batches(self) -> "Settings":
        if self.ingest.turn_records > self.scorer.max_batch_rows:
            raise ValueError(
                f"ingest.turn_records ({self.ingest.turn_records}) must not exceed "
                f"scorer.max_batch_rows ({self.scorer.max_batch_rows}): a scorer takes a turn in one batch"
            )
        if self.ingest.turn_records > self.ingest.uncommitted_records:
            raise ValueError("ingest.uncommitted_records must be at least ingest.turn_records")
        return self


def read_settings(args: dict[str, Any]) -> Settings:
    """Validate the application's arguments. Raises SettingsError with a sentence per mistake."""
    try:
        return Settings.model_validate(args)
    except ValidationError as invalid:
        sentences = "; ".join(_sentence(dict(mistake)) for mistake in invalid.errors())
        raise SettingsError(f"serve_config.yaml, args: {sentences}.") from None


def _sentence(mistake: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in mistake["loc"]) or "args"
    if mistake["type"] == "extra_forbidden":
        return f"{place} is no setting: remove it, or correct its name"
    return f"{place}: {mistake['msg']} (got {str(mistake['input'])[:60]})"
