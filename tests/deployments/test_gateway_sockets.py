"""The gateway's live feed on real sockets. Kafka is away here; see gateway_harness."""

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.deployments.gateway_harness import BACKLOG_EVENTS, BATCH_INTERVAL_MS, MAX_CLIENTS, running_gateway


def numbers_of(connection: ClientConnection, count: int) -> list[int]:
    """Read frames of single events or arrays until `count` events came."""
    numbers: list[int] = []
    while len(numbers) < count:
        message = json.loads(connection.recv(timeout=10))
        numbers += [event["n"] for event in (message if isinstance(message, list) else [message])]
    return numbers


def numbers_in(values: list[bytes]) -> list[int]:
    return [json.loads(value)["n"] for value in values]


def close_of(connection: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=10)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_socket_sends_one_event_per_text_frame_as_it_came(gateway):
    with gateway.connect() as client:
        gateway.wait_for_clients(1)
        values = gateway.events(30)
        gateway.inject(values)
        assert [client.recv(timeout=5) for _ in values] == [value.decode() for value in values]
    gateway.wait_for_clients(0)


def test_socket_filters_by_vehicle_and_by_anomaly(gateway):
    with (
        gateway.connect("?vehicleId=V3") as one_vehicle,
        gateway.connect("?anomalies=true") as anomalies,
        gateway.connect("?vehicleId=V5&anomalies=true&batch=true") as both,
    ):
        gateway.wait_for_clients(3)
        values = gateway.events(40)
        gateway.inject(values)
        events = [json.loads(value) for value in values]
        assert numbers_of(one_vehicle, 4) == [e["n"] for e in events if e["vehicleId"] == "V3"]
        assert numbers_of(anomalies, 8) == [e["n"] for e in events if e["is_anomaly"]]
        assert numbers_of(both, 4) == [e["n"] for e in events if e["is_anomaly"] and e["vehicleId"] == "V5"]


def test_batch_socket_sends_arrays_no_faster_than_its_interval(gateway):
    with gateway.connect("?batch=true") as client:
        gateway.wait_for_clients(1)
        sent, arrivals, received = [], [], []

        def read_until_the_last() -> None:
            while not received or received[-1] != 10**9:
                received.extend(event["n"] for event in json.loads(client.recv(timeout=10)))
                arrivals.append(time.monotonic())

        reader = threading.Thread(target=read_until_the_last, daemon=True)
        reader.start()
        started_s = time.monotonic()
        while time.monotonic() - started_s < 8 * BATCH_INTERVAL_MS / 1000:
            if len(sent) - len(received) < BACKLOG_EVENTS // 2:  # nothing shall be dropped
                values = gateway.events(3)
                gateway.inject(values)
                sent += numbers_in(values)
        gateway.inject(gateway.events(1, n=10**9))
        reader.join(10)
        assert received == [*sent, 10**9]
        # The gateway keeps the interval exactly; two arrivals may come closer when the reader was late for the first.
        gaps_s = [later - earlier for earlier, later in pairwise(arrivals)]
        assert np.mean(gaps_s) > 0.8 * BATCH_INTERVAL_MS / 1000
        assert 5 <= len(arrivals) <= 12


def test_socket_drops_and_counts_duplicates(gateway):
    with gateway.connect() as client:
        gateway.wait_for_clients(1)
        before, values = gateway.core.view.duplicates, gateway.events(20)
        gateway.inject(values)
        gateway.inject(values[10:])
        last = gateway.events(1)
        gateway.inject(values[:5] + last)
        assert numbers_of(client, 21) == numbers_in(values + last)
        assert gateway.core.view.duplicates == before + 15


def test_slow_client_loses_its_oldest_events_and_disturbs_nobody(gateway, http):
    before = gateway.core.sockets.dropped
    with socket.socket() as deaf, gateway.connect("?batch=true") as batched, gateway.connect() as single:
        handshake_and_never_read(deaf, gateway.port)
        gateway.wait_for_clients(3)
        seen_batched, seen_single, sent = [], [], []
        slowest_s = 0.0
        while gateway.core.sockets.dropped < before + 2_000:
            values = gateway.events(200, padding="x" * 2_000)
            started_s = time.monotonic()
            gateway.inject(values)
            sent += numbers_in(values)
            seen_single += numbers_of(single, 200)
            seen_batched += numbers_of(batched, 200)
            slowest_s = max(slowest_s, time.monotonic() - started_s)
            assert len(sent) < 200_000, "the client that does not read must lose events some time"
        assert seen_single == sent
        assert seen_batched == sent
        assert slowest_s < 5
        assert http.get("/v1/pipeline").json()["dropped"] == gateway.core.sockets.dropped
    gateway.wait_for_clients(0)
    assert gateway.core.sockets.dropped >= before + 2_000, "what a client lost still counts when it is gone"


def handshake_and_never_read(deaf: socket.socket, port: int) -> None:
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    deaf.connect(("127.0.0.1", port))
    deaf.sendall(
        b"GET /ws/telemetry HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += deaf.recv(1)
    assert answer.startswith(b"HTTP/1.1 101")


def test_client_that_catches_up_is_given_the_newest_events(gateway):
    with gateway.connect("?batch=true") as client:
        gateway.wait_for_clients(1)
        before = gateway.core.sockets.dropped
        values = gateway.events(BACKLOG_EVENTS + 250)
        gateway.inject(values)
        assert numbers_of(client, BACKLOG_EVENTS) == numbers_in(values)[250:]
        assert gateway.core.sockets.dropped == before + 250


def test_large_bursts_are_cut_into_frames_that_common_clients_accept(gateway):
    with gateway.connect("?batch=true", max_size=2**20) as client:
        gateway.wait_for_clients(1)
        values = gateway.events(400, padding="x" * 5_000)
        gateway.inject(values)
        assert numbers_of(client, 400) == numbers_in(values)


@pytest.mark.parametrize(
    "query",
    [
        "?anomalies=perhaps",
        "?batch=2",
        "?vehicleId=",
        "?vehicleId=" + "x" * 300,
        "?vehicle=V1",
        "?tenantId=t&batch=true",
        "?vehicleId=V1&vehicleId=V2",
    ],
)
def test_socket_refuses_a_query_that_means_nothing(gateway, query):
    with gateway.connect(query) as client:
        code, reason = close_of(client)
    assert code == 1008
    assert reason.startswith(query[1:].split("=")[0])


def test_socket_names_the_parameters_that_there_are(gateway):
    with gateway.connect("?vehicle=V1&batch=true") as client:
        assert close_of(client) == (1008, "vehicle: no such parameter; there are vehicleId, anomalies, batch")
    with gateway.connect("?" + "&".join(f"{name * 90}=1" for name in "abcdef")) as client:
        assert close_of(client)[1].endswith("; there are vehicleId, anomalies, batch")


def test_socket_compares_an_id_whole(gateway):
    with gateway.connect("?vehicleId=V3%0A") as broken, gateway.connect("?vehicleId=V3") as plain:
        gateway.wait_for_clients(2)
        gateway.inject([*gateway.events(10), *gateway.events(1, vehicleId="V3\n", n=-1)])
        assert numbers_of(broken, 1) == [-1]
        assert numbers_of(plain, 1) != [-1]


def test_socket_refuses_clients_beyond_the_limit(gateway):
    with ExitStack() as others:
        for _ in range(MAX_CLIENTS - 1):
            others.enter_context(gateway.connect())
        with gateway.connect():
            gateway.wait_for_clients(MAX_CLIENTS)
            with gateway.connect() as extra:
                assert close_of(extra) == (1013, f"all {MAX_CLIENTS} places are taken: try again later")
        gateway.wait_for_clients(MAX_CLIENTS - 1)
        with gateway.connect() as late:
            gateway.wait_for_clients(MAX_CLIENTS)
            values = gateway.events(1)
            gateway.inject(values)
            assert numbers_of(late, 1) == numbers_in(values)
    gateway.wait_for_clients(0)


def test_socket_serves_own_pages_and_programs_and_refuses_other_sites(gateway):
    for origin in (None, f"http://127.0.0.1:{gateway.port}", "http://127.0.0.1:5173"):
        with gateway.connect(origin=origin):
            gateway.wait_for_clients(1)
        gateway.wait_for_clients(0)
    for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", "http://[broken"):
        with pytest.raises(InvalidStatus) as refused, gateway.connect(origin=origin):
            pass
        assert refused.value.response.status_code == 403


def test_socket_ignores_what_a_client_says_within_bounds(gateway):
    with gateway.connect() as client:
        gateway.wait_for_clients(1)
        client.send("hello")
        client.send(b"hello")
        values = gateway.events(1)
        gateway.inject(values)
        assert numbers_of(client, 1) == numbers_in(values)
        client.send("x" * 5_000)
        assert close_of(client)[0] == 1009
    with gateway.connect() as client:
        gateway.wait_for_clients(1)
        for _ in range(200):
            try:
                client.send("x")
            except ConnectionClosed:
                break
        assert close_of(client)[0] == 1008
    gateway.wait_for_clients(0)


def test_client_that_vanishes_is_forgotten(gateway):
    with gateway.connect() as client:
        gateway.wait_for_clients(1)
        client.socket.shutdown(socket.SHUT_RDWR)
        gateway.wait_for_clients(0)


def test_shutdown_closes_sockets_as_going_away(tmp_path):
    with running_gateway(tmp_path, tmp_path) as own:
        with own.connect() as client, own.connect("?batch=true") as other:
            own.wait_for_clients(2)
            own.core.watch.stop(0)
            closing = asyncio.run_coroutine_threadsafe(own.core.sockets.close(5), own.core._loop)
            assert close_of(client)[0] == 1001
            assert close_of(other)[0] == 1001
            closing.result(10)
        with own.connect() as late:
            assert close_of(late)[0] == 1001
