"""The catalogue of what is counted: each count has a name, a unit and a meaning, and nothing else can be counted.

The ingest workers and the gateway count by these names, the deployments publish them under the metrics' names, and
the page `docs/reference/metrics.md` is made from them.
"""

from enum import StrEnum
from typing import Final, Literal, NamedTuple, Self

TAG: Final = "count"  # the tag that says which count of a metric a value is


class _Count(StrEnum):
    """A count's name, as it stands in the metric's tag `count`, with its unit and its meaning."""

    unit: str
    meaning: str

    def __new__(cls, name: str, unit: str, meaning: str) -> Self:
        count = str.__new__(cls, name)
        count._value_, count.unit, count.meaning = name, unit, meaning
        return count


class IngestCount(_Count):
    """What an ingest worker counts since its start; every count only grows."""

    READ = "read", "records", "Telemetry records that were read for the first time, rejected ones included."
    SCORED = "scored", "events", "Events whose result was handed over to be published."
    ANOMALIES = "anomalies", "events", "Scored events that raised an alarm."
    CAUSES_OF_FIRST_STAGE = (
        "causes_of_first_stage",
        "events",
        "Alarms whose cause is the loudest signal group: their batch had more alarms than `scorer.explained_rows`.",
    )
    REPEATS = "repeats", "events", "Events that repeat their vehicle's latest event; they change no history."
    AHEAD_OF_THE_LOG = (
        "ahead_of_the_log",
        "events",
        "Events whose timestamp is more than a second later than Kafka's append time: the sender's clock is fast.",
    )
    LONG_BEHIND_THE_LOG = (
        "long_behind_the_log",
        "events",
        "Events that Kafka appended more than a minute after they happened.",
    )
    KEYLESS = (
        "keyless",
        "events",
        "Events whose record has no key: their vehicle is spread over partitions. Senders set it to `vehicleId`.",
    )
    KEYS_THAT_ARE_NOT_THE_VEHICLE = (
        "keys_that_are_not_the_vehicle",
        "events",
        "Events whose record has a key that is not their `vehicleId`: their vehicle may be spread over partitions.",
    )
    REJECTED_TOO_LARGE = (
        "rejected_too_large",
        "records",
        "Records that are larger than `ingest.max_event_bytes`, or whose `vehicleId` is too long.",
    )
    REJECTED_EMPTY = "rejected_empty", "records", "Records without a value, or with nothing but white space."
    REJECTED_NOT_UTF8 = "rejected_not_utf8", "records", "Records that are no UTF-8 text."
    REJECTED_NOT_JSON = "rejected_not_json", "records", "Records that are no JSON."
    REJECTED_NOT_AN_OBJECT = "rejected_not_an_object", "records", "Records that are JSON, but no object."
    REJECTED_NOT_FINITE = "rejected_not_finite", "records", "Records with a number that no float can hold, or with NaN."
    REJECTED_MISSING_FIELD = (
        "rejected_missing_field",
        "records",
        "Records without `vehicleId`, without `timestamp`, or without any signal.",
    )
    REJECTED_WRONG_TYPE = "rejected_wrong_type", "records", "Records with a field of the wrong type."
    REJECTED_BAD_TIMESTAMP = (
        "rejected_bad_timestamp",
        "records",
        "Records whose timestamp is no time between the years 1970 and 9999.",
    )
    REJECTED_IMPOSSIBLE_POSITION = (
        "rejected_impossible_position",
        "records",
        "Records with a value beyond its channel's limits, as a latitude that is no place on Earth.",
    )
    REJECTED_SCORING_FAILED = (
        "rejected_scoring_failed",
        "records",
        "Records that can be read, and that no scorer could score, by themselves either.",
    )
    NUMBERS_SENT_AS_TEXT = "numbers_sent_as_text", "values", 'Numbers that were read from text, as `"87"`.'
    UNKNOWNS_SENT_AS_TEXT = (
        "unknowns_sent_as_text",
        "values",
        "Signals that are unknown because a word stood in place of a number, as `-` or `unavailable`.",
    )
    FLAGS_SENT_OTHERWISE = "flags_sent_otherwise", "values", "Flags that were sent as 0 or 1, or as text."
    IDS_SENT_AS_NUMBERS = "ids_sent_as_numbers", "values", "Identifiers that were sent as a number and read as text."
    TIMES_MENDED = (
        "times_mended",
        "values",
        "Times that were oddly written and read all the same: a leap second, 24 o'clock, a lower-case z.",
    )
    BYTE_ORDER_MARKS = "byte_order_marks", "records", "Records that began with a byte order mark."
    POSITIONS_WITHOUT_FIX = (
        "positions_without_fix",
        "events",
        "Events whose position is what a receiver without a fix sends, as 0, 0: it was read as unknown.",
    )
    FIELDS_MISNAMED = (
        "fields_misnamed",
        "events",
        "Events that lack a field and have one whose name means it, as `lat` for `latitude`. "
        "The log line `fields_not_read` names vehicle and fields.",
    )
    EPISODES_OPENED = "episodes_opened", "episodes", "Episodes that began."
    EPISODES_UPDATED = "episodes_updated", "updates", "Updates of open episodes."
    EPISODES_CLOSED = "episodes_closed", "episodes", "Episodes that ended."
    EPISODE_EVICTIONS = (
        "episode_evictions",
        "vehicles",
        "Vehicles that the episodes forgot, because a partition had more than `episodes.max_vehicles`.",
    )
    COMMITS = "commits", "commits", "Commits of results and offsets that succeeded."
    COMMIT_RETRIES = "commit_retries", "commits", "Commits that failed or stayed uncertain, and were tried again."
    COMMITS_GIVEN_UP = (
        "commits_given_up",
        "calls",
        "Calls of Kafka's client that hung and were abandoned with their producer.",
    )
    PAUSES = "pauses", "pauses", "Times that reading paused, because scoring or committing did not keep up."
    KAFKA_UNAVAILABLE = "kafka_unavailable", "errors", "Errors that say that Kafka is away."
    REJOINS = "rejoins", "times", "Times that the worker left the consumer group and joined it again."
    REPLAYED = (
        "replayed",
        "records",
        "Records that were read again to restore histories; an earlier owner has scored them.",
    )
    RECORDS_OF_ENDED_ASSIGNMENTS = (
        "records_of_ended_assignments",
        "records",
        "Records that were dropped unscored, because their partition had left; its next owner reads them again.",
    )
    DROPPED_WHEN_RELEASED = (
        "dropped_when_released",
        "records",
        "Records that were not committed when their partition left; its next owner reads them again.",
    )
    SENDERS_REPORTED = "senders_reported", "reports", "Reports on what was learnt of a vehicle's sender."
    STATES_WRITTEN = "states_written", "snapshots", "Snapshots of a partition's histories and episodes."
    STATES_DISCARDED = (
        "states_discarded",
        "snapshots",
        "Snapshots that could not be used at a take-over: the histories began anew.",
    )
    HISTORIES_WITH_A_GAP = (
        "histories_with_a_gap",
        "take-overs",
        "Take-overs for which Kafka no longer had all records since the snapshot.",
    )

    @classmethod
    def rejected(cls, reason: str) -> "IngestCount":
        """Return the count of a dead letter's reason. Raises KeyError for a reason that is not in the catalogue."""
        return cls[f"REJECTED_{reason.upper()}"]

    @classmethod
    def episodes(cls, change: Literal["opened", "updated", "closed"]) -> "IngestCount":
        """Return the count of an episode's change."""
        return cls[f"EPISODES_{change.upper()}"]


class GatewayCount(_Count):
    """What a gateway replica counts since its start; every count only grows."""

    DROPPED = "dropped", "events", "Events that slow WebSocket clients missed."
    DUPLICATES = "duplicates", "records", "Results that the gateway had shown already; it drops them."
    UNREADABLE = "unreadable", "records", "Records of the result topics that the gateway could not read."
    REFUSED = "refused", "requests", "Requests and WebSockets that were refused for want of a token or a permission."
    EVICTED_VEHICLES = (
        "evicted_vehicles",
        "vehicles",
        "Vehicles that the view forgot, because there were more than `gateway.max_vehicles`.",
    )
    EVICTED_SENDERS = (
        "evicted_senders",
        "vehicles",
        "Reports on senders that the gateway forgot, because there were too many (`gateway.max_vehicles`).",
    )
    EVICTED_EPISODES = "evicted_episodes", "episodes", "Episodes that the view forgot, because there were too many."


class Leg(_Count):
    """A leg of an event's way. What is shown is committed: the commit itself is not seen from the gateway."""

    APPENDED_TO_READ = "appended_to_read", "seconds", "From Kafka's append of the telemetry until ingest has read it."
    READ_TO_SCORED = "read_to_scored", "seconds", "From there until its result is ready to be published."
    SCORED_TO_COMMITTED = "scored_to_committed", "seconds", "From there until Kafka has committed it."
    SCORED_TO_SHOWN = "scored_to_shown", "seconds", "From the ready result until the gateway gives it to its clients."
    APPENDED_TO_SHOWN = "appended_to_shown", "seconds", "The whole way, from the append until the gateway shows it."


class Metric(NamedTuple):
    """A metric as Ray is told of it; a histogram has the upper bounds of its buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    tags: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names of what stands for it in a scrape, without Ray's prefix."""
        return tuple(self.name + suffix for suffix in ("_bucket", "_sum", "_count")) if self.bounds else (self.name,)


LEG_TAG: Final = "leg"
CAUSE_TAG: Final = "cause"
PARTITION_TAG: Final = "partition"
VERSION_TAG: Final = "version"
FINDING_TAG: Final = "finding"
BOUND_TAG: Final = "le"

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_RECORDS: Final = (1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0)

INGEST_TOTAL: Final = Metric(
    "fleet_ingest_total", "counter", "as its count", "What an ingest replica counted, by the name of the count.", (TAG,)
)
INGEST_LAG_RECORDS: Final = Metric(
    "fleet_ingest_lag_records", "gauge", "records", "Records in Kafka that wait for this ingest replica."
)
INGEST_BUSY_RATIO: Final = Metric(
    "fleet_ingest_busy_ratio", "gauge", "share of 1", "Share of its time in which an ingest replica has work."
)
EVENT_SECONDS: Final = Metric(
    "fleet_event_seconds", "histogram", "seconds", "How long events take on a leg of their way.", (LEG_TAG,), _SECONDS
)
TURN_RECORDS: Final = Metric(
    "fleet_turn_records", "histogram", "records", "Records that one turn reads and scores together.", (), _RECORDS
)
COMMIT_SECONDS: Final = Metric(
    "fleet_commit_seconds", "histogram", "seconds", "How long commits take that succeed at once.", (), _SECONDS
)
COMMIT_RECORDS: Final = Metric(
    "fleet_commit_records", "histogram", "records", "Records that one commit publishes.", (), _RECORDS
)
EPISODES_OPENED_TOTAL: Final = Metric(
    "fleet_episodes_opened_total", "counter", "episodes", "Episodes that began, by their first cause.", (CAUSE_TAG,)
)
MODEL_INFO: Final = Metric(
    "fleet_model_info", "gauge", "1", "1 for the bundle version that serves, 0 for one before it.", (VERSION_TAG,)
)
GATEWAY_TOTAL: Final = Metric(
    "fleet_gateway_total",
    "counter",
    "as its count",
    "What a gateway replica counted, by the name of the count.",
    (TAG,),
)
GATEWAY_CLIENTS: Final = Metric("fleet_gateway_clients", "gauge", "clients", "Open WebSockets of a gateway replica.")
GATEWAY_CLIENTS_LIMIT: Final = Metric(
    "fleet_gateway_clients_limit", "gauge", "clients", "Most WebSockets of a gateway replica: `gateway.max_clients`."
)
SENDERS_WITH_FINDINGS: Final = Metric(
    "fleet_senders_with_findings",
    "gauge",
    "vehicles",
    "Vehicles whose sender has a finding of a kind, as a gateway replica knows them.",
    (FINDING_TAG,),
)
LEDGER_READ_TIMESTAMP_SECONDS: Final = Metric(
    "fleet_ledger_read_timestamp_seconds",
    "gauge",
    "Unix seconds",
    "When a gateway last read from Kafka how far ingest is. An old time means that Kafka does not answer.",
)
PARTITION_LAG_RECORDS: Final = Metric(
    "fleet_partition_lag_records", "gauge", "records", "Records of a partition that wait.", (PARTITION_TAG,)
)
PARTITION_OLDEST_SECONDS: Final = Metric(
    "fleet_partition_oldest_unscored_seconds",
    "gauge",
    "seconds",
    "Age of the oldest record of a partition that waits; 0 where none does.",
    (PARTITION_TAG,),
)
PARTITION_UNBALANCED_RECORDS: Final = Metric(
    "fleet_partition_unbalanced_records",
    "gauge",
    "records",
    "Read, less scored, less dead letters, less in flight: anything but 0 is a fault.",
    (PARTITION_TAG,),
)
OF_INGEST: Final = (
    INGEST_TOTAL,
    INGEST_LAG_RECORDS,
    INGEST_BUSY_RATIO,
    EVENT_SECONDS,
    TURN_RECORDS,
    COMMIT_SECONDS,
    COMMIT_RECORDS,
    EPISODES_OPENED_TOTAL,
    MODEL_INFO,
)
OF_GATEWAY: Final = (
    GATEWAY_TOTAL,
    GATEWAY_CLIENTS,
    GATEWAY_CLIENTS_LIMIT,
    SENDERS_WITH_FINDINGS,
    LEDGER_READ_TIMESTAMP_SECONDS,
    PARTITION_LAG_RECORDS,
    PARTITION_OLDEST_SECONDS,
    PARTITION_UNBALANCED_RECORDS,
)
METRICS: Final = (*OF_INGEST, *OF_GATEWAY)
