"""The Kafka users of the manifests may do what they must, on a broker that keeps to their rights, and no more."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fleet.kafka
from commands.main import commands
from fleet.errors import KafkaUnavailableError
from fleet.kafka import KafkaError, KafkaException, TopicPartition
from tests.fleet.ingest.worker_harness import publish, running, telemetry, until
from tests.k8s.certificates import Authority
from tests.k8s.guarded_kafka import GuardedKafka
from tests.k8s.manifests import every, settings

pytestmark = pytest.mark.slow

BecomeUser = Callable[[str], None]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedKafka]:
    with GuardedKafka(tmp_path_factory.mktemp("guarded"), every("KafkaUser")) as broker:
        yield broker


@pytest.fixture
def become(guarded: GuardedKafka, monkeypatch: pytest.MonkeyPatch) -> BecomeUser:
    """Let what follows come in as a user; with the topics that the topic operator has made."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", guarded.bootstrap_servers)
    fleet.kafka.ensure_topics(settings().kafka)

    def as_user(name: str) -> None:
        for variable, value in guarded.login(name).items():
            monkeypatch.setenv(variable, value)

    return as_user


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(commands, list(words))
    return result.exit_code, result.output


async def test_users_of_the_manifests_do_their_work(become: BecomeUser) -> None:
    """Vehicles publish, the application scores, and an operator looks at the books and sends a dead letter again."""
    become("fleet-simulator")
    await publish(settings(), [telemetry(v, s) for s in range(5) for v in range(4)])
    await publish(settings(), [b"{"], key=b"V1")
    become("fleet-application")
    async with running(settings()) as worker:
        await until(lambda: worker.counts["scored"] == 20 and worker.counts["rejected_not_json"] == 1, worker)
    become("fleet-operator")
    assert run("topics")[0] == 0
    status, said = run("audit")
    assert status == 0, said
    assert "The books balance: 21 events" in said
    status, said = run("dlq", "redrive", "--yes")
    assert status == 0, said
    assert "1 sent and acknowledged, 0 failed" in said


def test_doctor_sees_all_of_kafka_as_an_operator(become: BecomeUser) -> None:
    become("fleet-operator")
    _, said = run("doctor", "--json", "--gateway", "http://127.0.0.1:9")
    found = {part: (standing, says) for part, standing, says, _ in json.loads(said)["findings"]}
    assert found["kafka"][0] == found["topics"][0] == found["clock"][0] == "ok"
    assert found["group"][1].startswith("Nobody ingests")


def test_operator_cannot_commit_in_the_applications_name(become: BecomeUser) -> None:
    become("fleet-operator")
    consumer = fleet.kafka.group_reader(settings().kafka)
    with pytest.raises(KafkaException) as refused:
        consumer.commit(offsets=[TopicPartition(settings().kafka.topics.telemetry, 0, 0)], asynchronous=False)
    consumer.close()
    assert refused.value.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def test_simulator_cannot_read_results(become: BecomeUser) -> None:
    become("fleet-simulator")
    scored = settings().kafka.topics.scored
    found = fleet.kafka.admin_client().list_topics(scored, timeout=10).topics[scored]
    assert found.error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


WRONG_LOGINS: dict[str, tuple[str, dict[str, str], str]] = {
    "a wrong password": ("login", {"KAFKA_SASL_PASSWORD": "guessed"}, "refuses the login: check KAFKA_SASL_USERNAME"),
    "a wrong password without TLS": ("plain_login", {"KAFKA_SASL_PASSWORD": "guessed"}, "refuses the login"),
    "a mechanism that is not there": ("login", {"KAFKA_SASL_MECHANISM": "PLAIN"}, "KAFKA_SASL_MECHANISM"),
    "a foreign authority": ("login", {"KAFKA_SSL_CA_LOCATION": "FOREIGN"}, "set KAFKA_SSL_CA_LOCATION"),
    "another host name": ("login", {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:SCRAM"}, "KAFKA_BOOTSTRAP_SERVERS"),
    "no certificate": ("certificate_login", {"KAFKA_SSL_CERTIFICATE_LOCATION": ""}, "KAFKA_SSL_CERTIFICATE_LOCATION"),
    "plain text to TLS": ("login", {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "another KAFKA_SECURITY_PROTOCOL"),
    "TLS to plain text": ("plain_login", {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "check KAFKA_SECURITY_PROTOCOL"),
}


@pytest.mark.parametrize("door", ["login", "plain_login", "certificate_login"])
def test_each_door_lets_a_user_in(guarded: GuardedKafka, become: BecomeUser, door: str) -> None:
    admin = fleet.kafka.admin_client(getattr(guarded, door)("fleet-operator"))
    assert fleet.kafka.missing_topics(settings().kafka, admin) == []


@pytest.mark.parametrize("wrong", WRONG_LOGINS)
def test_who_may_not_come_in_is_told_what_to_change(
    guarded: GuardedKafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    door, changed, said = WRONG_LOGINS[wrong]
    foreign = Authority(tmp_path, "a foreign authority").ca
    stands_for = {"FOREIGN": str(foreign), "127.0.0.1:SCRAM": f"127.0.0.1:{guarded.scram_port}"}
    for name, value in {**getattr(guarded, door)("fleet-operator"), **changed}.items():
        monkeypatch.setenv(name, stands_for.get(value, value))
    if wrong == "no certificate":
        monkeypatch.setenv("KAFKA_SSL_KEY_LOCATION", "")
        monkeypatch.setenv("KAFKA_SSL_KEY_PASSWORD", "")
    monkeypatch.setattr(fleet.kafka.topics, "REQUEST_TIMEOUT_S", 3.0)
    with pytest.raises(KafkaUnavailableError) as refused:
        fleet.kafka.missing_topics(settings().kafka, fleet.kafka.admin_client())
    assert said in str(refused.value)
