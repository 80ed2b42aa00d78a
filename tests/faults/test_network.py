"""The link to Kafka: what passes, what is held, and what a cut does to connections."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from faults.network import Api, Catch, Condition, KafkaLink, Moment, State
from simulator.local_kafka import HOST

PATIENCE_S = 20.0


class Echo:
    """A broker that answers every request with its correlation id and counts what it has seen."""

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.seen: list[int] = []
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            while frame := read_frame(client):
                api, _, correlation_id, _ = struct.unpack_from(">hhih", frame)
                self.seen.append(api)
                client.sendall(struct.pack(">ii", 4, correlation_id))


def read_frame(client: socket.socket) -> bytes:
    """One frame without its size; empty when the connection is over."""
    try:
        prefix = client.recv(4, socket.MSG_WAITALL)
        return client.recv(*struct.unpack(">i", prefix), socket.MSG_WAITALL) if len(prefix) == 4 else b""
    except ConnectionError:
        return b""


class Client:
    """A connection to the link that sends requests of any kind."""

    def __init__(self, link: KafkaLink, name: str = "fleet-0") -> None:
        self._socket = socket.create_connection((HOST, link.port), timeout=PATIENCE_S)
        self.port: int = self._socket.getsockname()[1]
        self._name = name.encode()

    def send(self, api: Api, correlation_id: int) -> None:
        body = struct.pack(">hhih", api, 1, correlation_id, len(self._name)) + self._name + b"content"
        self._socket.sendall(struct.pack(">i", len(body)) + body)

    def answer(self, timeout_s: float = PATIENCE_S) -> int | None:
        """The correlation id of the next answer, None when the connection is over."""
        self._socket.settimeout(timeout_s)
        frame = read_frame(self._socket)
        return int(struct.unpack(">i", frame)[0]) if frame else None


@pytest.fixture
def broker() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def link(broker: Echo) -> Iterator[KafkaLink]:
    with KafkaLink(broker.port) as link:
        yield link


def test_requests_and_answers_pass(link: KafkaLink) -> None:
    client = Client(link)
    for number in range(3):
        client.send(Api.PRODUCE, number)
        assert client.answer() == number


def test_a_caught_request_is_held_before_the_broker_sees_it(link: KafkaLink, broker: Echo) -> None:
    client, other = Client(link), Client(link, "somebody-else")
    link.arm(Catch(Api.END_TRANSACTION, Moment.BEFORE, "fleet-"))
    other.send(Api.END_TRANSACTION, 1)
    assert other.answer() == 1
    client.send(Api.END_TRANSACTION, 2)
    assert link.caught(PATIENCE_S).port == client.port
    assert broker.seen == [Api.END_TRANSACTION]
    link.release()
    assert client.answer() == 2


def test_a_caught_answer_is_held_after_the_broker_gave_it(link: KafkaLink, broker: Echo) -> None:
    client = Client(link)
    link.arm(Catch(Api.END_TRANSACTION, Moment.AFTER, "fleet-"))
    client.send(Api.ADD_OFFSETS, 1)
    client.send(Api.END_TRANSACTION, 2)
    assert client.answer() == 1
    assert link.caught(PATIENCE_S).client_id == "fleet-0"
    assert broker.seen == [Api.ADD_OFFSETS, Api.END_TRANSACTION]
    with pytest.raises(TimeoutError):
        client.answer(timeout_s=0.2)
    link.release()
    assert client.answer() == 2


def test_a_refused_link_resets_and_refuses_until_it_is_open_again(link: KafkaLink) -> None:
    client = Client(link)
    with link.being(Condition(State.REFUSED)):
        assert client.answer() is None
        with pytest.raises(ConnectionRefusedError):
            Client(link)
    again = Client(link)
    again.send(Api.PRODUCE, 7)
    assert again.answer() == 7


def test_a_silent_link_keeps_connections_and_passes_nothing_until_it_is_open_again(
    link: KafkaLink, broker: Echo
) -> None:
    client = Client(link)
    with link.being(Condition(State.SILENT)):
        late = Client(link)
        for number, one in enumerate((client, late)):
            one.send(Api.PRODUCE, number)
        with pytest.raises(TimeoutError):
            client.answer(timeout_s=0.2)
        assert broker.seen == []
    assert client.answer() == 0
    assert late.answer() == 1


def test_a_slow_link_delays_both_ways(link: KafkaLink) -> None:
    client = Client(link)
    with link.being(Condition(delay_s=0.2)):
        began_s = time.monotonic()
        client.send(Api.PRODUCE, 1)
        assert client.answer() == 1
        assert time.monotonic() - began_s >= 0.4
