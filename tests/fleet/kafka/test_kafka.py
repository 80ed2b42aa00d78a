import time
import uuid

import pytest

from fleet import kafka as fleet_kafka
from fleet.errors import KafkaUnavailableError, SettingsError, TopicMismatchError
from fleet.kafka import Ledger, client_config, decode_ledger, ensure_topics, offset_to_commit
from fleet.settings import KafkaSettings, TopicNames
from simulator.local_kafka import LocalKafka


def unique_settings(partitions: int = 2) -> KafkaSettings:
    run = uuid.uuid4().hex[:8]
    names = TopicNames(**{name: f"{name}-{run}" for name in TopicNames.model_fields})
    return KafkaSettings(application_id=run, topics=names, partitions=partitions)


def create_topics(settings: KafkaSettings) -> None:
    """Create them and wait until the broker lists them all, some moments later."""
    ensure_topics(settings)
    admin, wanted = fleet_kafka.admin_client(), set(settings.topics.model_dump().values())
    deadline_s = time.monotonic() + 20
    while not wanted <= admin.list_topics(timeout=10).topics.keys():
        assert time.monotonic() < deadline_s


def add_partitions(topic: str, count: int) -> None:
    admin = fleet_kafka.admin_client()  # its answers come as long as it lives
    [answer] = admin.create_partitions([fleet_kafka.NewPartitions(topic, count)]).values()
    answer.result(20)
    deadline_s = time.monotonic() + 20
    while len(admin.list_topics(topic, timeout=10).topics[topic].partitions) < count:
        assert time.monotonic() < deadline_s


def test_client_config_takes_address_and_credentials_from_the_environment() -> None:
    config = client_config(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "broker:9093",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": "u",
            "KAFKA_SASL_PASSWORD": "p",
            "KAFKA_SSL_CA_LOCATION": "/ca.pem",
        }
    )
    assert config == {
        "bootstrap.servers": "broker:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "p",
        "ssl.ca.location": "/ca.pem",
    }


def test_client_config_defaults_to_this_machine() -> None:
    assert client_config({}) == {"bootstrap.servers": "localhost:9092"}


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        (
            {"KAFKA_SASL_USERNAME": "u", "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "PLAIN"},
            "PASSWORD",
        ),
        ({"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p"}, "KAFKA_SECURITY_PROTOCOL"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p"},
            "KAFKA_SASL_MECHANISM",
        ),
    ],
)
def test_client_config_refuses_half_a_login(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        client_config(environ)


def test_ensure_topics_creates_what_the_contract_says(kafka: LocalKafka) -> None:
    settings = unique_settings()
    assert ensure_topics(settings) == []
    assert ensure_topics(settings) == []  # and finds nothing to say about its own work
    topics = fleet_kafka.admin_client().list_topics(timeout=10).topics
    assert {len(topics[name].partitions) for name in settings.topics.model_dump().values()} == {2}


def test_ensure_topics_says_how_existing_topics_differ(kafka: LocalKafka) -> None:
    settings = unique_settings()
    create_topics(settings)
    [*sentences] = ensure_topics(settings.model_copy(update={"retention_hours": 1.0}))
    assert any(settings.topics.telemetry in s and "retention.ms is 86400000" in s for s in sentences)
    with pytest.raises(TopicMismatchError, match="has 2 partitions"):
        ensure_topics(settings.model_copy(update={"partitions": 5}))


def test_ensure_topics_warns_of_leaders_that_may_lose_records(kafka: LocalKafka) -> None:
    settings = unique_settings()
    create_topics(settings)
    assert ensure_topics(settings) == []
    entry = fleet_kafka.ConfigEntry(
        "unclean.leader.election.enable", "true", incremental_operation=fleet_kafka.AlterConfigOpType.SET
    )
    resource = fleet_kafka.ConfigResource(
        fleet_kafka.ResourceType.TOPIC, settings.topics.scored, incremental_configs=[entry]
    )
    admin = fleet_kafka.admin_client()
    [changed] = admin.incremental_alter_configs([resource]).values()
    changed.result(20)
    deadline_s = time.monotonic() + 20
    while not (sentences := ensure_topics(settings)):  # the broker follows its controller some moments later
        assert time.monotonic() < deadline_s
    [sentence] = sentences
    assert sentence.startswith(f"Topic {settings.topics.scored}: unclean.leader.election.enable is true")


def test_ensure_topics_accepts_partitions_that_were_added_to_results_first(kafka: LocalKafka) -> None:
    settings = unique_settings()
    create_topics(settings)
    names = settings.topics
    for topic in (names.scored, names.episodes, names.senders, names.actions, names.dlq, names.state):
        add_partitions(topic, 3)
        assert any(f"{topic} has 3 partitions" in s for s in ensure_topics(settings))
    add_partitions(names.telemetry, 3)
    assert len(ensure_topics(settings)) == len(TopicNames.model_fields)
    assert ensure_topics(settings.model_copy(update={"partitions": 3})) == []


def test_ensure_topics_refuses_telemetry_with_partitions_that_results_have_not(kafka: LocalKafka) -> None:
    settings = unique_settings()
    create_topics(settings)
    add_partitions(settings.topics.telemetry, 3)
    with pytest.raises(TopicMismatchError, match=f"{settings.topics.scored} has 2 partitions"):
        ensure_topics(settings)


def test_ensure_topics_says_that_kafka_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(fleet_kafka.topics, "REQUEST_TIMEOUT_S", 0.5)
    with pytest.raises(KafkaUnavailableError, match=r"127\.0\.0\.1:1 does not answer"):
        ensure_topics(unique_settings())


def test_ledgers_are_read_while_a_transaction_is_open(kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_kafka.ledger, "REQUEST_TIMEOUT_S", 2.0)
    settings = unique_settings()
    create_topics(settings)
    consumer = fleet_kafka.group_reader(settings)
    producer = fleet_kafka.Producer({**client_config(), "transactional.id": settings.application_id})
    producer.init_transactions(20)
    for next_offset in (5, 9):
        producer.begin_transaction()
        offset = offset_to_commit(settings, 1, next_offset, Ledger(read=next_offset, scored=next_offset))
        producer.send_offsets_to_transaction([offset], consumer.consumer_group_metadata(), 20)
        if next_offset == 5:
            producer.commit_transaction(20)
    reader = fleet_kafka.ledger_reader(settings)
    assert [p.committed_offset for p in fleet_kafka.partition_ledgers(reader, settings)] == [None, 5]
    with pytest.raises(KafkaUnavailableError):
        fleet_kafka.partition_ledgers(consumer, settings)
    producer.abort_transaction(20)
    for client in (reader, consumer):
        client.close()


def test_ledger_travels_in_the_offsets_metadata() -> None:
    offset = offset_to_commit(KafkaSettings(), 3, 17, Ledger(read=5, scored=3, dead_lettered=1, keyless=2))
    assert (offset.partition, offset.offset) == (3, 17)
    assert decode_ledger(offset.metadata) == Ledger(5, 3, 1, 0, 2)


def test_ledger_of_an_earlier_version_counts_from_zero_what_it_does_not_name() -> None:
    assert decode_ledger('{"read":5,"scored":3,"deadLettered":1,"inFlight":1}') == Ledger(5, 3, 1, 1, 0)


@pytest.mark.parametrize("metadata", [None, "", "somebody else's", '{"read":"x"}', "[]"])
def test_decode_ledger_counts_from_zero_where_the_metadata_is_not_ours(metadata: str | None) -> None:
    assert decode_ledger(metadata) == Ledger(0, 0, 0)
