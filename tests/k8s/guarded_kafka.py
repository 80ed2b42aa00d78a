"""A real broker that asks for a login and keeps to the rights in k8s/base/kafka/users.yaml.

It has three doors beside the one of the tests' administrator, who comes without a login: SCRAM over TLS, as Strimzi's
listener has it; PLAIN without TLS; and TLS that asks for a client's certificate.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from fleet.kafka import admin_client
from simulator.local_kafka import HOST, LocalKafka, free_port
from tests.k8s.certificates import KEY_PASSWORD, Authority

PASSWORD = "made-up"
SECURE_HOST = "localhost"  # the only name in the broker's certificate
PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required"
# A later line of a property takes the place of an earlier one. Who comes without a login is the broker, and the tests'
# administrator.
SETTINGS = """
listeners={listeners},PLAIN://{host}:{plain},SCRAM://{host}:{scram},MUTUAL://{host}:{mutual}
advertised.listeners={advertised},PLAIN://{host}:{plain},SCRAM://{secure}:{scram},MUTUAL://{secure}:{mutual}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAIN:SASL_PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL
listener.name.plain.sasl.enabled.mechanisms=PLAIN
listener.name.plain.plain.sasl.jaas.config={plain_login} {users};
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config={scram_login};
listener.name.mutual.ssl.client.auth=required
listener.name.mutual.ssl.principal.mapping.rules=RULE:^CN=(.*)$/$1/,DEFAULT
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""


class GuardedKafka(LocalKafka):
    """A local Kafka with guarded doors, for the users of some KafkaUser resources."""

    def __init__(self, folder: Path, users: Iterable[dict[str, Any]]) -> None:
        super().__init__(folder)
        self._users = list(users)
        self.plain_port, self.scram_port, self.mutual_port = (free_port() for _ in range(3))
        certificates = folder / "certificates"
        certificates.mkdir(parents=True)
        self.authority = Authority(certificates, "the tests' authority")
        chain, key = self.authority.issue(SECURE_HOST)
        self._keystore = certificates / "broker.pem"
        self._keystore.write_bytes(key.read_bytes() + chain.read_bytes())

    def start(self) -> None:
        """Start the broker, and give each user its password and its rights."""
        super().start()
        admin = admin_client({"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        names = [user["metadata"]["name"] for user in self._users]
        passwords = [UserScramCredentialUpsertion(name, scram, PASSWORD.encode()) for name in names]
        bindings = [binding for user in self._users for binding in _bindings(user)]
        changed = [*admin.alter_user_scram_credentials(passwords).values(), *admin.create_acls(bindings).values()]
        for change in changed:
            change.result(20)

    def login(self, user: str) -> dict[str, str]:
        """The environment by which a process comes in as this user: SCRAM over TLS."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{SECURE_HOST}:{self.scram_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CA_LOCATION": str(self.authority.ca),
        }

    def plain_login(self, user: str) -> dict[str, str]:
        """The same without TLS, by a password that travels as it is."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.plain_port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": user,
            "KAFKA_SASL_PASSWORD": PASSWORD,
        }

    def certificate_login(self, user: str) -> dict[str, str]:
        """The same by a certificate whose key is encrypted."""
        chain, key = self.authority.issue(user, password=KEY_PASSWORD)
        return {
            "KAFKA_BOOTSTRAP_SERVERS": f"{SECURE_HOST}:{self.mutual_port}",
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            "KAFKA_SSL_CA_LOCATION": str(self.authority.ca),
            "KAFKA_SSL_CERTIFICATE_LOCATION": str(chain),
            "KAFKA_SSL_KEY_LOCATION": str(key),
            "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD,
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
            secure=SECURE_HOST,
            plain=self.plain_port,
            scram=self.scram_port,
            mutual=self.mutual_port,
            plain_login=PLAIN_LOGIN,
            scram_login=SCRAM_LOGIN,
            users=users,
            keystore=self._keystore,
            truststore=self.authority.ca,
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
