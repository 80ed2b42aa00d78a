"""The gateway on real sockets. Kafka is away here; see gateway_harness."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from itertools import pairwise

import httpx
import jsonschema
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from deployments.web.problems import ProblemError
from deployments.web.scoring import POINT_CALLS_AT_ONCE, OnDemandScoring, ScoringLimits
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Scores
from fleet.errors import ScorerUnavailableError, ScoringFailedError
from tests.deployments.gateway_harness import (
    BACKLOG_EVENTS,
    BATCH_INTERVAL_MS,
    MAX_CLIENTS,
    FunctionScorer,
    episode,
    running_gateway,
    small_bundle,
    wait_until,
)

POINT = {
    "latitude": -31.41,
    "longitude": -64.18,
    "speed": 30.8,
    "previousSpeed": 31.8,
    "acceleration": -1.0,
    "temperature": 77.6,
    "battery": 79.8,
    "fuelLevel": 99.5,
    "speedLimit": 60.0,
    "trafficLevel": 3,
}
ORIGIN_EVENT = {
    "vehicleId": "8K0TIH",
    "timestamp": 1764533865.5503478,
    **POINT,
    "weather": "rain",
    "roadType": "urban",
    "night": True,
    "anomaly": False,
    "anomalyType": None,
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    ui = tmp_path_factory.mktemp("ui")
    (ui / "index.html").write_text("<!doctype html><title>Fleet</title>")
    (ui / "app.js").write_text("export const answer = 42;")
    with running_gateway(tmp_path_factory.mktemp("gateway"), ui) as running:
        yield running


@pytest.fixture
def http(gateway):
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        yield client


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


def problem_of(answer: httpx.Response, status: int) -> dict:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    return problem


# WebSocket ---------------------------------------------------------------------------------------------------------


def test_socket_sends_one_event_per_text_frame_as_it_came(gateway):
    with gateway.connect() as client:
        gateway.wait_for_clients(1)
        values = gateway.events(30)
        gateway.inject(values)
        assert [client.recv(timeout=5) for _ in values] == [value.decode() for value in values]
    gateway.wait_for_clients(0)


def test_socket_filters_by_vehicle_and_by_anomaly(gateway):
    with (
        gateway.connect("?vehicle=V3") as one_vehicle,
        gateway.connect("?anomalies=true") as anomalies,
        gateway.connect("?vehicle=V5&anomalies=true&batch=true") as both,
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


@pytest.mark.parametrize("query", ["?anomalies=perhaps", "?batch=2", "?vehicle=", "?vehicle=" + "x" * 300])
def test_socket_refuses_a_query_that_means_nothing(gateway, query):
    with gateway.connect(query) as client:
        code, reason = close_of(client)
    assert code == 1008
    assert reason.startswith(query[1:].split("=")[0])


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


# Scoring on demand ---------------------------------------------------------------------------------------------------


def test_predict_answers_as_the_origin_system_does(http):
    answer = http.post("/predict", json=POINT)
    assert answer.status_code == 200
    body = answer.json()
    assert body["input"] == POINT
    assert body["is_anomaly"] is False
    assert body["anomaly_threshold"] == 1.0
    assert 0 < body["reconstruction_error"] < 1
    assert answer.headers["content-type"] == "application/json"


def test_predict_takes_previous_speed_as_an_event_a_second_earlier(http):
    steady = http.post("/predict", json={**POINT, "previousSpeed": POINT["speed"]}).json()
    braking = http.post("/predict", json={**POINT, "previousSpeed": POINT["speed"] + 600}).json()
    claimed = http.post("/predict", json={**POINT, "previousSpeed": POINT["speed"], "acceleration": 600}).json()
    assert braking["is_anomaly"]
    assert not steady["is_anomaly"]
    assert claimed["reconstruction_error"] == steady["reconstruction_error"], "the claim is not used"


def test_predict_does_not_hold_a_moving_vehicles_missing_position_against_it(http):
    fast = {**POINT, "speed": 90.0, "previousSpeed": 90.0, "speedLimit": 90.0}
    here = http.post("/predict", json=fast).json()["reconstruction_error"]
    assert http.post("/predict", json={**fast, "latitude": 48.0}).json()["reconstruction_error"] == here


def scoring_with(bundle: ModelBundle, score: Callable[[str, np.ndarray], Awaitable[Scores]]) -> OnDemandScoring:
    limits = ScoringLimits(events=1_000, event_bytes=262_144, block_rows=4_096, timeout_s=10.0)
    return OnDemandScoring(score, bundle, limits)


def points(speeds: Iterable[float]) -> list[bytes]:
    return [json.dumps({**POINT, "speed": speed}).encode() for speed in speeds]


def test_predict_judges_points_of_concurrent_requests_together_as_it_judges_them_alone(tmp_path):
    scorer = FunctionScorer(small_bundle(tmp_path))
    scoring = scoring_with(scorer.bundle, scorer)
    bodies = points(np.linspace(0.0, 300.0, 40))

    async def scenario() -> None:
        alone = [await scoring.predict(body) for body in bodies]
        scorer.calls.clear()
        assert await asyncio.gather(*map(scoring.predict, bodies)) == alone
        assert sum(scorer.calls) == len(bodies)
        assert len(scorer.calls) <= POINT_CALLS_AT_ONCE + 1

    asyncio.run(scenario())


def test_predict_fails_no_point_for_another_one(tmp_path):
    scorer = FunctionScorer(small_bundle(tmp_path))

    async def score(version: str, features: np.ndarray) -> Scores:
        if np.nanmax(features) > 10_000:
            raise ScoringFailedError("beyond me")
        return await scorer(version, features)

    scoring = scoring_with(scorer.bundle, score)

    async def scenario() -> None:
        answers = await asyncio.gather(
            *map(scoring.predict, points([*range(20), 100_000, *range(20)])), return_exceptions=True
        )
        [failed] = [answer for answer in answers if isinstance(answer, Exception)]
        assert isinstance(failed, ProblemError)
        assert failed is answers[20]
        assert "beyond me" in str(failed)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"speed": None}, "speed"),
        ({"battery": "full"}, "battery"),
        ({"temperature": True}, "temperature"),
        ({"latitude": 91}, "latitude"),
        ({"longitude": -181}, "longitude"),
        ({"spede": 1}, "spede"),
        ({"trafficLevel": [3]}, "trafficLevel"),
        ({"fuelLevel": 10**400}, "fuelLevel"),
    ],
)
def test_predict_names_the_field_that_is_wrong(http, change, named):
    problem = problem_of(http.post("/predict", json={**POINT, **change}), 422)
    assert problem["detail"].startswith(named)
    assert "send" in problem["detail"]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_predict_refuses_numbers_that_are_not_finite(http, number):
    body = json.dumps({**POINT, "speed": 12345}).replace("12345", number)
    problem = problem_of(http.post("/predict", content=body), 422)
    assert problem["detail"].startswith("speed is not finite")


@pytest.mark.parametrize("missing", POINT)
def test_predict_wants_all_ten_numbers(http, missing):
    point = {name: value for name, value in POINT.items() if name != missing}
    problem = problem_of(http.post("/predict", json=point), 422)
    assert problem["detail"].startswith(f"{missing} is missing")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"1", b"\xff", b"null", b'{"a":' * 100_000, b'{"speed":' + b"1" * 5_000 + b"}"]
)
def test_bodies_that_are_no_object_are_refused(http, body):
    for path in ("/predict", "/v1/score"):
        assert "send" in problem_of(http.post(path, content=body), 422)["detail"]


def test_score_judges_events_in_order_with_their_history(http):
    start_s = 1764533865.0
    events = [
        {**ORIGIN_EVENT, "timestamp": start_s, "speed": 50.0},
        {**ORIGIN_EVENT, "vehicleId": "other", "timestamp": "2025-11-30T20:17:45Z"},
        {**ORIGIN_EVENT, "timestamp": start_s + 1, "speed": 50.0},
        {**ORIGIN_EVENT, "timestamp": start_s + 1, "speed": 50.0},
        {**ORIGIN_EVENT, "timestamp": start_s + 2, "speed": 900.0, "unknownField": {"carried": "on"}},
    ]
    answer = http.post("/v1/score", json={"events": events})
    assert answer.status_code == 200
    verdicts = answer.json()["verdicts"]
    assert [v["vehicleId"] for v in verdicts] == [e["vehicleId"] for e in events]
    assert [v["timestamp"] for v in verdicts] == [e["timestamp"] for e in events]
    assert [v["warmingUp"] for v in verdicts] == [True, True, False, True, False], "a repeat enters no history"
    assert [v["repeat"] for v in verdicts] == [False, False, False, True, False]
    assert [v["is_anomaly"] for v in verdicts] == [False, False, False, False, True]
    worst = verdicts[-1]
    assert worst["anomaly"] is True
    assert isinstance(worst["anomalyType"], str)
    assert 0.5 < worst["severity"] <= 1
    assert len(worst["contributions"]) == 3
    assert worst["modelVersion"]


def test_score_takes_many_events_in_blocks_that_fit_a_batch(tmp_path):
    with running_gateway(tmp_path, tmp_path, max_request_events=10_000, max_request_bytes=16_777_216) as own:
        events = [{"vehicleId": f"v{i % 100}", "timestamp": 1.7e9 + i, "speed": 50} for i in range(10_000)]
        answer = httpx.post(f"{own.url}/v1/score", json={"events": events}, timeout=60)
        verdicts = answer.json()["verdicts"]
        assert [v["vehicleId"] for v in verdicts] == [e["vehicleId"] for e in events]
        assert sorted(own.scorer.calls) == [10_000 - 2 * 4_096, 4_096, 4_096]


def test_score_answers_nothing_with_nothing(http):
    assert http.post("/v1/score", json={"events": []}).json() == {"verdicts": []}


def test_score_names_the_event_that_is_wrong_and_why(http):
    events = [ORIGIN_EVENT, {"vehicleId": "A", "timestamp": 1.7e9}, ORIGIN_EVENT, {"timestamp": 1.7e9, "speed": 1}]
    problem = problem_of(http.post("/v1/score", json={"events": events}), 422)
    assert problem["detail"].startswith("events[1] is refused as missing_field")
    assert [(e["index"], e["reason"]) for e in problem["errors"]] == [(1, "missing_field"), (3, "missing_field")]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ('{"vehicleId":"A","timestamp":1.7e9,"speed":NaN}', "not_finite"),
        ('{"vehicleId":"A","timestamp":1.7e9,"speed":1e999}', "not_finite"),
        ('{"vehicleId":"A","timestamp":1.7e9,"speed":"fast"}', "wrong_type"),
        ('{"vehicleId":"A","timestamp":"noon","speed":1}', "bad_timestamp"),
        ('{"vehicleId":"A","timestamp":1.7e9,"speed":1,"latitude":99}', "impossible_position"),
        ("7", "not_an_object"),
        ("null", "not_an_object"),
    ],
)
def test_score_refuses_what_would_be_dead_lettered(http, event, reason):
    body = f'{{"events":[{json.dumps(ORIGIN_EVENT)},{event}]}}'
    problem = problem_of(http.post("/v1/score", content=body), 422)
    assert problem["errors"][0]["index"] == 1
    assert problem["errors"][0]["reason"] == reason


def test_score_bounds_events_and_bytes(http):
    event = {"vehicleId": "A", "timestamp": 1.7e9, "speed": 1}
    problem = problem_of(http.post("/v1/score", json={"events": [event] * 1_001}), 422)
    assert "at most 1000" in problem["detail"]
    for body in (b"x" * 2_000_000, iter([b"x" * 500_000] * 4)):  # with a length, and in chunks
        assert "larger than 1048576 bytes" in problem_of(http.post("/v1/score", content=body), 413)["detail"]


@pytest.mark.parametrize(
    ("failure", "status"), [(ScorerUnavailableError("all busy"), 503), (ScoringFailedError("out of memory"), 500)]
)
def test_scoring_says_when_the_scorer_does_not_answer(gateway, http, failure, status):
    gateway.scorer.failure = failure
    try:
        for path, body in (("/predict", POINT), ("/v1/score", {"events": [ORIGIN_EVENT]})):
            assert str(failure) in problem_of(http.post(path, json=body), status)["detail"]
    finally:
        gateway.scorer.failure = None


# What is known -------------------------------------------------------------------------------------------------------


def test_vehicles_are_listed_with_their_latest_event(gateway, http):
    values = gateway.events(20)
    gateway.inject(values)
    answer = http.get("/v1/vehicles").json()
    assert answer["total"] == 10
    assert answer["vehicles"] == [json.loads(value) for value in reversed(values[10:])]
    assert len(http.get("/v1/vehicles?limit=3").json()["vehicles"]) == 3
    assert "limit" in problem_of(http.get("/v1/vehicles?limit=0"), 422)["detail"]


def test_one_vehicle_comes_with_its_history_oldest_first(gateway, http):
    values = gateway.events(30, vehicleId="a/strange ID?")
    gateway.inject(values)
    answer = http.get("/v1/vehicles/a%2Fstrange%20ID%3F").json()
    assert answer["vehicleId"] == "a/strange ID?"
    assert answer["latest"] == json.loads(values[-1])
    assert answer["history"] == [json.loads(value) for value in values]
    assert "'nobody'" in problem_of(http.get("/v1/vehicles/nobody"), 404)["detail"]


def test_episodes_are_filtered(gateway, http):
    ended = {"state": "closed", "updated_at": 1764533900.0, "closed_at": 1764533900.0, "closed_by": "recovery"}
    records = [episode("V1", 1), episode("V2", 2, **ended)]
    gateway.inject([], records)
    episodes = [json.loads(value) for _, value in records]
    assert http.get("/v1/episodes").json() == {"episodes": episodes[::-1]}
    assert http.get("/v1/episodes?state=open").json() == {"episodes": episodes[:1]}
    assert http.get("/v1/episodes?vehicleId=V2").json() == {"episodes": episodes[1:]}
    assert http.get("/v1/episodes?since=1764533890").json() == {"episodes": episodes[1:]}
    assert http.get("/v1/episodes", params={"since": "2025-11-30T20:18:10+00:00"}).json() == {"episodes": episodes[1:]}
    problem_of(http.get("/v1/episodes?state=ajar"), 422)
    assert "since" in problem_of(http.get("/v1/episodes?since=yesterday"), 422)["detail"]


def test_an_episode_is_what_its_latest_record_says_until_a_null_removes_it(gateway, http):
    key, opened = episode("V3", 3)
    gateway.inject([], [(key, opened), episode("V3", 3, severity=0.95, events=9)])
    [found] = http.get("/v1/episodes?vehicleId=V3").json()["episodes"]
    assert (found["severity"], found["events"], found["worst"]) == (0.95, 9, ["0:3"])
    gateway.inject([], [(key, None), (b"never heard of", None)])
    assert http.get("/v1/episodes?vehicleId=V3").json() == {"episodes": []}


def test_pipeline_reports_what_this_gateway_sees(gateway, http):
    with gateway.connect():
        gateway.wait_for_clients(1)
        gateway.inject(gateway.events(50))
        report = http.get("/v1/pipeline").json()
    assert report["clients"] == 1
    assert report["eventsPerSecond"] > 0
    assert 0 <= report["latencyMs"]["p50"] <= report["latencyMs"]["p99"] < 60_000
    assert report["modelVersion"] == gateway.core.bundle.version
    assert report["partitions"] == []
    assert report["lag"] is None, "Kafka has not been reached: nothing is claimed"
    wait_until(lambda: http.get("/v1/pipeline").json()["replicas"].get("Ingest") == 2, "Serve's replicas")


def test_health_says_what_is_not_ready(gateway, http):
    wait_until(lambda: "not connected yet" not in http.get("/health").json()["detail"], "Kafka's absence", 30)
    problem = problem_of(http.get("/health"), 503)
    assert "Kafka at 127.0.0.1" in problem["kafka"]
    assert problem["kafka"] in problem["detail"]
    assert (problem["scorer"], problem["ingest"], problem["model_loaded"]) == ("ok", "ok", True)
    gateway.core.check()


# The page, its documentation, and errors -----------------------------------------------------------------------------


def test_page_and_its_parts_are_served_and_revalidated(http):
    page = http.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    part = http.get("/ui/app.js")
    assert part.text == "export const answer = 42;"
    assert part.headers["content-type"].startswith("text/javascript")
    assert part.headers["cache-control"] == "no-cache"
    assert http.get("/ui/app.js", headers={"If-None-Match": part.headers["etag"]}).status_code == 304
    problem_of(http.get("/ui/missing.js"), 404)
    problem_of(http.get("/ui/..%2f..%2fetc/passwd"), 404)


def test_every_answer_carries_the_security_headers(http):
    for path in ("/", "/ui/app.js", "/docs", "/v1/vehicles", "/nothing"):
        headers = http.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; connect-src 'self' ws: wss:;")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_documentation_loads_nothing_from_elsewhere_and_nothing_inline(http):
    page = http.get("/docs").text
    assert "://" not in page
    for part in ("/docs/parts/swagger-ui-bundle.js", "/docs/parts/swagger-ui.css", "/docs/start.js", "/openapi.json"):
        assert part in page or part == "/openapi.json"
        assert http.get(part).status_code == 200


def test_openapi_describes_bodies_answers_and_problems(http):
    document = http.get("/openapi.json").json()
    paths = document["paths"]
    assert {"/predict", "/v1/score", "/v1/vehicles", "/v1/episodes", "/v1/pipeline", "/health"} <= paths.keys()
    body = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["required"]) == set(POINT)
    problem = paths["/predict"]["post"]["responses"]["422"]["content"]["application/problem+json"]["schema"]
    assert "detail" in problem["required"]
    for path in paths.values():
        for operation in path.values():
            answer = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
            assert answer.split("/")[-1] in document["components"]["schemas"]


def test_answers_match_their_documentation(gateway, http):
    document = http.get("/openapi.json").json()
    gateway.inject(gateway.events(10), [episode("V1", 1)])
    answers = {
        "Prediction": http.post("/predict", json=POINT),
        "ScoreAnswer": http.post("/v1/score", json={"events": [ORIGIN_EVENT]}),
        "VehicleHistory": http.get("/v1/vehicles/V1"),
        "EpisodeList": http.get("/v1/episodes"),
        "PipelineReport": http.get("/v1/pipeline"),
    }
    for name, answer in answers.items():
        jsonschema.validate(
            answer.json(), {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )


def test_unknown_paths_and_methods_are_problems(http):
    assert "/docs" in problem_of(http.get("/nothing/here"), 404)["detail"]
    assert "GET" in problem_of(http.get("/predict"), 405)["detail"]
