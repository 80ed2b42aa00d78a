"""Episodes open, go on and close by the rules, however the stream is cut."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.episodes import EpisodeChange, EpisodeRules, EpisodeTracker
from tests.fleet.detection.judged_events import ALARM, CALM, PARTITION, SEVERE, UNSURE, E, block, follow, kinds

RULES = EpisodeRules(recovery_events=4, silence_s=120)


def drive(*severities: float, start_s: float = 1000.0) -> list[E]:
    return [E(start_s + second, severity) for second, severity in enumerate(severities)]


def test_an_episode_opens_when_m_of_the_last_n_alarmed() -> None:
    ids, changes = follow(EpisodeTracker(), drive(CALM, ALARM, CALM, ALARM, CALM, ALARM))
    assert ids == [None] * 5 + ["V:2:5"]
    [opened] = changes
    assert (opened.change, opened.source) == ("opened", "2:5")
    assert json.loads(msgspec.json.encode(opened.episode)) == {
        "episodeId": "V:2:5",
        "vehicleId": "V",
        "tenantId": None,
        "state": "open",
        "openedAt": 1001.0,
        "updatedAt": 1005.0,
        "closedAt": None,
        "cause": "overspeed",
        "severity": ALARM,
        "peakError": 10 * ALARM,
        "events": 5,
        "anomalousEvents": 3,
        "worst": ["2:1", "2:3", "2:5"],
        "closedBy": None,
        "modelVersion": "m1",
    }


def test_alarms_that_lie_too_far_apart_open_nothing() -> None:
    severities = [ALARM, ALARM, CALM, CALM, CALM] * 4
    tracker = EpisodeTracker()
    assert follow(tracker, drive(*severities)) == ([None] * 20, [])
    follow(tracker, drive(*[CALM] * 5, start_s=1020), first_offset=20)
    assert len(tracker) == 0, "nothing is remembered of a vehicle whose last events were ordinary"


def test_a_severe_alarm_opens_at_once_and_names_its_cause() -> None:
    events = [E(1.0, ALARM, "context"), E(2.0, ALARM, "context"), E(3.0, CALM), E(4.0, SEVERE, "gps_jump")]
    rules = EpisodeRules(alarms_to_open=4)
    ids, [opened] = follow(EpisodeTracker(rules), events)
    assert ids == [None, None, None, "V:2:3"]
    assert (opened.episode.cause, opened.episode.opened_at, opened.episode.events) == ("gps_jump", 4.0, 1)
    assert opened.episode.worst == ["2:3"]


def test_alarms_of_a_vehicle_that_reports_every_five_minutes_are_one_episode() -> None:
    events = [E(1000.0 + 300.0 * place, ALARM, usual_interval_s=300.0) for place in range(8)]
    ids, changes = follow(EpisodeTracker(), events, cuts=(2, 5))
    assert kinds(changes) == ["opened", *["updated"] * 5]
    assert ids[2:] == [ids[2]] * 6
    assert ids[2] is not None


def test_a_vehicle_that_reports_seldom_is_silent_after_four_of_its_intervals() -> None:
    tracker = EpisodeTracker()
    seldom = [E(1000.0 + 300.0 * place, ALARM, usual_interval_s=300.0) for place in range(4)]
    assert kinds(follow(tracker, seldom)[1])[0] == "opened"
    for after_s, closed in ((1199.0, []), (1201.0, ["closed"])):
        other = [E(1900.0 + after_s, vehicle="W")]
        assert kinds(follow(tracker, other, first_offset=10)[1]) == closed


@pytest.mark.parametrize(
    ("severities", "opening"),
    [
        ((SEVERE, CALM, CALM), None),
        ((SEVERE, CALM, SEVERE, CALM), None),
        ((SEVERE, SEVERE), 1),
        ((ALARM, SEVERE), 1),
        ((ALARM, CALM, ALARM, CALM, ALARM), 4),
    ],
    ids=["once", "twice apart", "confirmed", "confirmed by a lesser one", "M of N"],
)
def test_a_doubtful_alarm_opens_nothing_alone(severities: tuple[float, ...], opening: int | None) -> None:
    events = [replace(event, doubtful=event.severity >= ALARM) for event in drive(*severities)]
    _, changes = follow(EpisodeTracker(RULES), events)
    assert [change.source for change in changes if change.change == "opened"] == (
        [] if opening is None else [f"{PARTITION}:{opening}"]
    )


def test_messages_that_are_lost_open_an_episode_of_their_own_once_the_cause_before_them_is_silent() -> None:
    lingering = drive(SEVERE, *[UNSURE] * 4)
    begins = len(lingering)
    lost = [E(1000.0 + begins, SEVERE, "message_loss"), E(1001.0 + begins, UNSURE)]
    ids, changes = follow(EpisodeTracker(RULES), lingering + lost)
    assert ids == ["V:2:0"] * begins + [f"V:2:{begins}"] * 2
    first, closed, second = changes
    assert (kinds(changes), closed.episode.closed_by) == (["opened", "closed", "opened"], "recovery")
    assert (closed.episode.episode_id, closed.episode.cause) == (first.episode.episode_id, "overspeed")
    assert second.episode.cause == "message_loss"


@pytest.mark.parametrize(
    "events",
    [
        [E(1000.0, SEVERE), E(1001.0, UNSURE), E(1002.0, SEVERE, "message_loss")],
        [E(1000.0, SEVERE), *(E(1001.0 + k, UNSURE) for k in range(4)), E(1005.0, SEVERE, "sensor_bias")],
        [E(1000.0, SEVERE), *(E(1001.0 + k, UNSURE) for k in range(4)), E(1005.0, ALARM, "message_loss")],
    ],
    ids=["too soon", "an after-effect", "not severe"],
)
def test_what_may_belong_to_an_open_episode_does_not_end_it(events: list[E]) -> None:
    ids, changes = follow(EpisodeTracker(RULES), events)
    assert set(ids) == {"V:2:0"}
    assert "closed" not in kinds(changes)


def test_recovery_needs_consecutive_events_well_below_the_alarm() -> None:
    severities = (SEVERE, CALM, CALM, CALM, UNSURE, CALM, CALM, CALM, CALM, CALM)
    ids, changes = follow(EpisodeTracker(RULES), drive(*severities))
    assert ids == ["V:2:0"] * 9 + [None], "the closing event still belongs to the episode"
    assert kinds(changes) == ["opened", "closed"]
    closed = changes[-1].episode
    assert (closed.state, closed.closed_by, closed.closed_at) == ("closed", "recovery", 1008.0)
    assert (closed.events, closed.anomalous_events) == (9, 1)


def test_a_new_episode_of_a_vehicle_needs_new_evidence() -> None:
    rules = EpisodeRules(recovery_events=1)
    severities = (ALARM, ALARM, ALARM, CALM, ALARM, ALARM, CALM, ALARM)
    ids, changes = follow(EpisodeTracker(rules), drive(*severities))
    assert kinds(changes) == ["opened", "closed", "opened"]
    assert ids == [None, None, "V:2:2", "V:2:2", None, None, None, "V:2:7"]


def test_a_gap_in_event_time_closes_before_anything_else() -> None:
    tracker = EpisodeTracker(RULES)
    events = [E(1000, SEVERE, appended_at_s=50), E(1120, SEVERE, appended_at_s=50), E(1240.5, SEVERE, appended_at_s=51)]
    ids, changes = follow(tracker, events)
    assert ids == ["V:2:0", "V:2:0", "V:2:2"]
    assert kinds(changes) == ["opened", "updated", "closed", "opened"]
    closed = changes[2]
    assert (closed.source, closed.episode.closed_by, closed.episode.closed_at) == ("2:1", "silence", 1120)


def test_a_gap_forgets_single_alarms_too() -> None:
    events = [E(0, ALARM), E(1, ALARM), E(130, ALARM), E(131, ALARM)]
    assert follow(EpisodeTracker(RULES), events) == ([None] * 4, [])


def test_other_vehicles_records_move_time_on() -> None:
    tracker = EpisodeTracker(RULES)
    lone = E(1000, SEVERE, vehicle="silent", appended_at_s=2000)
    others = [E(1000, vehicle=f"V{i}", appended_at_s=2000 + i) for i in range(0, 200, 10)]
    _, changes = follow(tracker, [lone, *others])
    assert [(c.change, c.episode.closed_by) for c in changes] == [("opened", None), ("closed", "silence")]
    assert changes[1].episode.closed_at == 1000, "it ended when it was last heard of, not when that was noticed"
    assert len(tracker) == 0


def test_late_events_and_clocks_set_back_are_no_silence() -> None:
    late = [E(1000, SEVERE), E(1100, SEVERE), E(990, SEVERE), E(1110, SEVERE)]
    ids, _ = follow(EpisodeTracker(RULES), late)
    assert set(ids) == {"V:2:0"}
    set_back = [E(5000, SEVERE), E(1000, SEVERE), *[E(1001 + i) for i in range(4)]]
    ids, changes = follow(EpisodeTracker(RULES), set_back)
    assert set(ids) == {"V:2:0"}
    assert changes[-1].episode.closed_at == 5000, "never before it opened"
    set_back_then_silent = [E(t, SEVERE, appended_at_s=0) for t in (5000, 1000, 1200)]
    assert follow(EpisodeTracker(RULES), set_back_then_silent)[0] == ["V:2:0", "V:2:0", "V:2:2"]


def test_repeats_change_nothing() -> None:
    events = drive(ALARM, ALARM, CALM, ALARM, CALM, CALM)
    with_repeats = [copy for e in events for copy in (e, E(e.time_s, SEVERE, repeat=True))]
    plain_ids, plain = follow(EpisodeTracker(RULES), events)
    ids, changes = follow(EpisodeTracker(RULES), with_repeats)
    assert ids[1::2] == [None] * 6
    assert [i is None for i in ids[::2]] == [i is None for i in plain_ids]
    assert [c.episode.events for c in changes] == [c.episode.events for c in plain]


def test_the_cause_is_the_one_with_the_largest_summed_severity() -> None:
    events = [
        E(0, 0.55, "sensor_bias"),
        E(1, 0.65, "engine_overheat"),
        E(2, 0.55, "sensor_bias"),
        E(3, 0.66, "engine_overheat"),
    ]
    _, changes = follow(EpisodeTracker(RULES), events)
    assert [c.episode.cause for c in changes] == ["sensor_bias", "engine_overheat"]
    assert kinds(changes) == ["opened", "updated"], "a new cause is published at once"


def test_updates_are_throttled_and_news_is_not() -> None:
    steady = [E(float(second), 0.6) for second in range(60)]
    _, changes = follow(EpisodeTracker(RULES), steady)
    assert [c.episode.updated_at for c in changes] == [2, 12, 22, 32, 42, 52]
    rising = [E(0.1 * n, 0.5 + 0.004 * n) for n in range(100)]
    _, changes = follow(EpisodeTracker(EpisodeRules(open_severity=1.0)), rising)
    assert 3 <= len(changes) <= 6
    assert all(b.episode.severity - a.episode.severity < 0.11 for a, b in pairwise(changes))


def test_the_worst_events_are_three_by_error() -> None:
    _, changes = follow(EpisodeTracker(RULES), drive(0.91, 0.6, 0.97, 0.7, 0.95, 0.92, *[CALM] * 4))
    closed = changes[-1].episode
    assert closed.worst == ["2:2", "2:4", "2:5"]
    assert (closed.severity, closed.peak_error) == (0.97, 9.7)


def test_memory_is_bounded_and_the_longest_silent_makes_room() -> None:
    tracker = EpisodeTracker(EpisodeRules(max_vehicles=3))
    events = [E(1000 + i, SEVERE, vehicle=f"V{i}") for i in range(3)]
    events += [E(1004, SEVERE, vehicle="V0"), E(1005, SEVERE, vehicle="V9")]
    _, changes = follow(tracker, events)
    assert (len(tracker), tracker.evictions) == (3, 1)
    [closed] = [c.episode for c in changes if c.change == "closed"]
    assert (closed.vehicle_id, closed.closed_by) == ("V1", "silence")


def test_the_tenant_is_the_opening_events() -> None:
    _, [opened] = follow(EpisodeTracker(), [E(0, SEVERE, tenant="north")])
    assert opened.episode.tenant_id == "north"


def test_the_version_is_the_latest_events() -> None:
    tracker = EpisodeTracker(RULES)
    follow(tracker, drive(SEVERE))
    _, changes = tracker.update(replace(block(drive(*[CALM] * 4, start_s=1001), 1), model_version="m2"))
    assert changes[-1].episode.model_version == "m2"


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"alarms_to_open": 6}, "alarms_to_open"),
        ({"alarms_to_open": 0}, "alarms_to_open"),
        ({"close_severity": 0.95}, "close_severity"),
        ({"recovery_events": 0}, "recovery_events"),
    ],
)
def test_rules_that_contradict_one_another_are_refused(rules: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        EpisodeRules(**rules)  # type: ignore[arg-type]


# Whatever the stream -------------------------------------------------------------------------------------------------

steps_s = st.sampled_from([0.0, 0.5, 1.0, 5.0, 40.0, 119.0, 121.0, -3.0, -500.0, 3600.0])
events_of_the_log = st.lists(
    st.builds(
        lambda *row: row,
        steps_s,
        st.sampled_from([0.0, 0.0, 0.2, 1.0, 30.0, 121.0, -2.0]),
        st.sampled_from([CALM, CALM, 0.3, UNSURE, ALARM, 0.7, SEVERE]),
        st.sampled_from(["overspeed", "gps_jump", None]),
        st.sampled_from("ABCD"),
        st.sampled_from([False, False, False, True]),
        st.booleans(),
    ),
    max_size=60,
).map(lambda rows: _laid_out(rows))
small_rules = st.builds(
    EpisodeRules,
    alarms_to_open=st.integers(1, 3),
    window_events=st.integers(3, 5),
    recovery_events=st.integers(1, 4),
    update_interval_s=st.sampled_from([0.5, 10.0]),
    max_vehicles=st.integers(1, 4),
)


USUAL_S = (0.0, 1.0, 90.0)


def _laid_out(rows: list[tuple[float, float, float, str | None, str, bool, bool]]) -> list[E]:
    own_s: dict[str, float] = {}
    log_s = 10_000.0
    events = []
    for place, (step_s, waited_s, severity, cause, vehicle, repeat, doubtful) in enumerate(rows):
        own_s[vehicle] = own_s.get(vehicle, 10_000.0) + step_s
        log_s += waited_s
        events.append(E(own_s[vehicle], severity, cause, vehicle, log_s, repeat, None, doubtful, USUAL_S[place % 3]))
    return events


@given(events_of_the_log, small_rules, st.data())
def test_the_result_does_not_depend_on_how_the_stream_is_cut(
    events: list[E], rules: EpisodeRules, data: st.DataObject
) -> None:
    places = st.lists(st.integers(0, len(events)), max_size=8).map(tuple)
    one, other = EpisodeTracker(rules), EpisodeTracker(rules)
    assert follow(one, events) == follow(other, events, data.draw(places))
    assert one.snapshot() == other.snapshot()
    assert follow(EpisodeTracker(rules), events, tuple(range(len(events)))) == follow(EpisodeTracker(rules), events)


@given(events_of_the_log, small_rules, st.data())
def test_a_restored_tracker_continues_exactly(events: list[E], rules: EpisodeRules, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events)))
    tracker = EpisodeTracker(rules)
    follow(tracker, events[:at])
    restored = EpisodeTracker.restore(tracker.snapshot(), rules)
    assert restored.snapshot() == tracker.snapshot()
    assert follow(restored, events[at:], first_offset=at) == follow(tracker, events[at:], first_offset=at)
    assert restored.snapshot() == tracker.snapshot()


@given(events_of_the_log, small_rules)
def test_every_episode_keeps_the_contract(events: list[E], rules: EpisodeRules) -> None:
    tracker = EpisodeTracker(rules)
    ids, changes = follow(tracker, events)
    open_by_vehicle: dict[str, str] = {}
    opened: set[str] = set()
    last: dict[str, EpisodeChange] = {}
    for change in changes:
        episode = change.episode
        vehicle, partition, offset = episode.episode_id.rsplit(":", 2)
        assert (vehicle, int(partition), events[int(offset)].vehicle) == (episode.vehicle_id, PARTITION, vehicle)
        if change.change == "opened":
            assert episode.episode_id not in opened
            assert vehicle not in open_by_vehicle, "at most one is open per vehicle"
            opened.add(episode.episode_id)
            open_by_vehicle[vehicle] = episode.episode_id
        assert open_by_vehicle[vehicle] == episode.episode_id
        if change.change == "closed":
            del open_by_vehicle[vehicle]
        before = last.get(episode.episode_id)
        assert before is None or before.episode.events <= episode.events
        assert before is None or before.episode.severity <= episode.severity
        assert 1 <= episode.anomalous_events <= episode.events
        assert len(episode.worst) == min(3, episode.anomalous_events)
        assert episode.opened_at <= episode.updated_at
        assert (episode.state == "closed") == (change.change == "closed") == (episode.closed_by is not None)
        last[episode.episode_id] = change
    assert {i for i in ids if i} == opened
    belonging = Counter(i for i in ids if i)
    for episode_id, change in last.items():
        if change.change == "closed":  # else there may be events since the last record
            before_opening = change.episode.events - belonging[episode_id]
            assert 0 <= before_opening < rules.window_events
    assert len(open_by_vehicle) <= len(tracker) <= rules.max_vehicles
