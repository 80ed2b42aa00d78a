"""A real broker that asks for a login and keeps to the rights in k8s/base/kafka/users.yaml.

The logins travel as plain text, where Strimzi's listener has SCRAM over TLS: what each user may do is the same.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

from fleet.kafka import admin_client
from simulator.local_kafka import HOST, LocalKafka, free_port

PASSWORD = "made-up"
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
# A later line of a property takes the place of an earlier one. Who comes without a login is the broker, and the tests'
# administrator.
SETTINGS = """
listeners={listeners},GUARDED://{host}:{port}
advertised.listeners={advertised},GUARDED://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT
listener.name.guarded.sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config={login} {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


class GuardedKafka(LocalKafka):
    """A local Kafka with a second door, for the users of some KafkaUser resources."""

    def __init__(self, folder: Path, users: Iterable[dict[str, Any]]) -> None:
        super().__init__(folder)
        self._users = list(users)
        self._guarded_port = free_port()

    def start(self) -> None:
        """Start the broker, and give each user its rights."""
        super().start()
        admin = admin_client({"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers})
        bindings = [binding for user in self._users for binding in _bindings(user)]
        for created in admin.create_acls(bindings).values():
            created.result(20)

    def login(self, user: str) -> dict[str, str]:
        """The environment by which a process comes in as this user."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self._guarded_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    def _write_settings(self) -> None:
        super()._write_settings()
        file = self.folder / "server.properties"
        before = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        users = " ".join(f'user_{user["metadata"]["name"]}="{PASSWORD}"' for user in self._users)
        guarded = SETTINGS.format(
            listeners=before["listeners"],
            advertised=before["advertised.listeners"],
            host=HOST,
            port=self._guarded_port,
            login=LOGIN,
            users=users,
        )
        file.write_text(file.read_text() + guarded)


def _bindings(user: dict[str, Any]) -> list[AclBinding]:
    kinds = {
        "topic": ResourceType.TOPIC,
        "group": ResourceType.GROUP,
        "transactionalId": ResourceType.TRANSACTIONAL_ID,
    }
    patterns = {"literal": ResourcePatternType.LITERAL, "prefix": ResourcePatternType.PREFIXED}
    operations = {
        "Read": AclOperation.READ,
        "Write": AclOperation.WRITE,
        "Describe": AclOperation.DESCRIBE,
        "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    }
    principal = f"User:{user['metadata']['name']}"
    return [
        AclBinding(
            kinds[acl["resource"]["type"]],
            acl["resource"]["name"],
            patterns[acl["resource"]["patternType"]],
            principal,
            "*",
            operations[operation],
            AclPermissionType.ALLOW,
        )
        for acl in user["spec"]["authorization"]["acls"]
        for operation in acl["operations"]
    ]
