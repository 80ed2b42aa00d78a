"""What every test may use: a real broker, and a small real model bundle."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from simulator.local_kafka import LocalKafka

settings.register_profile(
    "house", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the end-to-end tests last: their system would take its share of the machine from all tests after them."""
    items.sort(key=lambda item: "end_to_end" in item.path.parts)


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
def models_folder(tmp_path_factory: pytest.TempPathFactory, project_folder: Path) -> Path:
    """A folder with one small bundle, trained by the command that users have."""
    folder = tmp_path_factory.mktemp("models")
    size = ["--vehicles", "400", "--events", "200", "--epochs", "8", "--skip-evaluation"]
    command = [sys.executable, "-m", "commands", "train", "--models", str(folder), *size]
    subprocess.run(command, cwd=project_folder, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def project_folder() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]
