"""What senders really send, by REST: what Kafka's way scores is scored here, and refusals say the same."""

import json
import math

import httpx
import numpy as np
import pytest

from deployments.web.scoring import point_features
from fleet.events.json_object import BYTE_ORDER_MARK
from fleet.settings import EventSettings
from tests.deployments.gateway_harness import POINT, problem_of, running_gateway
from tests.sent_payloads import EVENT, REFUSED, SCORED, Refused, Scored, event
from tests.small_detector import PLAN

LIBRARY_WORDS = ("Expect", "codec", "delimiter", "isoformat", "Invalid", "truncated")
BODIES_OF_THEIR_OWN = [payload for payload in REFUSED if payload.reason in ("not_json", "not_utf8", "empty")]


def score(http: httpx.Client, payload: bytes) -> httpx.Response:
    """Score one event; a byte order mark stands before the whole body."""
    mark = BYTE_ORDER_MARK if payload.startswith(BYTE_ORDER_MARK) else b""
    return http.post("/v1/score", content=mark + b'{"events": [' + payload.removeprefix(BYTE_ORDER_MARK) + b"]}")


@pytest.mark.parametrize("payload", SCORED, ids=str)
def test_score_reads_what_the_log_is_read_for(http: httpx.Client, payload: Scored) -> None:
    answer = score(http, payload.body)
    assert answer.status_code == 200, answer.text
    [verdict] = answer.json()["verdicts"]
    expected = {**EVENT, **payload.read}
    assert (verdict["vehicleId"], verdict["timestamp"]) == (expected["vehicleId"], expected["timestamp"])


def test_score_notes_fields_that_have_another_name(http: httpx.Client) -> None:
    sent = event(latitude=None, longitude=None, lat=48.2, lon=11.6)
    assert score(http, sent).json()["notes"] == ['"bus-4": lat, lon are not read; latitude, longitude would be.']
    assert "notes" not in score(http, event()).json()


@pytest.mark.parametrize("payload", [p for p in REFUSED if p not in BODIES_OF_THEIR_OWN], ids=str)
def test_score_refuses_an_event_in_the_dead_letters_words(http: httpx.Client, payload: Refused) -> None:
    problem = problem_of(score(http, payload.body), 422)
    [error] = problem["errors"]
    assert error["reason"] == payload.reason
    assert problem["detail"] == f"events[0] is refused as {payload.reason}: {error['detail']}"
    assert [says for says in payload.says if says not in error["detail"]] == []


@pytest.mark.parametrize("path", ["/predict", "/v1/score"])
@pytest.mark.parametrize("payload", BODIES_OF_THEIR_OWN, ids=str)
def test_a_body_that_is_no_object_is_refused_in_words_of_our_own(
    http: httpx.Client, payload: Refused, path: str
) -> None:
    detail = problem_of(http.post(path, content=payload.body), 422)["detail"]
    assert "send" in detail
    assert not any(word in detail for word in LIBRARY_WORDS), detail


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"battery": "-"}, ('battery is "-"', "send a number")),
        ({"speed": "31 km/h"}, ("speed", "send the number alone, 31.")),
        ({"latitude": -314139474, "longitude": -641875767}, ("degrees × 10^7", "-31.4139474")),
        ({"lat": 48.2}, ("lat is no input", "send it as latitude")),
        ({"fuel_level": 3}, ("fuel_level is no input", "send it as fuelLevel")),
    ],
    ids=str,
)
def test_predict_says_what_to_send(http: httpx.Client, change: dict[str, object], says: tuple[str, ...]) -> None:
    detail = problem_of(http.post("/predict", json={**POINT, **change}), 422)["detail"]
    assert [part for part in says if part not in detail] == [], detail


def test_predict_reads_numbers_from_text(http: httpx.Client) -> None:
    text = http.post("/predict", json={**POINT, "battery": str(POINT["battery"])})
    assert text.content == http.post("/predict", json=POINT).content


def test_point_features_take_a_position_without_fix_as_unknown() -> None:
    at_sea = {**POINT, "latitude": 0.0, "longitude": 0.0}
    [known, unknown] = point_features([POINT, at_sea], PLAN)
    nowhere = point_features([{**POINT, "latitude": math.nan, "longitude": math.nan}], PLAN)[0]
    np.testing.assert_array_equal(unknown, nowhere)
    assert not np.array_equal(known, unknown, equal_nan=True)


def test_strict_settings_refuse_values_of_another_type(tmp_path) -> None:
    with (
        running_gateway(tmp_path, tmp_path, EventSettings(lenient=False)) as strict,
        httpx.Client(base_url=strict.url) as http,
    ):
        assert problem_of(http.post("/predict", json={**POINT, "battery": "87"}), 422)["detail"].startswith("battery")
        problem = problem_of(score(http, event(battery="87")), 422)
        assert problem["errors"][0]["reason"] == "wrong_type"
        assert score(http, json.dumps(EVENT).encode()).status_code == 200
