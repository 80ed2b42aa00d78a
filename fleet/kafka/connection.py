"""Clients of Kafka: their properties, and the connection and credentials that the environment names."""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from fleet.errors import SettingsError
from fleet.settings import IngestSettings, KafkaSettings

DEFAULT_BOOTSTRAP_SERVERS = "localhost:9092"
REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 1.0
# After a full queue; the client's default would then not fetch for a second.
QUEUE_BACKOFF_MS = 10
HEARTBEAT_INTERVAL_MS = 300  # well under the shortest session that may be set
METADATA_INTERVAL_MS = 10_000  # new partitions are found so soon, not after the client's 5 minutes
LARGER_THAN_TELEMETRY_BYTES = 65_536


class ClientVariable(NamedTuple):
    """What an environment variable sets: a property of librdkafka, and what that is for."""

    property: str
    meaning: str


# Passwords stay out of files and command lines.
CLIENT_VARIABLES: Final[Mapping[str, ClientVariable]] = {
    "KAFKA_BOOTSTRAP_SERVERS": ClientVariable(
        "bootstrap.servers", f"Addresses of brokers, separated by commas; `{DEFAULT_BOOTSTRAP_SERVERS}` if not set."
    ),
    "KAFKA_SECURITY_PROTOCOL": ClientVariable(
        "security.protocol", "`PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`; `PLAINTEXT` if not set."
    ),
    "KAFKA_SASL_MECHANISM": ClientVariable(
        "sasl.mechanism", "How the login is proved, as `SCRAM-SHA-512` or `PLAIN`. A `SASL_` protocol needs it."
    ),
    "KAFKA_SASL_USERNAME": ClientVariable(
        "sasl.username", "Name of the login. The password and a `SASL_` protocol must be set with it."
    ),
    "KAFKA_SASL_PASSWORD": ClientVariable("sasl.password", "Password of the login."),
    "KAFKA_SSL_CA_LOCATION": ClientVariable(
        "ssl.ca.location", "File of certificates that brokers are verified by; the system's own if not set."
    ),
    "KAFKA_SSL_CERTIFICATE_LOCATION": ClientVariable(
        "ssl.certificate.location", "File with the client's certificate, where brokers ask for one."
    ),
    "KAFKA_SSL_KEY_LOCATION": ClientVariable("ssl.key.location", "File with the client's private key."),
    "KAFKA_SSL_KEY_PASSWORD": ClientVariable("ssl.key.password", "Password of that key."),
    "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM": ClientVariable(
        "ssl.endpoint.identification.algorithm",
        "Whether a broker's certificate must name its host: `https` or `none`; `https` if not set.",
    ),
}
logger = logging.getLogger(__name__)


def client_config(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Build the connection's properties from the environment. Raises SettingsError for a broken combination."""
    config = {variable.property: environ[name] for name, variable in CLIENT_VARIABLES.items() if environ.get(name)}
    config.setdefault("bootstrap.servers", DEFAULT_BOOTSTRAP_SERVERS)
    if "sasl.username" in config and "sasl.password" not in config:
        raise SettingsError("KAFKA_SASL_USERNAME is set but KAFKA_SASL_PASSWORD is not: set both or neither.")
    is_sasl = config.get("security.protocol", "").upper().startswith("SASL")
    if is_sasl and "sasl.mechanism" not in config:
        raise SettingsError(
            "KAFKA_SECURITY_PROTOCOL asks for a login, but KAFKA_SASL_MECHANISM does not say how: set it to "
            "SCRAM-SHA-512, PLAIN, or whatever your brokers take."
        )
    if "sasl.username" in config and not is_sasl:
        raise SettingsError(
            "KAFKA_SASL_USERNAME is set: set KAFKA_SECURITY_PROTOCOL to SASL_SSL (or SASL_PLAINTEXT) as well."
        )
    return config


def admin_client(environ: Mapping[str, str] = os.environ) -> AdminClient:
    """Connect an administrator."""
    return AdminClient({**client_config(environ), **quiet_properties()})


def ingest_consumer(kafka: KafkaSettings, ingest: IngestSettings) -> Consumer:
    """Build a member of the ingest group; it never resets or commits an offset by itself."""
    return Consumer(
        {
            **client_config(),
            **quiet_properties(),
            "group.id": kafka.group_id,
            "client.id": f"{kafka.application_id}-ingest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(ingest.session_timeout_s * 1000),
            # A member learns of a rebalance by its heartbeat, and each round waits for the slowest member.
            "heartbeat.interval.ms": HEARTBEAT_INTERVAL_MS,
            # So long a rebalance waits for members that say nothing, and so long nobody may own a partition.
            # Serve replaces who makes no turn for this time, so the group need not wait longer.
            "max.poll.interval.ms": int(max(ingest.stuck_after_s, ingest.session_timeout_s) * 1000),
            "topic.metadata.refresh.interval.ms": METADATA_INTERVAL_MS,
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 100,
            "queued.max.messages.kbytes": 32_768,
            "queued.min.messages": 20_000,
            "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,
            "fetch.message.max.bytes": 4_194_304,
        }
    )


def tail_consumer(kafka: KafkaSettings, client_id: str, **overrides: Any) -> Consumer:
    """Build a reader that follows a topic by itself, outside of every group; the caller assigns positions."""
    return Consumer(
        {
            **client_config(),
            **quiet_properties(),
            "group.id": f"{kafka.application_id}-{client_id}",  # required by the client; nothing is committed to it
            "client.id": f"{kafka.application_id}-{client_id}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 50,
            "queued.max.messages.kbytes": 32_768,
            "fetch.queue.backoff.ms": QUEUE_BACKOFF_MS,
            **overrides,
        }
    )


def telemetry_producer(client_id: str, **overrides: Any) -> Producer:
    """Build an idempotent producer for the outside world (simulator, replay, load test).

    It hashes keys as the Java client does, so that a vehicle lands in the same partition whoever sends it.
    """
    return Producer(
        {
            **client_config(),
            **quiet_properties(),
            "client.id": client_id,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            # The client sends a request per partition: fewer of them spare the broker much.
            "linger.ms": 20,
            "queue.buffering.max.messages": 100_000,
            "delivery.timeout.ms": 120_000,
            **overrides,
        }
    )


def group_reader(kafka: KafkaSettings, **overrides: Any) -> Consumer:
    """Build a client that may read the ingest group's offsets without joining it; it waits for what is pending."""
    return Consumer(
        {**client_config(), **quiet_properties(), "group.id": kafka.group_id, "enable.auto.commit": False, **overrides}
    )


def ledger_reader(kafka: KafkaSettings) -> Consumer:
    """Build a client for `partition_ledgers` that takes what is committed, while transactions are pending, too.

    Kafka answers a read_committed client only at a moment when no partition has an offset pending. Among many
    partitions under load there is no such moment.
    """
    return group_reader(kafka, **{"isolation.level": "read_uncommitted"})


def bootstrap_servers() -> str:
    """Say which Kafka the environment names."""
    return str(client_config()["bootstrap.servers"])


def is_unreachable(error: KafkaError) -> bool:
    """Tell whether an error only says that Kafka is away for now."""
    return bool(error.retriable()) or error.code() in _AWAY


_AWAY = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
    }
)
NOT_ALLOWED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})


def why_away(client: Consumer | AdminClient, exception: KafkaException) -> str:
    """Say why a client has no answer: it may have been told something of a login, or of a certificate."""
    with contextlib.suppress(KafkaException, RuntimeError):
        client.poll(0)  # only here a client hands over what it was told
    servers, told = bootstrap_servers(), _told.take()
    if told is not None:
        return f"Kafka at {servers} {told}"
    if _takes_connections(servers):
        return (
            f"Kafka at {servers} takes connections, but does not answer: it may be starting, or want another "
            "KAFKA_SECURITY_PROTOCOL."
        )
    return f"Kafka at {servers} does not answer: {error_text(exception)}"


def _takes_connections(servers: str) -> bool:
    host, _, port = servers.partition(",")[0].rpartition(":")
    try:
        with socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False


class _Told:
    """What a client was told last of why it may not come in, for a while."""

    KEPT_S: Final = 60.0

    def __init__(self) -> None:
        self._reason: str | None = None
        self._at_s = 0.0

    def note(self, error: KafkaError) -> None:
        if (reason := _refusal(error)) is not None:
            self._reason, self._at_s = reason, time.monotonic()

    def take(self) -> str | None:
        reason, self._reason = self._reason, None
        return reason if time.monotonic() - self._at_s < self.KEPT_S else None


def _refusal(error: KafkaError) -> str | None:
    """Say what a client's error means for whoever has set it up; None where it says nothing about that."""
    text = error.str().lower()
    if "unsupported sasl mechanism" in text or "mechanism handshake failed" in text:
        return "takes no login by this KAFKA_SASL_MECHANISM: set one that its listener has."
    if error.code() == KafkaError._AUTHENTICATION:
        return "refuses the login: check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM."
    if error.code() == KafkaError._SSL or "ssl handshake" in text or "ssl routines" in text:
        return _tls_refusal(text)
    if "security.protocol" in text:
        return "ends each connection at once: check KAFKA_SECURITY_PROTOCOL; its listener may want TLS, or a login."
    return None


def _tls_refusal(text: str) -> str:
    if "hostname" in text or "host name" in text or "ip address mismatch" in text:
        return "has a certificate for another host: connect to a name that it bears (KAFKA_BOOTSTRAP_SERVERS)."
    if "certificate verify failed" in text or "self-signed" in text:
        return (
            "has a certificate that is not trusted, or is for another host: set KAFKA_SSL_CA_LOCATION to the "
            "certificates that sign it, and KAFKA_BOOTSTRAP_SERVERS to a name that it bears."
        )
    if "wrong version number" in text or "plaintext broker" in text:
        return "speaks no TLS there: check KAFKA_SECURITY_PROTOCOL and the port in KAFKA_BOOTSTRAP_SERVERS."
    return (
        "ends the TLS handshake: it may want a client's certificate; check KAFKA_SSL_CERTIFICATE_LOCATION and "
        "KAFKA_SSL_KEY_LOCATION."
    )


_told: Final = _Told()


def error_text(exception: KafkaException) -> str:
    """Return what the client says of an error."""
    return str(exception.args[0].str()) if isinstance(exception.args[0], KafkaError) else str(exception)


def quiet_properties() -> dict[str, Any]:
    """Route the client's own log lines through `logging`, and its errors past the terminal."""
    return {
        "logger": logging.getLogger("fleet.kafka.client"),
        "error_cb": _note_error,
        "log_level": 2,  # an absent broker is said once, by us; the client says it again and again
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2_000,
    }


def _note_error(error: KafkaError) -> None:
    logger.debug("kafka_client_error", extra={"error": error.str()})
    _told.note(error)


def single_record_reader(kafka: KafkaSettings) -> Consumer:
    """Build a reader for `append_times_s`: it fetches little at a time."""
    return Consumer(
        {
            **client_config(),
            **quiet_properties(),
            "group.id": f"{kafka.application_id}-append-times",  # required by the client; nothing is committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 50,
            "fetch.message.max.bytes": 16_384,
            "queued.min.messages": 1,
            "fetch.queue.backoff.ms": 5,  # one message is a full queue here; the default waits a second after it
        }
    )
