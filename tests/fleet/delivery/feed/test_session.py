"""A session's promises, under schedules that nobody would think of."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.feed.messages import MAX_MESSAGE_BYTES, CloseCode
from fleet.delivery.feed.recovery import RecoveryLimits
from fleet.delivery.feed.selection import EpisodeItem
from fleet.delivery.feed.session import AUTH_TIMEOUT_S, EVERYONE, HEARTBEAT_S, MESSAGES_PER_MINUTE, Identity, Session
from tests.fleet.delivery.feed.feed_harness import (
    KEY,
    NOW_S,
    Client,
    Record,
    append,
    house,
    live_log,
    of_type,
    scored,
)

VEHICLES = ["A", "B", "C", "D"]
VIEWPORT = [0, 0, 10, 10]
rows = st.tuples(st.integers(0, 1), st.sampled_from(VEHICLES), st.booleans(), st.sampled_from([5.0, 50.0]))
polls = st.lists(rows, max_size=6)
steps = st.lists(st.one_of(polls, st.just("read"), st.just("read some")), max_size=25)
SUBSCRIPTIONS: list[dict[str, Any]] = [
    {},
    {"delta": True},
    {"viewport": VIEWPORT},
    {"viewport": VIEWPORT, "delta": True, "fields": ["latitude", "severity"]},
    {"filter": {"anomalies": True}},
    {"filter": {"vehicles": ["A", "B"]}, "delta": True},
]
subscriptions = st.sampled_from(SUBSCRIPTIONS)


class Log:
    """A live log, and all that was ever appended to it."""

    def __init__(self, most_events: int = 10_000) -> None:
        self.live = live_log(most_events)
        self.records: list[Record] = []
        self._next = [0, 0]

    def append(self, rows: list[tuple[int, str, bool, float]], at_s: float = NOW_S) -> None:
        new = []
        for partition, vehicle, alarm, latitude in rows:
            new.append(scored(partition, self._next[partition], vehicle, alarm=alarm, latitude=latitude, longitude=5.0))
            self._next[partition] += 1
        append(self.live, new, at_s)
        self.records += new

    def events(self, **wanted: Any) -> list[dict[str, Any]]:
        return [event for _, body in self.records if fits(event := json.loads(body), **wanted)]

    def latest(self, **wanted: Any) -> dict[str, dict[str, Any]]:
        newest = {event["vehicleId"]: event for event in self.events()}
        return {vehicle: event for vehicle, event in newest.items() if fits(event, **wanted)}


def fits(event: dict[str, Any], viewport: Any = None, **wanted: Any) -> bool:
    asked = wanted.get("filter", {})
    return (
        ("vehicles" not in asked or event["vehicleId"] in asked["vehicles"])
        and (not asked.get("anomalies") or event["is_anomaly"])
        and (viewport is None or event["latitude"] <= viewport[3])
    )


def cut_to(event: dict[str, Any], fields: list[str] | None = None, **_: Any) -> dict[str, Any]:
    return event if fields is None else {name: event[name] for name in ("vehicleId", "source", *fields)}


def shown(log: Log, **wanted: Any) -> dict[str, dict[str, Any]]:
    return {vehicle: cut_to(event, **wanted) for vehicle, event in log.latest(**wanted).items()}


def sources(events: list[dict[str, Any]]) -> list[str]:
    return [event["source"] for event in events]


def follow(client: Client, log: Log, schedule: list[Any]) -> None:
    for step in schedule:
        client.now_s += 0.5
        if step == "read":
            client.read()
        elif step == "read some":
            client.read(1)
        else:
            log.append(step, client.now_s)


@given(polls, steps, subscriptions)
def test_snapshot_and_live_make_the_view_that_the_log_makes(before: Any, schedule: Any, wanted: dict[str, Any]) -> None:
    log = Log()
    log.append(before)
    client = Client(log.live, snapshot=True, **wanted)
    follow(client, log, schedule)
    client.read()
    assert client.state.vehicles == shown(log, **wanted)


@given(polls, steps, subscriptions)
def test_without_a_snapshot_every_event_that_follows_is_sent_once(
    before: Any, schedule: Any, wanted: dict[str, Any]
) -> None:
    log = Log()
    log.append(before)
    earlier = len(log.events(**wanted))
    client = Client(log.live, **wanted)
    follow(client, log, schedule)
    client.read()
    assert client.sources == sources(log.events(**wanted))[earlier:]
    assert client.losses == []


@given(steps, subscriptions, st.integers(1, 12))
def test_slow_client_is_told_exactly_how_many_events_it_lost(
    schedule: Any, wanted: dict[str, Any], most_events: int
) -> None:
    log = Log(most_events)
    client = Client(log.live, **wanted)
    follow(client, log, schedule)
    client.now_s += 10
    client.read()
    published = sources(log.events(**wanted))
    assert len(client.sources) + client.lost == len(published)
    assert len(set(client.sources)) == len(client.sources)
    assert set(client.sources) <= set(published)
    assert {loss.reason for loss in client.losses} <= {"slow"}
    assert log.live.lost == client.lost
    for vehicle, event in client.state.vehicles.items():
        assert event == shown(log, **wanted)[vehicle], "what a client still shows is as the log has it"


@given(steps, st.sampled_from([{}, {"viewport": VIEWPORT}, {"delta": True}]), st.integers(4, 12))
def test_latest_mode_conflates_all_but_anomalies(schedule: Any, wanted: dict[str, Any], most_events: int) -> None:
    log = Log(10_000)
    client = Client(log.live, mode="latest", snapshot=True, **wanted)
    follow(client, log, schedule)
    client.read()
    assert client.state.vehicles == shown(log, **wanted)
    published = log.events(**wanted)
    assert {event["source"] for event in published if event["is_anomaly"]} <= set(client.sources)
    assert client.losses == []


def test_latest_mode_sends_one_event_per_vehicle_and_interval() -> None:
    log = Log()
    client = Client(log.live, mode="latest", intervalMs=1_000)
    client.read()
    for _ in range(10):
        log.append([(0, "A", False, 5.0), (1, "B", False, 5.0), (1, "B", True, 5.0)])
    [events] = of_type(client.read(), "events")
    assert [item["is_anomaly"] for item in events["items"]] == [True] * 10 + [False]
    log.append([(0, "A", False, 5.0)])
    assert client.read() == []
    client.now_s += 1.0
    assert [len(frame["items"]) for frame in client.read()] == [1]


@given(st.lists(st.one_of(polls, st.sampled_from(["read", "read some", "cut"])), max_size=30), subscriptions)
def test_cut_and_resumed_anywhere_every_event_comes_once(schedule: Any, wanted: dict[str, Any]) -> None:
    log = Log()
    client = Client(log.live, **wanted)
    client.read()
    # Another replica reads the same log in other runs, and began at another time.
    other = Log()
    for step in schedule:
        client.now_s += 0.5
        if step == "cut":
            client.cut()
            client.connect(other.live, client.state.cursor)
            log, other = other, log
            [subscribed] = of_type(client.read(1), "subscribed")
            assert subscribed["recovered"] is True
        elif step in ("read", "read some"):
            client.read(None if step == "read" else 1)
        else:
            log.append(step, client.now_s)
            for row in step:
                other.append([row], client.now_s)
    client.read()
    assert sorted(client.sources) == sorted(sources(log.events(**wanted)))
    for partition in "01":
        of_partition = [source for source in client.sources if source.startswith(partition)]
        assert of_partition == sorted(of_partition, key=lambda source: int(source[2:]))
    assert client.losses == []


@given(polls, polls, st.permutations(VEHICLES))
def test_update_makes_the_view_of_the_new_filter(before: Any, after: Any, names: list[str]) -> None:
    log = Log()
    log.append(before)
    client = Client(log.live, snapshot=True, filter={"vehicles": names[:2]})
    client.read(2)
    wanted = {"filter": {"vehicles": names[1:3]}, "viewport": VIEWPORT}
    client.say(type="update", id="a", **wanted)
    log.append(after)
    client.read()
    assert client.state.vehicles == shown(log, **wanted)


def test_tenant_is_sent_its_own_events_whatever_it_asks_for() -> None:
    log = live_log()
    mine, foreign = scored(0, 0, "A", tenantId="north"), scored(1, 0, "B", tenantId="south")
    append(log, [mine, foreign, scored(1, 1, "C")], episodes=[episode("A", "north"), episode("B", "south")])
    session = Session(log, house(episodes=[episode("A", "north"), episode("B", "south")]), Identity("north"), NOW_S)
    resume = log.token({0: 0, 1: 0}, NOW_S)
    for number, asked in enumerate(({"snapshot": True}, {"filter": {"vehicles": ["B"]}, "snapshot": True})):
        session.receive(json.dumps({"type": "subscribe", "id": str(number), **asked}), NOW_S)
    session.receive(json.dumps({"type": "subscribe", "id": "resumed", "resume": resume}), NOW_S)
    session.receive(json.dumps({"type": "subscribe", "id": "latest", "mode": "latest", "resume": resume}), NOW_S)
    said = ""
    while frames := session.take(NOW_S):
        said += "".join(frames)
    assert said.count('"0:0"') == 3
    assert '"1:0"' not in said
    assert '"1:1"' not in said
    assert '"A:0:0"' in said
    assert '"B:0:0"' not in said


def episode(vehicle: str, tenant: str | None = None, published_at_s: float = NOW_S) -> EpisodeItem:
    body = json.dumps({"episodeId": f"{vehicle}:0:0"}).encode()
    return EpisodeItem(f"{vehicle}:0:0", vehicle, tenant, 0.8, "overspeed", True, published_at_s, body)


def test_episodes_come_with_the_events_and_survive_a_slow_reader() -> None:
    log = live_log(most_events=2)
    client = Client(log)
    client.read()
    append(log, [scored(0, 0, "A")], episodes=[episode("A")])
    for offset in range(1, 9):
        append(log, [scored(0, offset, "B")])
    client.read()
    assert set(client.state.episodes) == {"A:0:0"}
    assert client.lost == 9 - len(client.sources) > 0


def test_slow_client_is_sent_more_sparingly_first_and_told_so() -> None:
    log = Log(1_000)
    client = Client(log.live)
    client.read()
    paces = []
    for wave in (300, 100, 150):
        for _ in range(wave):
            log.append([(0, "A", False, 5.0)])
        paces += of_type(client.read(1), "pace")
    assert [(pace["mode"], pace["intervalMs"]) for pace in paces] == [("events", 100), ("events", 200), ("latest", 200)]
    client.read()
    assert client.lost == 550 - len(client.sources) > 500, "what is conflated unasked is said to be lost"
    client.now_s += 1
    log.append([(0, "A", False, 5.0)])
    [pace, _] = client.read()
    assert (pace["type"], pace["mode"], pace["reason"]) == ("pace", "events", "as_asked")


def test_heartbeat_moves_the_cursor_of_who_is_sent_nothing() -> None:
    log = Log()
    client = Client(log.live, filter={"vehicles": ["nobody"]})
    client.read()
    log.append([(0, "A", False, 5.0)])
    client.now_s += HEARTBEAT_S
    client.read()
    client.now_s += HEARTBEAT_S
    [beat] = client.read()
    assert beat["lagMs"] == 0
    assert KEY.read(client.state.cursor or "").positions == {0: 1, 1: 0}
    client.say(type="ping")
    assert [frame["type"] for frame in client.read()] == ["heartbeat"]


@pytest.mark.parametrize(
    ("cursor", "recovered", "reason"),
    [
        (lambda log: log.live.token({0: 0, 1: 0}, NOW_S), True, None),
        (lambda log: live_log(epoch="made anew").token({0: 0, 1: 0}, NOW_S), False, "recreated"),
    ],
)
def test_what_became_of_a_cursor_is_said(cursor: Any, recovered: bool, reason: str | None) -> None:
    log = Log()
    log.append([(0, "A", False, 5.0)])
    client = Client(log.live)
    client.connect(log.live, cursor(log))
    frames = client.read()
    [subscribed] = of_type(frames, "subscribed")
    assert (subscribed["recovered"], subscribed["reason"]) == (recovered, reason)
    assert set(client.state.vehicles) == {"A"}
    assert [(loss.events, loss.reason) for loss in client.losses] == ([] if recovered else [(None, reason)])


@pytest.mark.parametrize(
    ("limits", "at_s"), [(RecoveryLimits(2, 1_000.0), NOW_S), (RecoveryLimits(1_000, 10.0), NOW_S - 11)]
)
def test_cursor_that_lies_too_far_back_is_answered_with_a_snapshot(limits: RecoveryLimits, at_s: float) -> None:
    log = Log(most_events=1)
    for _ in range(5):
        log.append([(0, "A", False, 5.0)])
    client = Client(log.live)
    client.connect(log.live, log.live.token({0: 0, 1: 0}, at_s), house(limits))
    frames = client.read()
    assert [frame["type"] for frame in frames] == ["welcome", "subscribed", "lost", "snapshot"]
    assert (frames[1]["recovered"], frames[1]["reason"]) == (False, "limit")
    assert client.state.vehicles == shown(log)


@pytest.mark.parametrize("cursor", ["", "AAAA", "not base64!"])
def test_forged_cursor_is_an_error_and_no_seek(cursor: str) -> None:
    log = Log()
    client = Client(log.live)
    client.connect(log.live)
    client.say(type="subscribe", id="b", resume=cursor)
    [error] = of_type(client.read(), "error")
    assert (error["id"], error["code"], error["retryable"]) == ("b", "bad_cursor", False)
    assert set(client.session.subscriptions) == {"a"}


def refused(session: Session, now_s: float = NOW_S) -> tuple[list[str], CloseCode | None]:
    kinds = [json.loads(frame)["type"] for frame in session.take(now_s)]
    return kinds, session.close.code if session.close else None


def test_who_must_sign_in_has_a_few_seconds_for_it() -> None:
    session = Session(live_log(), house(), None, NOW_S)
    assert session.take(NOW_S) == []
    assert session.due_at_s() == NOW_S + AUTH_TIMEOUT_S
    assert refused(session, NOW_S + AUTH_TIMEOUT_S) == (["goodbye"], CloseCode.NO_AUTH_IN_TIME)


def test_token_lets_in_and_a_wrong_one_does_not() -> None:
    session = Session(live_log(), house(), None, NOW_S)
    session.receive('{"type":"auth","token":"north"}', NOW_S)
    [welcome] = map(json.loads, session.take(NOW_S))
    assert (welcome["type"], welcome["tenant"]) == ("welcome", "north")
    session.receive('{"type":"auth","token":"south"}', NOW_S)
    assert refused(session) == (["error", "goodbye"], CloseCode.FORBIDDEN)
    other = Session(live_log(), house(), None, NOW_S)
    other.receive('{"type":"auth","token":"wrong"}', NOW_S)
    assert refused(other) == (["error", "goodbye"], CloseCode.UNAUTHENTICATED)
    silent = Session(live_log(), house(), None, NOW_S)
    silent.receive('{"type":"subscribe","id":"a"}', NOW_S)
    assert refused(silent) == (["goodbye"], CloseCode.UNAUTHENTICATED)


def test_expired_token_ends_the_session() -> None:
    session = Session(live_log(), house(), Identity("north", NOW_S + 1), NOW_S)
    session.take(NOW_S)
    assert session.due_at_s() == NOW_S + 1
    assert refused(session, NOW_S + 1) == (["goodbye"], CloseCode.UNAUTHENTICATED)


@pytest.mark.parametrize(
    ("text", "kinds", "code"),
    [
        ('{"type":"subscribe","id":"a","vehicle":"V1"}', ["welcome", "error", "goodbye"], CloseCode.MALFORMED),
        ("x" * (MAX_MESSAGE_BYTES + 1), ["welcome", "goodbye"], CloseCode.TOO_LARGE),
    ],
)
def test_message_that_is_none_ends_the_session(text: str, kinds: list[str], code: CloseCode) -> None:
    session = Session(live_log(), house(), EVERYONE, NOW_S)
    session.receive(text, NOW_S)
    assert refused(session) == (kinds, code)


def test_too_many_messages_end_the_session() -> None:
    session = Session(live_log(), house(), EVERYONE, NOW_S)
    for _ in range(MESSAGES_PER_MINUTE):
        session.receive('{"type":"ping"}', NOW_S)
    assert session.close is None
    session.receive('{"type":"ping"}', NOW_S)
    assert session.close is not None
    assert session.close.code == CloseCode.RATE


def test_wrong_names_are_answered_and_end_nothing() -> None:
    log = live_log()
    session = Session(log, house(), EVERYONE, NOW_S)
    for message in (
        {"type": "unsubscribe", "id": "b"},
        {"type": "update", "id": "b"},
        {"type": "subscribe", "id": "a"},
    ):
        session.receive(json.dumps(message), NOW_S)
    session.receive('{"type":"subscribe","id":"a"}', NOW_S)
    errors = of_type(map(json.loads, session.take(NOW_S)), "error")
    assert [error["code"] for error in errors] == [*["unknown_subscription"] * 2, "too_many_subscriptions"]
    session.receive('{"type":"unsubscribe","id":"a"}', NOW_S)
    assert log.followers == set()
    assert session.close is None
