"""Episodes over REST: what people do about them, and finding them by it."""

import json
import time
from typing import Any

import httpx
import pytest

from fleet.delivery.handling import Handlings
from fleet.errors import KafkaUnavailableError
from fleet.records.action import LONGEST_TEXT
from tests.deployments.gateway_harness import PUBLISHED_AT_S, RunningGateway, episode, problem_of

ID = "V1:0:1"


@pytest.fixture
def known(gateway: RunningGateway, http: httpx.Client) -> httpx.Client:
    """Two episodes that nobody has done anything about."""
    gateway.core.actions.handlings = Handlings(100)
    gateway.inject([], [episode("V1", 1)])
    gateway.inject([], [episode("V2", 2, state="closed", severity=0.6, cause="fuel_theft")], PUBLISHED_AT_S - 10)
    return http


def act(http: httpx.Client, version: int, action_id: str | None = None, **do: Any) -> httpx.Response:
    body = {"actionId": action_id or f"a{version}", "version": version, "do": do}
    return http.post(f"/v1/episodes/{ID}/actions", json=body)


def test_an_episodes_story_tells_what_was_done_by_whom_and_in_which_order(known):
    assert known.get(f"/v1/episodes/{ID}").json()["actions"] == []
    began_s = time.time()
    assert act(known, 0, kind="acknowledge").status_code == 200
    assert act(known, 1, kind="assign", assignee="ana").status_code == 200
    story = act(known, 2, kind="label", label="falseAlarm").json()
    assert story == known.get(f"/v1/episodes/{ID}").json()
    assert [action["do"]["kind"] for action in story["actions"]] == ["acknowledge", "assign", "label"]
    handling = story["episode"]["handling"]
    assert (handling["version"], handling["status"], handling["assignee"]) == (3, "acknowledged", "ana")
    label = story["actions"][-1]
    assert (label["by"], label["modelVersion"], label["openedAt"], label["updatedAt"]) == (
        "anybody", "v", 1764533860.0, 1764533865.0,
    )  # fmt: skip
    assert began_s <= label["at"] <= time.time()
    assert known.get("/v1/episodes?vehicleId=V1").json()["episodes"] == [story["episode"]]


def test_an_action_that_is_sent_again_counts_once(known):
    first = act(known, 0, "same", kind="comment", text="seen")
    again = act(known, 0, "same", kind="comment", text="seen")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert len(again.json()["actions"]) == 1


def test_an_action_that_knew_less_is_refused_with_what_stands(known):
    act(known, 0, "one", kind="assign", assignee="ana")
    problem = problem_of(act(known, 0, "other", kind="assign", assignee="luis"), 409)
    assert "anybody was faster" in problem["detail"]
    assert problem["handling"]["assignee"] == "ana"
    assert problem["refused"]["do"] == {"kind": "assign", "assignee": "luis"}
    assert len(known.get(f"/v1/episodes/{ID}").json()["actions"]) == 1
    assert "nobody has done anything" in problem_of(act_on_new(known, 7), 409)["detail"]


def act_on_new(http: httpx.Client, version: int) -> httpx.Response:
    return http.post(
        "/v1/episodes/V2:0:2/actions", json={"actionId": "a", "version": version, "do": {"kind": "reopen"}}
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "no JSON"),
        ({"actionId": "a", "version": 0, "do": {"kind": "dance"}}, "dance"),
        ({"actionId": "a", "version": 0, "do": {"kind": "assign"}}, "assignee"),
        ({"actionId": "a", "version": 0, "do": {"kind": "label", "label": "so so"}}, "so so"),
        ({"actionId": "a", "version": -1, "do": {"kind": "reopen"}}, "version"),
        ({"actionId": "", "version": 0, "do": {"kind": "reopen"}}, "actionId"),
        ({"actionId": "a", "version": 0, "by": "me", "do": {"kind": "reopen"}}, "`by`"),
        ({"actionId": "a", "version": 0, "do": {"kind": "comment", "text": "x" * (LONGEST_TEXT + 1)}}, "text"),
    ],
)
def test_an_action_that_is_none_is_refused_with_what_to_send(known, body, said):
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"content-type": "application/json"}
    answer = known.post(f"/v1/episodes/{ID}/actions", content=content, headers=headers)
    detail = problem_of(answer, 422)["detail"]
    assert said in detail
    assert '"do": {"kind": "acknowledge"}' in detail
    assert known.get(f"/v1/episodes/{ID}").json()["actions"] == []


def test_an_episode_that_nobody_knows_takes_no_action(known):
    problem_of(known.get("/v1/episodes/V9:0:9"), 404)
    body = {"actionId": "a", "version": 0, "do": {"kind": "acknowledge"}}
    problem_of(known.post("/v1/episodes/V9:0:9/actions", json=body), 404)


def test_without_kafka_an_action_is_not_sure_and_may_be_sent_again(gateway, known):
    gateway.action_log.failure = KafkaUnavailableError("away")
    assert "send it again" in problem_of(act(known, 0, kind="acknowledge"), 503)["detail"]
    gateway.action_log.failure = None
    assert act(known, 0, kind="acknowledge").status_code == 200


def ids(http: httpx.Client, **wanted: Any) -> list[str]:
    return [listed["episodeId"] for listed in http.get("/v1/episodes", params=wanted).json()["episodes"]]


def test_episodes_are_found_by_what_they_are_and_by_what_was_done(known):
    act(known, 0, kind="assign", assignee="ana")
    act(known, 1, kind="comment", text="The driver calls back")
    act(known, 2, kind="label", label="expected")
    act(known, 3, kind="snooze", until=time.time() + 600)
    assert ids(known) == [ID, "V2:0:2"]
    for wanted in (
        {"cause": "overspeed"}, {"minSeverity": 0.7}, {"assignee": "ana"}, {"label": "expected"}, {"status": "snoozed"},
        {"text": "DRIVER"}, {"text": "v1"}, {"since": PUBLISHED_AT_S}, {"state": "open"}, {"vehicleId": "V1"},
    ):  # fmt: skip
        assert ids(known, **wanted) == [ID], wanted
    for wanted in ({"cause": "fuel_theft"}, {"until": PUBLISHED_AT_S}, {"status": "new"}, {"text": "theft"}):
        assert ids(known, **wanted) == ["V2:0:2"], wanted
    assert ids(known, status="acknowledged") == []
    problem_of(known.get("/v1/episodes?status=lost"), 422)


def test_pages_follow_one_another_without_a_gap_and_without_a_repeat(gateway, known):
    gateway.inject([], [episode("V3", offset) for offset in range(20)], PUBLISHED_AT_S + 5)
    whole = ids(known)
    paged, after = [], {}
    while after is not None:
        answer = known.get("/v1/episodes", params={"limit": 7, **after}).json()
        paged += [listed["episodeId"] for listed in answer["episodes"]]
        after = {"after": answer["next"]} if "next" in answer else None
        gateway.inject([], [episode("V4", len(paged))], PUBLISHED_AT_S + 9)
    assert paged == whole
    assert "after" in problem_of(known.get("/v1/episodes?after=yesterday"), 422)["detail"]
