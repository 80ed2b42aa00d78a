"""k8s/: Kafka's topics, users and environment are what the application needs."""

import pytest

import fleet.kafka
from tests.k8s.manifests import Manifest, compose, every, one, pod_specs, settings


def test_topics_are_what_the_application_would_create() -> None:
    kafka = settings().kafka
    topics = {topic["metadata"]["name"]: topic["spec"] for topic in every("KafkaTopic")}
    wanted = fleet.kafka.wanted_topics(kafka)
    assert set(topics) == set(wanted)
    for name, new_topic in wanted.items():
        assert topics[name]["partitions"] == new_topic.num_partitions, name
        config = {key: str(value) for key, value in topics[name]["config"].items()}
        assert {key: config.get(key) for key in new_topic.config} == new_topic.config, name


def test_topics_have_as_many_copies_as_brokers() -> None:
    replicas = one("KafkaNodePool", "nodes")["spec"]["replicas"]
    config = one("Kafka", "fleet")["spec"]["kafka"]["config"]
    assert {topic["spec"]["replicas"] for topic in every("KafkaTopic")} == {replicas} == {3}
    assert config["default.replication.factor"] == config["transaction.state.log.replication.factor"] == replicas
    assert config["min.insync.replicas"] == config["transaction.state.log.min.isr"] == replicas - 1


def acls(user: str) -> list[Manifest]:
    return one("KafkaUser", user)["spec"]["authorization"]["acls"]


def test_application_may_use_its_topics_group_and_transactions() -> None:
    kafka = settings().kafka
    rights = {(a["resource"]["type"], a["resource"]["name"]): set(a["operations"]) for a in acls("fleet-application")}
    names = kafka.topics
    assert "Read" in rights["topic", names.telemetry]
    for written in (names.scored, names.episodes, names.dlq, names.state):
        assert rights["topic", written] >= {"Read", "Write", "Describe", "DescribeConfigs"}
    transactional_id = fleet.kafka.transactional_id(kafka, 0)
    for kind, used in (("group", kafka.group_id), ("transactionalId", transactional_id)):
        [prefix] = [a["resource"] for a in acls("fleet-application") if a["resource"]["type"] == kind]
        assert prefix["patternType"] == "prefix"
        assert used.startswith(prefix["name"])


def test_operators_may_look_at_everything_and_send_dead_letters_again() -> None:
    kafka = settings().kafka
    rights = {(a["resource"]["type"], a["resource"]["name"]): set(a["operations"]) for a in acls("fleet-operator")}
    for topic in kafka.topics.model_dump().values():
        assert rights["topic", topic] >= {"Read", "Describe", "DescribeConfigs"}
    assert {name for (kind, name), allowed in rights.items() if "Write" in allowed} == {kafka.topics.telemetry}
    groups = {name: allowed for (kind, name), allowed in rights.items() if kind == "group"}
    notices = f"{kafka.application_id}-notices"
    assert groups.pop(notices) == {"Read"}
    [(group, allowed)] = groups.items()
    assert kafka.group_id.startswith(group)
    assert allowed == {"Describe"}, "who may read a group may commit its offsets"
    assert kafka.group_id != notices


def test_brokers_are_of_a_version_that_is_sound_and_has_been_tested() -> None:
    version = one("Kafka", "fleet")["spec"]["kafka"]["version"]
    tested = compose()["services"]["kafka"]["image"].split(":")[1]
    assert version.split(".")[:2] == tested.split(".")[:2] == ["4", "2"]
    assert one("Kafka", "fleet")["spec"]["kafka"]["config"]["unclean.leader.election.enable"] is False


def test_only_the_topic_operator_creates_topics() -> None:
    granted = {
        operation
        for user in every("KafkaUser")
        for acl in acls(user["metadata"]["name"])
        for operation in acl["operations"]
    }
    assert granted.isdisjoint({"Create", "Alter", "Delete", "All"})


@pytest.mark.parametrize("role", ["head", "worker", "simulator", "toolbox"])
def test_pods_connect_as_a_kafka_user_that_exists(role: str) -> None:
    pod = pod_specs()[role]
    [container] = pod["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    user = variables["KAFKA_SASL_USERNAME"]["value"]
    assert one("KafkaUser", user)["spec"]["authentication"]["type"] == "scram-sha-512"
    # Strimzi's user operator names the Secret after the user.
    assert variables["KAFKA_SASL_PASSWORD"]["valueFrom"]["secretKeyRef"] == {"name": user, "key": "password"}
    [volume] = [v["secret"] for v in pod["spec"]["volumes"] if v["name"] == "kafka-ca"]
    assert volume["secretName"] == f"{one('Kafka', 'fleet')['metadata']['name']}-cluster-ca-cert"
    environment = one("ConfigMap", "fleet-environment")["data"]
    assert {"configMapRef": {"name": "fleet-environment"}} in container["envFrom"]
    [mount] = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "kafka-ca"]
    assert environment["KAFKA_SSL_CA_LOCATION"] == f"{mount}/{volume['items'][0]['path']}"


def test_environment_is_read_by_the_client() -> None:
    environment = {
        **one("ConfigMap", "fleet-environment")["data"],
        "KAFKA_SASL_USERNAME": "u",
        "KAFKA_SASL_PASSWORD": "p",
    }
    config = fleet.kafka.client_config(environment)
    assert len(config) == len(environment)
    [listener] = one("Kafka", "fleet")["spec"]["kafka"]["listeners"]
    assert config["bootstrap.servers"] == f"fleet-kafka-bootstrap:{listener['port']}"
    assert config["sasl.mechanism"].lower() == listener["authentication"]["type"]
    assert config["security.protocol"] == "SASL_SSL"
    assert listener["tls"] is True


@pytest.mark.parametrize("role", ["head", "worker", "simulator", "toolbox"])
def test_network_lets_kafka_clients_reach_kafka(role: str) -> None:
    labels = pod_specs()[role]["metadata"]["labels"].items()
    [listener] = one("Kafka", "fleet")["spec"]["kafka"]["listeners"]
    [peer] = listener["networkPolicyPeers"]
    egress = one("NetworkPolicy", "kafka-clients")["spec"]
    assert peer["podSelector"]["matchLabels"].items() <= labels
    assert egress["podSelector"]["matchLabels"].items() <= labels
    assert [port["port"] for port in egress["egress"][0]["ports"]] == [listener["port"]]
