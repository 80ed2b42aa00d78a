"""Typed settings of every process: what an operator may change, in which bounds, and what it does.

`serve_config.yaml` gives them as the application's `args`; an unknown key or a value out of bounds stops the start.
Connection and credentials of Kafka come from the environment (`fleet.kafka.client_config`).
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleet.detection.episodes import EpisodeRules
from fleet.detection.windows import LATE_HORIZON_S
from fleet.errors import SettingsError
from fleet.events.lenient import Reading

PROJECT_FOLDER = Path(__file__).resolve().parents[1]

Milliseconds = Annotated[int, Field(ge=0, le=60_000)]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TopicNames(_Section):
    """Names of the topics; all have the same number of partitions."""

    telemetry: str = Field("vehicle-telemetry", description="Vehicles publish their events here.")
    scored: str = Field("vehicle-telemetry-scored", description="Each scored event stands here with its verdict.")
    episodes: str = Field("vehicle-anomaly-episodes", description="What changes about an episode stands here.")
    actions: str = Field("episode-actions", description="What people do about episodes stands here.")
    senders: str = Field("vehicle-senders", description="What has been learnt of each vehicle's sender stands here.")
    dlq: str = Field("vehicle-telemetry-dlq", description="Dead letters: records that could not be read or scored.")
    state: str = Field("vehicle-state", description="Snapshots of histories and open episodes, for a take-over.")


class KafkaSettings(_Section):
    """Topics, the consumer group, and what Kafka is told when a topic is created."""

    application_id: str = Field(
        "fleet", description="Prefix of the consumer group and of every transactional id. Two systems need two of them."
    )
    topics: TopicNames = TopicNames()
    partitions: int = Field(
        6, ge=1, le=1_000, description="Partitions of every topic: the most ingest replicas that can have work."
    )
    replication_factor: int = Field(
        1, ge=1, le=9, description="Brokers that keep a copy of each partition. Take 3 on a cluster."
    )
    retention_hours: float = Field(
        24.0, gt=0, le=8_760, description="For how long Kafka keeps the records of a topic that it creates."
    )
    max_message_bytes: int = Field(
        1_048_576,
        ge=65_536,
        le=16_777_216,
        description="Largest telemetry record that Kafka takes. Results and dead letters may have 64 KiB more.",
    )
    accept_any_release: bool = Field(
        False,
        description="Whether brokers of Kafka 4.3 and 4.4 are accepted. From 4.3.0 to 4.4.0 readers can wait for ever "
        "after a broker's crash; brokers do not say their patch release.",
    )

    @property
    def group_id(self) -> str:
        """The consumer group of the ingest pool."""
        return f"{self.application_id}-ingest"


class ModelSettings(_Section):
    """Which model bundle serves."""

    folder: Path = Field(
        Path("models"), description="Folder of model bundles. A relative path starts at the project's folder."
    )
    version: str = Field(
        "current",
        description="A bundle's version, to pin it. With `current`, replicas follow what training or `fleet model use` "
        "chose last.",
    )

    @property
    def absolute_folder(self) -> Path:
        """The folder of bundles, wherever the process was started."""
        return self.folder if self.folder.is_absolute() else PROJECT_FOLDER / self.folder


class EventSettings(_Section):
    """How telemetry is read, from Kafka and by REST."""

    lenient: bool = Field(
        True,
        description="Whether numbers as text, words for an unknown number, 0 and 1 for a flag, and numeric identifiers "
        "are read, and counted. If false, such events are refused.",
    )
    names: dict[str, str] = Field(
        {},
        max_length=100,
        description="Fields that are read under another name, as `{vehicle_id: vehicleId}`. Such events take longer "
        "to decode.",
    )
    envelope: str = Field(
        "",
        max_length=200,
        description="The member of the object that holds the event, as `payload`, or a path, as `payload.after`.",
    )

    def reading(self) -> Reading:
        """Return what the decoder goes by."""
        return Reading(self.lenient, self.names, self.envelope)


class IngestSettings(_Section):
    """The pool that reads, windows, publishes and commits."""

    delivery: Literal["exactly_once", "at_least_once"] = Field(
        "exactly_once",
        description="How results reach Kafka. `at_least_once` has a lower latency, and repeats results after a crash.",
    )
    turn_records: int = Field(
        4_096,
        ge=1,
        le=65_536,
        description="Most records that are read and scored together. It must exceed neither `scorer.max_batch_rows` "
        "nor `ingest.uncommitted_records`.",
    )
    linger_ms: Milliseconds = Field(
        10,
        description="How long a turn waits for more records after its first. It waits up to 5 times as long while "
        "commits, or calls to scorers, take longer than this.",
    )
    turns_in_flight: int = Field(4, ge=1, le=64, description="Turns that may wait for scorers at once.")
    commit_interval_ms: Milliseconds = Field(
        5, description="Least time from one commit to the next, delivered exactly once."
    )
    commit_interval_backlog_ms: Milliseconds = Field(
        100, description="Least time from one commit to the next while there is a backlog, under either delivery."
    )
    uncommitted_records: int = Field(
        65_536, ge=1, le=1_000_000, description="Records read but not committed, above which the partitions pause."
    )
    vehicle_idle_s: float = Field(
        1_800.0,
        ge=60,
        le=604_800,
        description="A silent vehicle's history is forgotten after this time, measured by Kafka's append times.",
    )
    max_vehicles: int = Field(200_000, ge=1, le=10_000_000, description="Vehicle histories kept per partition.")
    late_horizon_s: float = Field(
        LATE_HORIZON_S,
        ge=0,
        le=604_800,
        description="What comes up to so late of a vehicle's silence is scored against what was known before the "
        "silence. Older events are scored by their levels alone.",
    )
    state_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of the input's bytes that snapshots of histories and open episodes may take.",
    )
    max_event_bytes: int = Field(
        262_144, ge=1_024, description="Larger records become dead letters with the reason `too_large`."
    )
    sender_report_s: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="How often what has been learnt of a vehicle's sender is published, while the vehicle is heard.",
    )
    pause_after_s: Seconds = Field(
        1.0, description="Partitions pause when scoring or committing holds ingest up so long."
    )
    score_timeout_s: Seconds = Field(
        0.5,
        description="Least wait for a scorer before another one is asked as well. Each further wait is twice as long.",
    )
    score_attempts: int = Field(
        6,
        ge=1,
        le=100,
        description="How often a turn is tried before its events become dead letters, one by one, with the reason "
        "`scoring_failed`.",
    )
    commit_timeout_s: Seconds = Field(
        5.0,
        description="A commit that takes longer is given up, and Kafka is asked what became of it. The next try may "
        "take `ingest.transaction_timeout_s`.",
    )
    transaction_timeout_s: Annotated[float, Field(ge=1, le=900)] = Field(
        10.0, description="Kafka aborts a transaction that stays open for longer."
    )
    session_timeout_s: Annotated[float, Field(ge=1, le=300)] = Field(
        6.0,
        description="Kafka gives a dead member's partitions to others after this time. Less than 6 s needs brokers "
        "that allow it by `group.min.session.timeout.ms`.",
    )
    stuck_after_s: Seconds = Field(
        30.0,
        description="A member that makes no turn for so long fails its health check, and its group goes on without it.",
    )
    drain_timeout_s: Seconds = Field(
        8.0, description="Time to finish and commit what is in flight when a partition leaves a member."
    )
    skip_lost_records: bool = Field(
        False,
        description="What to do when Kafka has deleted records that ingest has not read. If true, ingest goes on at "
        "the earliest record; if false, it stops.",
    )


_RULES = EpisodeRules()


class EpisodeSettings(_Section):
    """When a vehicle's alarms become an episode, and when it is over."""

    alarms_to_open: int = Field(
        _RULES.alarms_to_open,
        ge=1,
        le=1_000,
        description="An episode opens when so many of a vehicle's last `episodes.window_events` events alarmed.",
    )
    window_events: int = Field(
        _RULES.window_events,
        ge=1,
        le=1_000,
        description="Latest events of a vehicle among which alarms are counted. At least `episodes.alarms_to_open`.",
    )
    open_severity: float = Field(
        _RULES.open_severity,
        ge=0.5,
        le=1,
        description="One alarm that is so severe opens an episode at once. An alarm begins at 0.5.",
    )
    recovery_events: int = Field(
        _RULES.recovery_events,
        ge=1,
        le=100_000,
        description="An episode closes after so many events in a row that are less severe than "
        "`episodes.close_severity`.",
    )
    close_severity: float = Field(
        _RULES.close_severity, gt=0, le=0.5, description="Events below this severity count towards recovery."
    )
    silence_s: Seconds = Field(
        _RULES.silence_s,
        description="An episode closes after a longer gap, by the times of events or by Kafka's append times.",
    )
    silent_after_s: float = Field(
        _RULES.silent_after_s,
        ge=10,
        le=86_400,
        description="A vehicle that was not heard for so long, and for three of its usual pauses, is `silent`. "
        "Measured by Kafka's append times, while others are heard.",
    )
    update_interval_s: Seconds = Field(
        _RULES.update_interval_s, description="Event time between two updates of an episode that say nothing new."
    )
    max_vehicles: int = Field(
        _RULES.max_vehicles,
        ge=1,
        le=10_000_000,
        description="Vehicles remembered per partition. The one that was silent longest goes first.",
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

    max_batch_rows: int = Field(8_192, ge=1, le=1_000_000, description="Most events that are scored in one batch.")
    batch_wait_ms: Milliseconds = Field(1, description="How long a batch waits for further calls.")
    threads: int = Field(1, ge=1, le=256, description="Threads of TensorFlow inside one operation.")
    explained_rows: int = Field(
        512,
        ge=0,
        le=1_000_000,
        description="Alarms of one batch whose cause is found by imputing and scoring again. Further alarms are given "
        "the loudest signal group as their cause.",
    )


class GatewaySettings(_Section):
    """REST, WebSockets and the page."""

    batch_interval_ms: Milliseconds = Field(
        10, description="Time between two frames to a WebSocket client that asked for `?batch=true`."
    )
    client_backlog_events: int = Field(
        20_000, ge=1, description="Events that may wait for one client. Beyond it the oldest are dropped and counted."
    )
    allowed_origins: tuple[str, ...] = Field(
        (), description="Other sites whose pages may open the WebSocket and POST, each as `https://host:port`."
    )
    allowed_hosts: tuple[str, ...] = Field(
        (),
        description="Names with a dot by which the gateway may be asked, in lower case; `*` allows any. Addresses and "
        "names without a dot always may. With tokens and an empty list, no name is refused.",
    )
    max_clients: int = Field(1_000, ge=1, le=100_000, description="Most WebSocket clients of one gateway replica.")
    max_vehicles: int = Field(
        20_000, ge=1, description="Vehicles whose latest state is kept. The one that was silent longest goes first."
    )
    history_events: int = Field(100_000, ge=1, description="Recent events that are kept, over all vehicles.")
    max_request_events: int = Field(10_000, ge=1, le=100_000, description="Most events of one request to score.")
    max_request_bytes: int = Field(16_777_216, ge=1_024, description="Largest body of a request.")
    score_timeout_s: Seconds = Field(10.0, description="A request waits so long for scorers, and then fails.")


class JwtSettings(_Section):
    """Which signed tokens (JWT) are taken, where `auth.mode` is `jwt`."""

    key_file: Path = Field(
        Path(".fleet/jwks.json"),
        description="The issuer's public keys, as a JWKS or as PEM. It is read again when it changes. A relative path "
        "starts at the project's folder.",
    )
    algorithms: tuple[Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"], ...] = (
        Field(("RS256", "ES256"), min_length=1, description="How tokens may be signed.")
    )
    issuer: str = Field("", description="Who must have issued a token: its claim `iss`.")
    audience: str = Field("", description="Whom a token must be for: its claim `aud`.")
    tenant_claim: str = Field(
        "tenant", min_length=1, description="The claim that names the tenant. A token without it is of `default`."
    )
    role_claim: str = Field("role", min_length=1, description="The claim that names the role.")
    leeway_s: float = Field(30.0, ge=0, le=300, description="By how much the issuer's clock and ours may differ.")

    @property
    def absolute_key_file(self) -> Path:
        """The file of keys, wherever the process was started."""
        return self.key_file if self.key_file.is_absolute() else PROJECT_FOLDER / self.key_file


class AuthSettings(_Section):
    """Who may use the gateway."""

    mode: Literal["none", "tokens", "jwt"] = Field(
        "none",
        description="`tokens` asks every request for a token of `fleet token create`, `jwt` for one of your identity "
        "provider. `none` lets everybody do everything, and starts only where Serve listens on loopback.",
    )
    jwt: JwtSettings = JwtSettings()
    allow_open: bool = Field(
        False,
        description="Whether `none` may start where other machines reach the port. Something else must then keep "
        "strangers out; every start says so.",
    )
    token_file: Path = Field(
        Path(".fleet/tokens.json"),
        description="The file of tokens, on every node with a gateway. A relative path starts at the project's folder.",
    )
    session_hours: float = Field(
        12.0, gt=0, le=720, description="For how long a browser stays signed in, unless its token expires before."
    )

    @model_validator(mode="after")
    def _jwt_is_whole(self) -> "AuthSettings":
        if self.mode == "jwt" and not (self.jwt.issuer and self.jwt.audience):
            raise ValueError("auth.mode is jwt: set auth.jwt.issuer and auth.jwt.audience to what tokens must name")
        return self

    @property
    def absolute_token_file(self) -> Path:
        """The file of tokens, wherever the process was started."""
        return self.token_file if self.token_file.is_absolute() else PROJECT_FOLDER / self.token_file


class RecoverySettings(_Section):
    """How far back a client of `/ws/v2` may resume. Beyond it, it is told so and begins with a snapshot."""

    max_events: int = Field(
        1_000_000, ge=0, le=1_000_000_000, description="Most events between a client's cursor and the head of the log."
    )
    max_age_s: float = Field(3_600.0, ge=0, le=2_592_000, description="Oldest cursor that is resumed from the log.")
    readers: int = Field(
        4,
        ge=1,
        le=64,
        description="Clients that may be read to from the log at once, of one gateway replica. Others wait. What is "
        "still in memory needs none.",
    )


class Settings(_Section):
    """Everything that `serve_config.yaml` may say under `args`."""

    kafka: KafkaSettings = KafkaSettings()
    model: ModelSettings = ModelSettings()
    events: EventSettings = EventSettings()
    ingest: IngestSettings = IngestSettings()
    episodes: EpisodeSettings = EpisodeSettings()
    scorer: ScorerSettings = ScorerSettings()
    gateway: GatewaySettings = GatewaySettings()
    auth: AuthSettings = AuthSettings()
    recovery: RecoverySettings = RecoverySettings()

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
