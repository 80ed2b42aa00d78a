"""A vehicle that falls silent against its own rhythm has an episode of its own, however the stream is cut."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.episodes import EpisodeChange, EpisodeRules, EpisodeTracker
from tests.fleet.detection.judged_events import ALARM, CALM, SEVERE, E, follow, kinds

START_S = 1_000.0
HOUR_S, DAY_S = 3_600.0, 86_400.0
RULES = EpisodeRules(silent_after_s=120.0)


def spoken(vehicle: str, first_s: float, last_s: float, every_s: float = 1.0, **fields: object) -> list[E]:
    """Report regularly; `batch_s` is for how long events are kept before they are delivered together."""
    batch_s = fields.pop("batch_s", 0.0)
    assert isinstance(batch_s, float)
    events = []
    for place in range(int((last_s - first_s) / every_s) + 1):
        at_s = START_S + first_s + place * every_s
        delivered_s = at_s if batch_s == 0 else (at_s // batch_s + 1) * batch_s
        events.append(E(at_s, vehicle=vehicle, appended_at_s=delivered_s, **fields))  # type: ignore[arg-type]
    return events


def in_log_order(*streams: list[E]) -> list[E]:
    return sorted((event for stream in streams for event in stream), key=lambda event: event.appended_at_s or 0.0)


def silences(changes: list[EpisodeChange]) -> list[tuple[str, str, float, float | None]]:
    """Say of each change of a silence: what, whose, since when, until when; both from the start."""
    return [
        (
            change.change,
            change.episode.vehicle_id,
            change.episode.opened_at - START_S,
            None if change.episode.closed_at is None else change.episode.closed_at - START_S,
        )
        for change in changes
        if change.episode.cause == "silent"
    ]


def found(*streams: list[E], rules: EpisodeRules = RULES) -> list[tuple[str, str, float, float | None]]:
    return silences(follow(EpisodeTracker(rules), in_log_order(*streams))[1])


def test_a_vehicle_that_falls_silent_is_found_by_the_others_records() -> None:
    tracker = EpisodeTracker(RULES)
    events = in_log_order(spoken("V", 0, 100, 2.0, tenant="north"), spoken("W", 0.5, 300))
    ids, [opened] = follow(tracker, events)
    by = next(place for place, event in enumerate(events) if event.time_s == opened.episode.updated_at)
    assert set(ids) == {None}, "no event belongs to it"
    assert msgspec.to_builtins(opened.episode) == {
        "episodeId": f"V:2:{by}",
        "vehicleId": "V",
        "tenantId": "north",
        "state": "open",
        "openedAt": START_S + 100,
        "updatedAt": events[by].time_s,
        "closedAt": None,
        "cause": "silent",
        "severity": 0.75,
        "peakError": 0.0,
        "events": 0,
        "anomalousEvents": 0,
        "worst": [],
        "closedBy": None,
        "modelVersion": "m1",
        "usualPause": 2.0,
    }
    assert opened.source == f"2:{by}", "the record that moved the log's time on"
    assert 120 < opened.episode.updated_at - opened.episode.opened_at < 126


def test_holes_of_some_minutes_are_no_silence_by_default() -> None:
    streams = spoken("V", 0, 100), spoken("V", 695, 700), spoken("W", 0.5, 1310)
    assert found(*streams, rules=EpisodeRules()) == [("opened", "V", 700, None)]


def test_it_closes_when_the_vehicle_speaks_again_and_may_come_again() -> None:
    streams = spoken("V", 0, 100), spoken("V", 400, 500), spoken("V", 900, 901), spoken("W", 0.5, 1000)
    assert found(*streams) == [
        ("opened", "V", 100, None),
        ("closed", "V", 100, 400),
        ("opened", "V", 500, None),
        ("closed", "V", 500, 900),
    ]


def test_an_event_that_ends_a_silence_is_judged_as_any_other() -> None:
    again = [E(START_S + 400 + k, SEVERE, appended_at_s=START_S + 400 + k) for k in range(2)]
    _, changes = follow(EpisodeTracker(RULES), in_log_order(spoken("V", 0, 100), again, spoken("W", 0.5, 500)))
    assert [(c.change, c.episode.cause) for c in changes] == [
        ("opened", "silent"),
        ("closed", "silent"),
        ("opened", "overspeed"),
    ]
    assert changes[1].episode.closed_by == "recovery"


def test_the_open_episode_of_a_vehicle_that_falls_silent_is_over() -> None:
    alarms = [E(START_S + k, ALARM, usual_interval_s=100.0, appended_at_s=START_S + k) for k in range(100)]
    _, changes = follow(EpisodeTracker(RULES), in_log_order(alarms, spoken("W", 0.5, 300)))
    assert [(c.change, c.episode.cause, c.episode.closed_by) for c in changes if c.change != "updated"] == [
        ("opened", "overspeed", None),
        ("closed", "overspeed", "silence"),
        ("opened", "silent", None),
    ]


def test_a_rhythm_is_no_silence() -> None:
    assert found(spoken("V", 0, 8 * HOUR_S, 900.0), spoken("W", 0.5, 8 * HOUR_S, 10.0)) == []


def test_the_rarer_a_vehicle_reports_the_longer_is_its_silence() -> None:
    streams = spoken("V", 0, 6000, 300.0), spoken("W", 0.5, 7200, 10.0)
    [(kind, _, since_s, _)] = found(*streams)
    assert (kind, since_s) == ("opened", 6000)
    assert found(streams[0], spoken("W", 0.5, 6890, 10.0)) == [], "three pauses are not over"


@pytest.mark.parametrize("batch_s", [60.0, 300.0])
def test_a_sender_that_delivers_in_batches_is_not_silent_between_them(batch_s: float) -> None:
    assert found(spoken("V", 0, 2 * HOUR_S, batch_s=batch_s), spoken("W", 0.5, 2 * HOUR_S, 10.0)) == []


def test_pauses_that_have_happened_twice_are_usual() -> None:
    spells = [spoken("V", start_s, start_s + 60) for start_s in range(0, 5000, 460)]
    changes = found(*spells, spoken("W", 0.5, 5000))
    assert [since_s for kind, _, since_s, _ in changes if kind == "opened"] == [60, 520]


def test_a_vehicle_that_stands_may_be_switched_off() -> None:
    streams = spoken("V", 0, 100), spoken("V", 101, 400, stands=True), spoken("W", 0.5, 4 * HOUR_S)
    assert found(*streams) == []


def test_a_vehicle_that_reports_while_it_is_parked_is_missed_when_it_stops() -> None:
    parked_until_s = 2 * HOUR_S + 100
    streams = spoken("V", 0, 99), spoken("V", 100, parked_until_s, 60.0, stands=True)
    assert found(*streams, spoken("W", 0.5, 3 * HOUR_S, 10.0)) == [("opened", "V", parked_until_s, None)]
    driving_on = spoken("V", parked_until_s + 60, 3 * HOUR_S)
    assert found(*streams, driving_on, spoken("W", 0.5, 3 * HOUR_S, 10.0)) == []


def test_while_nobody_is_heard_the_log_is_silent_and_not_the_vehicles() -> None:
    fleet = [f"V{number}" for number in range(5)]
    before = [spoken(vehicle, 0, 100) for vehicle in fleet]
    after = [spoken(vehicle, 2 * HOUR_S, 2 * HOUR_S + 600) for vehicle in fleet[1:]]
    assert found(*before) == []
    assert found(*before, *after) == [("opened", "V0", 100, None)], "only who does not come back with the others"


def test_a_message_that_is_sent_again_and_again_is_no_sign_of_life() -> None:
    again = spoken("V", 101, 300, repeat=True)
    assert [kind for kind, *_ in found(spoken("V", 0, 100), again, spoken("W", 0.5, 300))] == ["opened"]


def test_a_vehicle_that_is_hardly_known_is_not_judged() -> None:
    assert found(spoken("V", 0, 40), spoken("W", 0.5, 1000)) == []


def test_without_a_log_there_is_no_silence() -> None:
    events = [E(event.time_s, vehicle=event.vehicle, appended_at_s=0.0) for event in spoken("V", 0, 100)]
    events += [E(event.time_s, vehicle="W", appended_at_s=0.0) for event in spoken("W", 0, 1000)]
    assert silences(follow(EpisodeTracker(RULES), events)[1]) == []


def test_a_vehicle_that_never_comes_back_is_forgotten_after_a_week() -> None:
    tracker = EpisodeTracker(RULES)
    _, changes = follow(tracker, in_log_order(spoken("V", 0, 100), spoken("W", 0.5, 7.1 * DAY_S, 50.0)))
    assert [(c.change, c.episode.vehicle_id, c.episode.closed_by) for c in changes] == [
        ("opened", "V", None),
        ("closed", "V", "silence"),
    ]
    assert (len(tracker), tracker.evictions) == (0, 1)


def test_memory_is_bounded_and_whoever_is_unheard_the_longest_makes_room() -> None:
    tracker = EpisodeTracker(EpisodeRules(silent_after_s=120.0, max_vehicles=16))
    crowd = [spoken(f"V{number}", 10.0 * number, 10.0 * number + 60, 5.0) for number in range(200)]
    _, changes = follow(tracker, in_log_order(*crowd))
    # Those whom the last seconds bring come on top.
    assert 150 < tracker.evictions <= 200 - 15
    assert set(kinds(changes)) <= {"opened", "closed"}
    assert len(tracker) <= 16


def test_a_state_from_before_there_were_silences_is_continued() -> None:
    tracker = EpisodeTracker(RULES)
    follow(tracker, [E(START_S, SEVERE), E(START_S + 1, SEVERE)])
    kept = msgspec.msgpack.decode(tracker.snapshot())
    old = msgspec.msgpack.encode({name: kept[name] for name in ("log_s", "evictions", "watched")})
    restored = EpisodeTracker.restore(old, RULES)
    assert len(restored) == 1
    streams = spoken("V", 1000, 1100), spoken("W", 1000, 1400)
    assert ("opened", "V", 1100.0, None) in silences(follow(restored, in_log_order(*streams), first_offset=2)[1])


def test_a_snapshot_that_contradicts_itself_is_refused() -> None:
    tracker = EpisodeTracker(RULES)
    follow(tracker, spoken("V", 0, 100))
    kept = msgspec.msgpack.decode(tracker.snapshot())
    kept["heard"]["vehicle_ids"] = ["V", "W"]
    with pytest.raises(ValueError, match="other vehicles"):
        EpisodeTracker.restore(msgspec.msgpack.encode(kept))


# Whatever the schedule ------------------------------------------------------------------------------------------------

spells = st.tuples(
    st.sampled_from([0.5, 30.0, 130.0, 500.0, 4000.0]),  # seconds of silence before it
    st.sampled_from([1.7, 5.0, 20.0, 70.0]),  # from event to event
    st.integers(1, 25),
    st.booleans(),  # stands
    st.sampled_from([CALM, CALM, ALARM, SEVERE]),
    st.sampled_from([False, False, False, True]),  # a repeat
)


def _scheduled(spells_of: dict[str, list[tuple[float, float, int, bool, float, bool]]]) -> list[E]:
    events = []
    for vehicle, own in spells_of.items():
        at_s = START_S
        for silent_s, every_s, count, stands, severity, repeat in own:
            at_s += silent_s
            for _ in range(count):
                at_s += every_s
                events.append(E(at_s, severity, None, vehicle, at_s, repeat, stands=stands))
    return in_log_order(events)


schedules = st.fixed_dictionaries({name: st.lists(spells, max_size=5) for name in "ABC"}).map(_scheduled)
few = st.builds(EpisodeRules, max_vehicles=st.integers(1, 4), silent_after_s=st.sampled_from([40.0, 120.0, 300.0]))


@given(schedules, few, st.data())
def test_silences_do_not_depend_on_how_the_stream_is_cut(
    events: list[E], rules: EpisodeRules, data: st.DataObject
) -> None:
    places = st.lists(st.integers(0, len(events)), max_size=8).map(tuple)
    one, other, single = (EpisodeTracker(rules) for _ in range(3))
    whole = follow(one, events)
    assert follow(other, events, data.draw(places)) == whole
    assert follow(single, events, tuple(range(len(events)))) == whole
    assert one.snapshot() == other.snapshot() == single.snapshot()


@given(schedules, few, st.data())
def test_a_restored_tracker_notices_the_same_silences(
    events: list[E], rules: EpisodeRules, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(events)))
    tracker = EpisodeTracker(rules)
    follow(tracker, events[:at])
    restored = EpisodeTracker.restore(tracker.snapshot(), rules)
    assert follow(restored, events[at:], first_offset=at) == follow(tracker, events[at:], first_offset=at)
    assert restored.snapshot() == tracker.snapshot()


@given(schedules, few)
def test_every_silence_keeps_the_contract(events: list[E], rules: EpisodeRules) -> None:
    last_heard_s: dict[str, float] = {}
    tracker, open_by_vehicle = EpisodeTracker(rules), dict[str, str]()
    for place, event in enumerate(events):
        _, changes = follow(tracker, [event], first_offset=place)
        for change in changes:
            episode = change.episode
            vehicle = episode.vehicle_id
            if change.change == "opened":
                assert vehicle not in open_by_vehicle, "at most one is open per vehicle"
                open_by_vehicle[vehicle] = episode.episode_id
            assert open_by_vehicle[vehicle] == episode.episode_id
            if change.change == "closed":
                del open_by_vehicle[vehicle]
            if episode.cause == "silent":
                assert change.source == f"2:{place}"
                assert episode.opened_at == last_heard_s[vehicle]
                assert episode.updated_at - episode.opened_at > rules.silent_after_s
        if not event.repeat:
            last_heard_s[event.vehicle] = event.time_s
