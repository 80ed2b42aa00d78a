import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.episode_search import EpisodeFilter, search
from fleet.delivery.fleet_view import RATE_WINDOW_S, ArrivalStatistics, EpisodeRecord, FleetView
from fleet.delivery.handling import Handlings
from fleet.delivery.live_feed import Selection
from fleet.events.fields import DEFAULT_TENANT

NOW_S = 1_764_533_900.0


def scored(vehicle_id: str, offset: int, *, partition: int = 0, time_s: float | str | None = None, **fields) -> bytes:
    event = {
        "vehicleId": vehicle_id,
        "timestamp": NOW_S + offset if time_s is None else time_s,
        "speed": 50,
        "reconstruction_error": 0.1,
        "anomaly_threshold": 1.0,
        "is_anomaly": False,
        "severity": 0.1,
        "modelVersion": "v1",
        "source": f"{partition}:{offset}",
        "appendedAt": NOW_S + offset * 0.001,
        "ingestedAt": NOW_S + 0.01,
        "scoredAt": NOW_S + 0.02,
        **fields,
    }
    return json.dumps(event).encode()


def view(**bounds) -> FleetView:
    return FleetView(**{"max_vehicles": 100, "history_events": 1_000, "started_at_s": NOW_S, **bounds})


def history(fleet: FleetView, vehicle_id: str) -> list[bytes]:
    state = fleet.vehicle(vehicle_id)
    assert state is not None
    return list(state.history)


def test_view_passes_on_the_bytes_as_they_came():
    fleet, body = view(), scored("A", 1, is_anomaly=True)
    block = fleet.receive([body], NOW_S)
    assert list(block.bodies) == [body]
    assert list(block.vehicle_ids) == ["A"]
    assert list(block.anomalous) == [True]
    assert fleet.latest(10) == [body]


def test_view_drops_and_counts_duplicates_by_partition():
    fleet = view()
    values = [scored("A", 1), scored("A", 2), scored("B", 1, partition=1), scored("A", 1), scored("A", 2)]
    assert len(fleet.receive(values, NOW_S)) == 3
    assert fleet.duplicates == 2
    assert len(fleet.receive([scored("A", 3), scored("B", 1, partition=1)], NOW_S)) == 1
    assert fleet.duplicates == 3
    assert len(history(fleet, "A")) == 3


def test_view_goes_on_when_the_topic_was_made_anew():
    fleet = view()
    fleet.receive([scored("A", 500)], NOW_S)
    reborn = scored("A", 0, appendedAt=NOW_S + 60)
    assert list(fleet.receive([reborn], NOW_S).bodies) == [reborn]
    assert fleet.duplicates == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"nonsense",
        b"[]",
        b'{"vehicleId":"A"}',
        scored("A", 1, source="no source"),
        scored("A", 1, timestamp="yesterday"),
        scored("A", 1, is_anomaly=None),
        b'{"a":' * 5_000,
    ],
    ids=["null", "empty", "text", "array", "fields", "source", "timestamp", "type", "nesting"],
)
def test_view_counts_what_is_no_scored_event_and_goes_on(value):
    fleet = view()
    assert len(fleet.receive([value, scored("B", 2)], NOW_S)) == 1
    assert fleet.unreadable == 1


def test_latest_is_the_newest_by_event_time_and_a_late_event_is_history():
    fleet = view()
    newest, late = scored("A", 1, time_s=NOW_S + 10), scored("A", 2, time_s=NOW_S + 5)
    fleet.receive([newest, late], NOW_S)
    assert fleet.latest(1) == [newest]
    assert history(fleet, "A") == [newest, late]


def test_latest_recovers_from_a_clock_that_ran_ahead():
    fleet = view()
    ahead, sane = scored("A", 1, time_s=NOW_S + 86_400), scored("A", 2, time_s=NOW_S)
    fleet.receive([ahead, sane], NOW_S)
    assert fleet.latest(1) == [sane]


def test_latest_reads_iso_times():
    fleet = view()
    first, second = scored("A", 1, time_s="2025-11-30T20:17:46Z"), scored("A", 2, time_s="2025-11-30T20:17:47Z")
    fleet.receive([second, first], NOW_S)
    fleet.receive([scored("B", 3)], NOW_S)
    assert fleet.latest(2)[1] == second


def test_latest_lists_the_most_recently_heard_first():
    fleet = view()
    fleet.receive([scored(name, i) for i, name in enumerate("ABCA")], NOW_S)
    assert [json.loads(body)["vehicleId"] for body in fleet.latest(2)] == ["A", "C"]
    assert fleet.vehicle_count() == 3


@given(
    st.lists(st.sampled_from("ABCDEFGH"), max_size=80),
    st.integers(1, 5),
    st.integers(1, 20),
)
def test_view_keeps_its_bounds_and_the_newest(vehicle_ids, max_vehicles, history_events):
    fleet = view(max_vehicles=max_vehicles, history_events=history_events)
    fleet.receive([scored(name, i) for i, name in enumerate(vehicle_ids)], NOW_S)
    heard_last = list(dict.fromkeys(reversed(vehicle_ids)))
    latest = [json.loads(body) for body in fleet.latest(100)]
    assert [event["vehicleId"] for event in latest] == heard_last[:max_vehicles]
    kept = [body for event in latest for body in history(fleet, event["vehicleId"])]
    assert len(kept) <= history_events
    assert fleet.history_length == min(len(vehicle_ids), history_events)
    recent = range(max(0, len(vehicle_ids) - history_events), len(vehicle_ids))
    for event in latest:
        sources = [int(json.loads(body)["source"].split(":")[1]) for body in history(fleet, event["vehicleId"])]
        mine = [i for i in recent if vehicle_ids[i] == event["vehicleId"]]
        assert sources == mine[len(mine) - len(sources) :], "the newest, oldest first, without a hole"
        if not fleet.evicted_vehicles:
            assert sources == mine
    if len(set(vehicle_ids)) <= max_vehicles:
        assert fleet.evicted_vehicles == 0
    else:
        assert fleet.evicted_vehicles > 0


def test_histories_hold_exactly_the_last_events_whatever_the_blocks():
    fleet, most, values, vehicle_ids = view(history_events=2_000), 2_000, [], []
    for size in (1, 700, 2_500, 5, 0, 1_500, 1, 900):
        block = range(len(values), len(values) + size)
        vehicle_ids += [f"V{i * i % 7}" for i in block]
        values += [scored(vehicle_ids[i], i) for i in block]
        fleet.receive(values[len(values) - size :], NOW_S)
        assert fleet.history_length == min(len(values), most)
        for vehicle_id in set(vehicle_ids):
            recent = zip(vehicle_ids[-most:], values[-most:], strict=True)
            assert history(fleet, vehicle_id) == [body for name, body in recent if name == vehicle_id]


@given(
    st.lists(
        st.one_of(
            st.builds(scored, st.sampled_from("AB"), st.integers(0, 9), partition=st.integers(0, 1)),
            st.sampled_from([None, b"nonsense", scored("A", 1, source="1"), scored("A", 1, timestamp="soon")]),
        ),
        max_size=30,
    ),
    st.integers(1, 30),
)
def test_a_block_is_taken_as_its_records_one_by_one(values, size):
    together, alone = view(), view()
    for start in range(0, len(values), size):
        block = together.receive(values[start : start + size], NOW_S)
        parts = [alone.receive([value], NOW_S) for value in values[start : start + size]]
        assert list(block.bodies) == [body for part in parts for body in part.bodies]
    assert (together.duplicates, together.unreadable) == (alone.duplicates, alone.unreadable)
    assert together.latest(10) == alone.latest(10)


def episode(name: str, published_at_s: float, *, state: str = "open", vehicle_id: str = "A") -> EpisodeRecord:
    value = {"episodeId": name, "vehicleId": vehicle_id, "state": state, "updatedAt": "soon", "cause": "overspeed"}
    return EpisodeRecord(name.encode(), json.dumps(value).encode(), published_at_s)


def names(fleet: FleetView, limit: int = 100, **wanted: Any) -> list[str]:
    found = search(fleet, Handlings(10), EpisodeFilter(**wanted), tenant=None, now_s=NOW_S, limit=limit)
    return [json.loads(episode.body)["episodeId"] for episode, _ in found.episodes]


def test_an_episode_says_when_its_record_was_published_and_keeps_its_own_text():
    fleet, value = view(), b' {"episodeId":"e","vehicleId":"A","state":"open" , "n" : 1.50 } \n'
    fleet.receive_episodes([EpisodeRecord(b"e", value, 1764533870.125)])
    [known] = fleet.episodes()
    body = known.body
    assert body.startswith(value.rstrip()[:-1])
    assert json.loads(body) == {**json.loads(value), "publishedAt": 1764533870.125}


def test_episodes_are_found_by_state_vehicle_and_time():
    fleet = view()
    fleet.receive_episodes(
        [episode("e1", 100.0), episode("e2", 200.0, state="closed"), episode("e3", 300.0, vehicle_id="B")]
    )
    assert names(fleet) == ["e3", "e2", "e1"]
    assert names(fleet, state="open") == ["e3", "e1"]
    assert names(fleet, vehicle_id="A") == ["e2", "e1"]
    assert names(fleet, since_s=200.0) == ["e3", "e2"]
    assert names(fleet, state="open", vehicle_id="A", since_s=150.0) == []
    assert names(fleet, limit=1) == ["e3"]


def test_an_episodes_newest_record_counts_and_a_null_removes_it():
    fleet = view()
    fleet.receive_episodes([episode("e1", 100.0), episode("e2", 150.0), episode("e1", 200.0, state="closed")])
    assert names(fleet, state="open") == ["e2"]
    assert names(fleet) == ["e1", "e2"]
    fleet.receive_episodes([EpisodeRecord(*record, 300.0) for record in ((b"e1", None), (b"no", None), (None, b"x"))])
    assert names(fleet) == ["e2"]
    assert fleet.unreadable == 1


def test_closed_episodes_make_room_before_open_ones():
    fleet = view(max_episodes=16)
    fleet.receive_episodes([episode(f"open{i}", 1.0) for i in range(10)])
    fleet.receive_episodes([episode(f"closed{i}", 2.0, state="closed") for i in range(20)])
    kept = names(fleet)
    assert len(kept) <= 16
    assert len([name for name in kept if name.startswith("open")]) == 10
    assert fleet.evicted_episodes == 30 - len(kept)


def test_rates_and_latencies_are_those_of_recent_arrivals():
    arrivals = ArrivalStatistics(started_at_s=NOW_S)
    arrivals.add(NOW_S + 10, [NOW_S + 9.9] * 99 + [NOW_S + 9.0], [NOW_S + 9.95] * 100, [0] * 60 + [1] * 40)
    assert arrivals.events_per_second(NOW_S + 10) == pytest.approx(100 / RATE_WINDOW_S)
    assert arrivals.events_per_second(NOW_S + 10, 1) == pytest.approx(40 / RATE_WINDOW_S)
    assert arrivals.events_per_second(NOW_S + 10, 7) == 0
    latency = arrivals.latency_ms(NOW_S + 10)
    assert latency is not None
    assert latency.p50 == pytest.approx(100, abs=0.1)
    assert 100 < latency.p99 <= 1_000
    only_zero = arrivals.latency_ms(NOW_S + 10, 0)
    assert only_zero is not None
    assert only_zero.p99 == pytest.approx(100, abs=0.1)
    assert arrivals.events_per_second(NOW_S + 20) == 0
    assert arrivals.latency_ms(NOW_S + 100) is None


def test_what_was_scored_before_the_start_counts_in_no_rate():
    arrivals = ArrivalStatistics(started_at_s=NOW_S)
    arrivals.add(NOW_S + 1, [NOW_S - 600] * 50, [NOW_S - 500] * 50, [0] * 50)
    assert arrivals.events_per_second(NOW_S + 1) == 0
    assert arrivals.latency_ms(NOW_S + 1) is None


def test_a_clock_ahead_of_ours_gives_no_negative_latency():
    arrivals = ArrivalStatistics(started_at_s=NOW_S)
    arrivals.add(NOW_S + 1, [NOW_S + 2], [NOW_S + 1], [0])
    assert arrivals.latency_ms(NOW_S + 1) == (0, 0, 0)


# Tenants ---------------------------------------------------------------------------------------------------------


TENANTS = (None, "", DEFAULT_TENANT, "north", "south")
tenant_events = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(TENANTS)), max_size=30)


def owner(tenant: str | None) -> str:
    return tenant or DEFAULT_TENANT


@given(tenant_events, st.sampled_from(["default", "north", "south", "nobody"]))
def test_a_tenant_is_told_of_its_own_events_alone(rows, asking):
    """What it is told is what a view would tell that had seen no others."""
    fleet, alone = view(), view()
    values = [scored(vehicle, n, tenantId=tenant) for n, (vehicle, tenant) in enumerate(rows)]
    own = [value for value, (_, tenant) in zip(values, rows, strict=True) if owner(tenant) == asking]
    block = fleet.receive(values, NOW_S)
    alone.receive(own, NOW_S)
    assert list(block.select(Selection(tenant=asking)).bodies) == own
    assert fleet.latest(100, asking) == alone.latest(100)
    assert fleet.vehicle_count(asking) == alone.vehicle_count()
    assert [fleet.vehicle(name, asking) for name in "AB"] == [alone.vehicle(name, asking) for name in "AB"]


def test_vehicles_of_the_same_name_stay_apart():
    fleet = view()
    north, south = scored("A", 1, tenantId="north"), scored("A", 2, tenantId="south")
    fleet.receive([north, south], NOW_S)
    assert (fleet.vehicle_count(), fleet.latest(10)) == (2, [south, north])
    assert fleet.vehicle("A", "north").history == [north]
    assert fleet.vehicle("A", DEFAULT_TENANT) is None
    assert fleet.vehicle("A").latest == south, "without a tenant, the one heard most recently"


def test_episodes_are_told_to_their_tenant_alone():
    fleet = view()
    records = [(f"A:0:{n}", tenant) for n, tenant in enumerate(["north", "south", None])]
    for name, tenant in records:
        value = json.dumps({"episodeId": name, "vehicleId": "A", "tenantId": tenant, "state": "open"}).encode()
        fleet.receive_episodes([EpisodeRecord(name.encode(), value, NOW_S)])
    for name, tenant in records:
        [found] = [known.body for known in fleet.episodes(owner(tenant))]
        assert json.loads(found)["episodeId"] == name
    assert len(list(fleet.episodes())) == 3
