"""Bodies are read within bounds of size, time and memory, and a large one holds nobody's screen up."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import Request

from deployments.web.bodies.reading import LARGEST_BODIES_AT_ONCE, Bodies
from deployments.web.problems import ProblemError
from tests.deployments.gateway_harness import (
    ORIGIN_EVENT,
    POINT,
    RunningGateway,
    problem_of,
    running_gateway,
    wait_until,
)

MOST_BYTES = 16_777_216


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(
        tmp_path_factory.mktemp("gateway"), Path(), max_request_bytes=MOST_BYTES, max_request_events=10_000
    ) as gateway:
        yield gateway


def started(gateway: RunningGateway, declared: int, sent: bytes) -> socket.socket:
    """Begin a request whose body is not all there."""
    client = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    head = f"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: {declared}\r\n\r\n"
    client.sendall(head.encode() + sent)
    return client


HOSTILE = {
    "ones": b'{"events":[' + b"1," * 8_000_000 + b"1]}",
    "objects": b'{"events":[' + b"{}," * 5_000_000 + b"{}]}",
    "one long list": b'{"events":[[' + b"1," * 8_000_000 + b"1]]}",
    "not closed": b'{"events":[' + b"[]," * 5_000_000,
    "before the events": b'{"a":[' + b"1," * 8_000_000 + b'1],"events":[]}',
    "no JSON at the end": b'{"events":[{"a":"' + b"," * 16_000_000 + b'"}]}x',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_large_body_that_is_wrong_is_refused_with_a_sentence(gateway: RunningGateway, name: str) -> None:
    problem = problem_of(httpx.post(gateway.url + "/v1/score", content=HOSTILE[name], timeout=60), 422)
    assert "send" in problem["detail"]


def test_a_large_body_that_is_right_is_scored_in_order(gateway: RunningGateway) -> None:
    events = [{**ORIGIN_EVENT, "vehicleId": f"V{n}", "timestamp": 1764533865.0 + n} for n in range(5_000)]
    body = json.dumps({"events": events}).encode()
    assert body.count(b",") > 20_000
    verdicts = httpx.post(gateway.url + "/v1/score", content=body, timeout=60).json()["verdicts"]
    assert [verdict["vehicleId"] for verdict in verdicts] == [f"V{n}" for n in range(5_000)]
    events[4_321]["speed"] = float("nan")
    body = json.dumps({"events": events}).encode()
    problem = problem_of(httpx.post(gateway.url + "/v1/score", content=body, timeout=60), 422)
    assert problem["errors"][0] == {"index": 4_321, "reason": "not_finite", "detail": problem["errors"][0]["detail"]}
    problem = problem_of(httpx.post(gateway.url + "/v1/score", content=body + b"x" * MOST_BYTES, timeout=60), 413)
    body = json.dumps({"events": events * 3}).encode()
    problem = problem_of(httpx.post(gateway.url + "/v1/score", content=body, timeout=60), 422)
    assert "at most 10000" in problem["detail"]


def test_a_point_is_small(gateway: RunningGateway) -> None:
    body = json.dumps({**POINT, "speed": [1] * 500_000}).encode()
    problem_of(httpx.post(gateway.url + "/predict", content=body, timeout=20), 413)


def test_bodies_under_way_are_bounded_in_all(gateway: RunningGateway) -> None:
    body = json.dumps({"events": [ORIGIN_EVENT]}).encode()
    free = httpx.post(gateway.url + "/v1/score", content=body, timeout=20)
    assert free.status_code == 200
    with ExitStack() as clients:
        for _ in range(LARGEST_BODIES_AT_ONCE):
            client = started(gateway, MOST_BYTES, b"x" * (MOST_BYTES - 1))
            clients.callback(client.close)
        wait_until(lambda: httpx.post(gateway.url + "/v1/score", content=body).status_code == 503, "no more room", 9)
    wait_until(lambda: httpx.post(gateway.url + "/v1/score", content=body).status_code == 200, "room again", 20)


async def test_a_body_that_does_not_come_is_given_up() -> None:
    never = asyncio.Event()

    async def receive() -> dict[str, object]:
        await never.wait()
        raise AssertionError("nothing comes")

    bodies = Bodies(1_000, timeout_s=0.01)
    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(ProblemError, match="did not come") as refused:
        async with bodies.read(request, 1_000):
            raise AssertionError("there is no body")
    assert refused.value.status == 408
