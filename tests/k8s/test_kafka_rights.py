"""The Kafka users of the manifests may do what they must, on a broker that keeps to their rights, and no more."""

import json
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

import fleet.kafka
from commands.main import commands
from fleet.kafka import KafkaError, KafkaException, TopicPartition
from tests.fleet.ingest.worker_harness import publish, running, telemetry, until
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
