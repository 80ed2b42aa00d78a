"""What the gateway tells over REST, and its page, on a real socket. Kafka is away here; see gateway_harness.

The live feed: test_gateway_sockets. Scoring on demand: test_gateway_scoring.
"""

import json
from urllib.parse import quote

import jsonschema
import pytest

from fleet.records.sender import Finding, encode_sender
from tests.deployments.gateway_harness import ORIGIN_EVENT, POINT, episode, problem_of, sender_report, wait_until

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


def test_ids_are_compared_whole(gateway, http):
    names = ["TRUCK-7", "TRUCK-7\n", "TRUCK-7\n\nx", " TRUCK-7", "TRUCK-7/", "truck-7", "TRÜCK 7%", "a/../b"]
    for name in names:
        gateway.inject(gateway.events(1, vehicleId=name))
    for name in names:
        answer = http.get("/v1/vehicles/" + quote(name, safe=""))
        assert (answer.status_code, answer.json()["vehicleId"]) == (200, name)
    for other in ("TRUCK-7%0A%0A", "TRUCK-7%0D", "TRUCK-7%20", "%0ATRUCK-7", "TRUCK-7%00", "TRUCK-7%2F%0A", ""):
        problem_of(http.get(f"/v1/vehicles/{other}"), 404)


def test_what_is_learnt_of_senders_is_told_by_vehicle_and_by_finding(gateway, http):
    odd = Finding("unit", "speed", "speed is 0.54 of what its positions say. Is it in knots?")
    gateway.inject([], senders=[sender_report("V1", odd), sender_report("V2")])
    of_one = http.get("/v1/senders/V1").json()
    assert of_one == json.loads(encode_sender(sender_report("V1", odd)))
    both = http.get("/v1/senders").json()
    assert [sender["vehicleId"] for sender in both["senders"]] == ["V2", "V1"]
    assert both["findings"] == {"unit": 1}
    assert http.get("/v1/senders?finding=unit").json()["senders"] == [of_one]
    assert http.get("/v1/senders?finding=clock&limit=1").json()["senders"] == []
    assert http.get("/v1/senders?vehicleId=V1").json()["senders"] == [of_one]
    assert http.get("/v1/senders?vehicleId=V3").json()["senders"] == []
    problem_of(http.get("/v1/senders?finding=colour"), 422)
    assert "the first report comes" in problem_of(http.get("/v1/senders/V3"), 404)["detail"]


def test_episodes_are_filtered(gateway, http):
    ended = {"state": "closed", "updated_at": 1764533900.0, "closed_at": 1764533900.0, "closed_by": "recovery"}
    records = [episode("V1", 1), episode("V2", 2, **ended)]
    gateway.inject([], records[:1], published_at_s=1764533870.25)
    gateway.inject([], records[1:], published_at_s=1764533905.0)
    times_s = (1764533870.25, 1764533905.0)
    episodes = [{**json.loads(value), "publishedAt": at_s} for (_, value), at_s in zip(records, times_s, strict=True)]
    assert http.get("/v1/episodes").json() == {"episodes": episodes[::-1]}
    assert http.get("/v1/episodes?state=open").json() == {"episodes": episodes[:1]}
    assert http.get("/v1/episodes?vehicleId=V2").json() == {"episodes": episodes[1:]}
    assert http.get("/v1/episodes?since=1764533890").json() == {"episodes": episodes[1:]}
    assert http.get("/v1/episodes", params={"since": "2025-11-30T20:18:10+00:00"}).json() == {"episodes": episodes[1:]}
    problem_of(http.get("/v1/episodes?state=ajar"), 422)
    assert "since" in problem_of(http.get("/v1/episodes?since=yesterday"), 422)["detail"]


def test_since_goes_by_the_logs_time_whatever_the_senders_clocks_say(gateway, http):
    wrong = {"late": 86_400.0, "early": 4_102_444_800.0, "right": 1764539990.0}
    for place, (vehicle, clock_s) in enumerate(wrong.items()):
        record = episode(vehicle, 100 + place, opened_at=clock_s, updated_at=clock_s)
        gateway.inject([], [record], published_at_s=1764540000.5 + place)
    for place, vehicle in enumerate(wrong):
        found = http.get(f"/v1/episodes?since={1764540000.5 + place}").json()["episodes"]
        assert [one["vehicleId"] for one in reversed(found)] == list(wrong)[place:]
        assert found[-1]["vehicleId"] == vehicle
        assert found[-1]["publishedAt"] == 1764540000.5 + place
    assert http.get("/v1/episodes?since=1764540002.6").json() == {"episodes": []}


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
    gateway.inject(gateway.events(10), [episode("V1", 1)], senders=[sender_report("V1")])
    answers = {
        "Prediction": http.post("/predict", json=POINT),
        "ScoreAnswer": http.post("/v1/score", json={"events": [ORIGIN_EVENT]}),
        "VehicleHistory": http.get("/v1/vehicles/V1"),
        "EpisodeList": http.get("/v1/episodes"),
        "EpisodeStory": http.get("/v1/episodes/V1:0:1"),
        "SenderList": http.get("/v1/senders"),
        "SenderReport": http.get("/v1/senders/V1"),
        "PipelineReport": http.get("/v1/pipeline"),
    }
    for name, answer in answers.items():
        jsonschema.validate(
            answer.json(), {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        )


def test_parameters_that_a_route_does_not_take_are_refused_by_name(gateway, http):
    gateway.inject([], [episode("V1", 1)])
    for path, wrong, known in (
        ("/v1/episodes?vehicle=V1", "vehicle: no such parameter", "vehicleId"),
        ("/v1/episodes?vehicleID=V1&state=open", "vehicleID: no such parameter", "vehicleId"),
        ("/v1/episodes?vehicleId=V1&vehicleId=V2", "vehicleId: given twice", "give it once"),
        ("/v1/vehicles?vehicleId=V1&Limit=3", "vehicleId, Limit: no such parameter", "there are limit"),
        ("/v1/vehicles/V1?history=5", "history: no such parameter", "none"),
        ("/v1/pipeline?x", "x: no such parameter", "none"),
        ("/health?verbose=1", "verbose: no such parameter", "none"),
    ):
        detail = problem_of(http.get(path), 422)["detail"]
        assert wrong in detail
        assert known in detail
    assert "threshold: no such" in problem_of(http.post("/predict?threshold=2", json=POINT), 422)["detail"]
    assert "n" * 21 not in problem_of(http.get("/health?" + "n" * 5_000), 422)["detail"]
    assert http.get("/?from=mail").status_code == 200, "a page's address may carry anything"


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/ui/app.js", "/v1/vehicles", "/v1/episodes?state=open", "/v1/pipeline"]
)
def test_head_answers_as_get_does_without_a_body(http, path):
    head, full = http.head(path), http.get(path)
    assert head.status_code == full.status_code == 200
    assert head.content == b""
    for name in ("content-type", "cache-control", "content-security-policy", "etag"):
        assert head.headers.get(name) == full.headers.get(name)
    assert int(head.headers["content-length"]) > 0
    assert http.get(path).content == full.content or path == "/v1/pipeline", "the connection goes on"


def test_head_of_what_get_refuses_is_refused(http):
    assert http.head("/nothing").status_code == 404
    assert http.head("/predict").status_code == 405
    assert http.head("/health").status_code == http.get("/health").status_code == 503


def test_unknown_paths_and_methods_are_problems(http):
    assert "/docs" in problem_of(http.get("/nothing/here"), 404)["detail"]
    assert "GET" in problem_of(http.get("/predict"), 405)["detail"]
