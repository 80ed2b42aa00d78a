import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import NewTopic
from websockets.sync.server import ServerConnection, serve

from fleet.kafka import Consumer, Producer, TopicPartition, admin_client
from simulator.local_kafka import LocalKafka

PARTITIONS = 3
Tamper = Callable[[list[bytes]], list[bytes]]


class Relay:
    """Stands where the application would: copies telemetry to a scored topic, in transactions, and to a WebSocket.

    `tamper` may drop, repeat or swap records of a batch before they are published.
    """

    def __init__(self, kafka: LocalKafka, telemetry: str, scored: str) -> None:
        self.telemetry, self.scored = telemetry, scored
        self.tamper: Tamper = list
        self._servers = kafka.bootstrap_servers
        self._stop = threading.Event()
        self._sockets: list[ServerConnection] = []
        self._server = serve(self._serve_socket, "127.0.0.1", 0, compression=None)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}/ws/telemetry?batch=true"
        self._ready = threading.Event()
        self._threads = [threading.Thread(target=self._copy), threading.Thread(target=self._server.serve_forever)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        self._stop.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join(20)

    def _serve_socket(self, socket: ServerConnection) -> None:
        self._sockets.append(socket)
        self._stop.wait()

    def _copy(self) -> None:
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": self.scored, "enable.auto.commit": False})
        consumer.assign([TopicPartition(self.telemetry, partition, 0) for partition in range(PARTITIONS)])
        producer = Producer({"bootstrap.servers": self._servers, "transactional.id": self.scored, "linger.ms": 1})
        producer.init_transactions(20)
        self._ready.set()
        while not self._stop.is_set():
            if messages := consumer.consume(1_000, 0.05):
                self._publish(producer, messages)
        consumer.close()

    def _publish(self, producer: Any, messages: list[Any]) -> None:
        assert [message.error() for message in messages if message.error()] == []
        producer.begin_transaction()
        published: list[bytes] = []
        for partition in {message.partition() for message in messages}:
            values = self.tamper([message.value() for message in messages if message.partition() == partition])
            published += values
            for value in values:
                producer.produce(self.scored, value, partition=partition)
        producer.commit_transaction(20)
        frame = b"[" + b",".join(published) + b"]"
        for socket in self._sockets:
            socket.send(frame.decode())


@pytest.fixture
def relay(kafka: LocalKafka, request: pytest.FixtureRequest) -> Iterator[Relay]:
    name = request.node.name.replace("[", "-").replace("]", "")
    telemetry, scored = f"{name}-telemetry", f"{name}-scored"
    topics = [NewTopic(topic, PARTITIONS, 1) for topic in (telemetry, scored)]
    admin = admin_client()  # it must outlive its futures
    for future in admin.create_topics(topics).values():
        future.result(20)
    standing = Relay(kafka, telemetry, scored)
    standing.start()
    yield standing
    standing.stop()


def sequence(value: bytes) -> int:
    number: int = msgspec.json.decode(value)["loadtestSequence"]
    return number
