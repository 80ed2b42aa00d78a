"""What every test may use: a real broker, and a small real model bundle."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from simulator.local_kafka import LocalKafka

settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("house")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """One real Apache Kafka for the session; KAFKA_BOOTSTRAP_SERVERS names it."""
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as broker:
        before = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
        yield broker
        if before is None:
            del os.environ["KAFKA_BOOTSTRAP_SERVERS"]
        else:
            os.environ["KAFKA_BOOTSTRAP_SERVERS"] = before


@pytest.fixture(scope="session")
def project_folder() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]
