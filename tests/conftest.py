"""What every test may use: a real broker, and a small real model bundle."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from fleet.detection.model.bundle import read_bundle
from fleet.detection.model.network import Network
from simulator.local_kafka import LocalKafka
from tests.small_detector import LoadedDetector, train_small

ANY_MACHINE = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.register_profile("explore", ANY_MACHINE)
# A change is judged by the same examples twice, or its judgement is a throw of dice.
settings.register_profile("house", ANY_MACHINE, derandomize=True)
settings.load_profile("house")


# Who asks for one of these starts a broker, trains a network or opens a browser.
SLOW_FIXTURES = {"kafka", "models_folder", "browser", "evaluate"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the end-to-end tests last: their system would take its share of the machine from all tests after them."""
    items.sort(key=lambda item: "end_to_end" in item.path.parts)
    for item in items:
        if isinstance(item, pytest.Function) and SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker("slow")


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
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small trained bundle."""
    folder = tmp_path_factory.mktemp("models")
    train_small(folder)
    return folder


@pytest.fixture(scope="session")
def detector(models_folder: Path) -> LoadedDetector:
    """The small bundle with its network."""
    bundle = read_bundle(models_folder)
    return LoadedDetector(Network.load(bundle), bundle)


@pytest.fixture(scope="session")
def project_folder() -> Path:
    """The repository."""
    return Path(__file__).resolve().parents[1]
