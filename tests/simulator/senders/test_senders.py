"""Whatever the habits: nothing is invented, nothing runs back in time, and a fleet can be split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator.faults import FAULTS
from simulator.senders import HABITS, SIGNALS, HabitMix, Reports, Senders, delivery
from tests.simulator.senders.made_up_fleet import START_S, by_vehicle, drive, due_s, state

SENT_AGAIN = {"stretch_sent_again", "last_sent_twice"}
MIXES = st.one_of(st.just(HabitMix()), st.just(HabitMix.none()), st.sampled_from(HABITS).map(HabitMix.only))
NETWORKS = st.sampled_from([(0.0, 0.0), (0.02, 0.3)])


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), MIXES, NETWORKS)
def test_events_arrive_in_order_never_early_and_once(seed, mix, network_s):
    senders = Senders(seed, 0, 12, mix, network_s)
    parts = list(drive(senders, 0, 12, 120))
    whole = Reports.joined(parts)
    assert (np.diff(whole.arrives_s) >= 0).all()
    assert (whole.arrives_s >= whole.measured_s).all()
    assert all((part.arrives_s <= START_S + step + 1).all() for step, part in enumerate(parts[:-1]))
    _, copies = np.unique(np.stack([whole.vehicle, whole.measured_s]), axis=1, return_counts=True)
    assert copies.max() <= (2 if SENT_AGAIN & set(mix.shares) else 1)
    assert (senders.held, senders.dropped) == (0, 0)


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), MIXES)
def test_events_are_sent_lost_or_not_due_and_nothing_else(seed, mix):
    senders = Senders(seed, 0, 12, mix)
    whole = Reports.joined(list(drive(senders, 0, 12, 60)))
    arrived = len(set(zip(whole.vehicle.tolist(), whole.measured_s.tolist(), strict=True)))
    sent = sum(int(state(0, 12, step)["is_sent"].sum()) for step in range(60))
    due_each_time = not any(name.startswith(("every", "jitter")) and share for name, share in mix.shares.items())
    assert arrived == sent if due_each_time else arrived < sent


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**40), MIXES, st.lists(st.integers(1, 6), min_size=2, max_size=4), st.integers(0, 30))
def test_senders_do_the_same_however_the_fleet_is_split(seed, mix, counts, first):
    def arrivals(start, count):
        parts = list(drive(Senders(seed, start, count, mix, (0.02, 0.3)), start, count, 90))
        return by_vehicle(Reports.joined(parts), count)

    whole = arrivals(first, sum(counts))
    starts = (first + np.cumsum([0, *counts[:-1]])).tolist()
    split = [own for start, count in zip(starts, counts, strict=True) for own in arrivals(start, count)]
    for one, other in zip(whole, split, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], name)


def test_ideal_senders_give_what_the_state_gave():
    senders = Senders(1, 5, 9, HabitMix.none())
    for step in range(30):
        given_state, at_s = state(5, 9, step), due_s(5, 9, step)
        reports = senders.take(given_state, at_s, START_S + step + 1)
        order = np.argsort(at_s, kind="stable")
        order = order[given_state["is_sent"][order]]
        np.testing.assert_array_equal(reports.vehicle, order)
        np.testing.assert_array_equal(reports.measured_s, at_s[order])
        np.testing.assert_array_equal(reports.arrives_s, at_s[order])
        np.testing.assert_array_equal(reports.timestamp_s, (at_s + given_state["clock_skew_s"])[order])
        for signal, name in enumerate(SIGNALS):
            expected = [given_state[name][place] for place in order]
            assert reports.column(signal).tolist() == expected
        assert reports.fault_names.tolist() == [given_state["anomalyType"][place] for place in order]


@pytest.mark.parametrize("habit", HABITS)
def test_habits_leave_the_truth_alone(habit):
    whole = Reports.joined(list(drive(Senders(2, 0, 14, HabitMix.only(habit)), 0, 14, 400)))
    is_faulty = whole.vehicle % 7 == 0
    assert (whole.fault[is_faulty] == FAULTS.index("overspeed")).all()
    assert (whole.fault[~is_faulty] == len(FAULTS)).all()


def test_what_finds_no_room_is_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(delivery, "HELD_OF_ONE", 5)
    monkeypatch.setattr(delivery, "HELD_OF_ALL", 30)
    senders, held, arrived = Senders(4, 0, 10, HabitMix.only("batched")), [], 0
    for reports in drive(senders, 0, 10, 200):
        held.append(senders.held)
        arrived += len(reports.vehicle)
    assert max(held) == 30
    assert senders.dropped > 0
    assert arrived + senders.dropped == sum(int(state(0, 10, step)["is_sent"].sum()) for step in range(200))


def test_lost_events_are_counted():
    senders = Senders(4, 0, 13, HabitMix.none())
    list(drive(senders, 0, 13, 100))
    assert senders.lost == 100 + 13  # one a step; and the last state, of which nothing is sent
