"""Scoring on demand, /predict and /v1/score, through the gateway on a real socket; see gateway_harness."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

import httpx
import numpy as np
import pytest

from deployments.web.problems import ProblemError
from deployments.web.scoring import POINT_CALLS_AT_ONCE, OnDemandScoring, ScoringLimits
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Scores
from fleet.errors import ScorerUnavailableError, ScoringFailedError
from tests.deployments.gateway_harness import (
    ORIGIN_EVENT,
    POINT,
    FunctionScorer,
    problem_of,
    running_gateway,
    small_bundle,
)


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
    small = {**POINT, **dict.fromkeys(("temperature", "battery", "fuelLevel", "speed"), 10.0)}
    steady = http.post("/predict", json={**small, "previousSpeed": 10.0}).json()
    braking = http.post("/predict", json={**small, "previousSpeed": 60.0}).json()
    claimed = http.post("/predict", json={**small, "previousSpeed": 10.0, "acceleration": 600}).json()
    assert braking["reconstruction_error"] > 2 * steady["reconstruction_error"]
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
        {**ORIGIN_EVENT, "timestamp": start_s + 2, "temperature": 900.0, "unknownField": {"carried": "on"}},
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
