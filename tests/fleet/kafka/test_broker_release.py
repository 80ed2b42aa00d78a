"""Brokers are asked for their release; those that can lose a transaction's end are refused at the start."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import kafka as fleet_kafka
from fleet.errors import UnsoundKafkaError
from fleet.kafka import Address, ensure_topics, metadata_level
from fleet.kafka.broker_release import supported_features
from fleet.settings import KafkaSettings
from simulator.local_kafka import HOST, LocalKafka

KAFKA_4_2, KAFKA_4_3, KAFKA_4_4, KAFKA_4_5 = 29, 30, 33, 34


def answer(level: int) -> bytes:
    """What a broker answers that supports `metadata.version` up to a level, and two requests."""
    name = b"metadata.version"
    requests = bytes([3]) + struct.pack(">hhhB", 0, 3, 13, 0) + struct.pack(">hhhB", 18, 0, 4, 0)
    features = bytes([2, len(name) + 1]) + name + struct.pack(">hhB", 7, level, 0)
    tags = bytes([1, 0, len(features)]) + features
    return struct.pack(">h", 0) + requests + struct.pack(">i", 0) + tags


@pytest.fixture
def broker_of() -> Iterator[Callable[[int], Address]]:
    """Brokers that answer one question about their release, and nothing else."""
    with socket.create_server((HOST, 0)) as server:

        def serve(level: int) -> Address:
            def once() -> None:
                connection, _ = server.accept()
                with closing(connection):
                    connection.recv(1024)
                    body = struct.pack(">i", 1) + answer(level)
                    connection.sendall(struct.pack(">i", len(body)) + body)

            threading.Thread(target=once, daemon=True).start()
            return Address(HOST, server.getsockname()[1])

        yield serve


def test_a_real_broker_says_its_release(kafka: LocalKafka) -> None:
    host, port = kafka.bootstrap_servers.split(":")
    assert metadata_level(Address(host, int(port)), {}) == KAFKA_4_2


@pytest.mark.parametrize(
    ("level", "is_unsound"),
    [(7, False), (KAFKA_4_2, False), (KAFKA_4_3, True), (KAFKA_4_3 + 1, True), (KAFKA_4_4, True), (KAFKA_4_5, False)],
)
def test_brokers_of_4_3_and_4_4_are_unsound(broker_of: Callable[[int], Address], level: int, is_unsound: bool) -> None:
    broker = broker_of(level)
    assert fleet_kafka.unsound_brokers([broker], {}) == ([broker] if is_unsound else [])


def test_start_refuses_unsound_brokers(
    kafka: LocalKafka, broker_of: Callable[[int], Address], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No unsound Kafka is at hand: the real one is asked for its topics, and a stand-in for its release."""
    unsound = broker_of(KAFKA_4_3)
    monkeypatch.setattr("fleet.kafka.topics.Address", lambda *_: unsound)
    with pytest.raises(UnsoundKafkaError, match=r"KAFKA-20734.*accept_any_release"):
        ensure_topics(KafkaSettings())


def test_brokers_that_do_not_say_are_accepted() -> None:
    with socket.create_server((HOST, 0)) as server:
        address = Address(*server.getsockname())
    assert metadata_level(address, {}) is None


@given(st.binary())
def test_any_answer_is_read_or_refused(body: bytes) -> None:
    try:
        features = supported_features(body)
    except (ValueError, struct.error):
        return
    assert all(isinstance(level, int) for level in features.values())


@given(st.integers(0, 32_767))
def test_level_is_read_from_an_answer(level: int) -> None:
    assert supported_features(answer(level)) == {"metadata.version": level}
