"""Actions on episodes fold alike wherever they are read, and the first of two that meet counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.handling import MOST_ACTIONS, Handling, Handlings
from fleet.records.action import (
    Acknowledge,
    Action,
    Assign,
    Comment,
    Label,
    Reopen,
    Snooze,
    decode_action,
    encode_action,
)

NOW_S = 1_764_540_000.0
DOS = (
    Acknowledge(), Assign("ana"), Assign(None), Label("falseAlarm"), Label(None), Comment("…"), Snooze(NOW_S + 60),
    Reopen(),
)  # fmt: skip


def action(version: int, do: Any, action_id: str | None = None, episode_id: str = "e") -> Action:
    return Action(
        episode_id=episode_id,
        action_id=action_id or f"a{version}",
        version=version,
        by="ana",
        at=NOW_S,
        do=do,
        vehicle_id="V1",
        tenant_id=None,
        model_version="m",
        opened_at=NOW_S - 60,
        updated_at=NOW_S,
    )


def done(*dos: Any) -> Handling:
    handling = Handling()
    for version, do in enumerate(dos):
        handling.take(action(version, do))
    return handling


def test_what_was_done_last_is_what_stands():
    summary = done(Acknowledge(), Assign("ana"), Comment("seen"), Label("falseAlarm"), Assign("luis")).summary(NOW_S)
    assert (summary.version, summary.status, summary.assignee, summary.label) == (
        5,
        "acknowledged",
        "luis",
        "falseAlarm",
    )
    assert (summary.comments, summary.changed_by, summary.changed_at) == (1, "ana", NOW_S)


@pytest.mark.parametrize(
    ("dos", "status", "later"),
    [
        ((Acknowledge(),), "acknowledged", "acknowledged"),
        ((Acknowledge(), Reopen()), "new", "new"),
        ((Snooze(NOW_S + 60),), "snoozed", "new"),
        ((Acknowledge(), Snooze(NOW_S + 60)), "snoozed", "acknowledged"),
        ((Snooze(NOW_S + 60), Acknowledge()), "acknowledged", "acknowledged"),
        ((Snooze(NOW_S + 60), Reopen()), "new", "new"),
    ],
)
def test_a_snooze_ends_by_itself_and_by_what_is_done(dos, status, later):
    handling = done(*dos)
    assert (handling.status(NOW_S), handling.status(NOW_S + 61)) == (status, later)


def test_of_two_actions_that_meet_the_first_in_the_log_counts():
    handling = Handling()
    handling.take(action(0, Assign("ana"), "first"))
    handling.take(action(0, Assign("luis"), "second"))
    assert (handling.assignee, handling.version) == ("ana", 1)
    assert handling.has("first")
    assert not handling.has("second")


def test_an_action_that_comes_again_counts_once():
    handling = Handling()
    for version in (0, 1):
        handling.take(action(version, Comment("seen"), "same"))
    assert (handling.comments, handling.version) == (1, 1)


def test_an_episode_takes_so_many_actions_and_no_more():
    handling = done(*[Comment("…")] * (MOST_ACTIONS + 5))
    assert handling.version == MOST_ACTIONS


def test_the_episode_that_was_dealt_with_longest_ago_is_forgotten_first():
    handlings = Handlings(2)
    for name in "abac":
        handlings.take(action(handlings[name].version, Comment("…"), episode_id=name))
    assert [handlings[name].version for name in "abc"] == [2, 0, 1]
    assert handlings.evicted == 1


@given(st.lists(st.tuples(st.sampled_from("ef"), st.integers(0, 4), st.sampled_from(DOS), st.integers(0, 9))))
def test_readers_agree_and_versions_count_what_counts(log):
    readers = Handlings(10), Handlings(10)
    for episode_id, version, do, action_id in log:
        written = action(version, do, f"a{action_id}", episode_id)
        readers[0].take(written)
        readers[1].take(decode_action(encode_action(written)))
    for episode_id in "ef":
        one, other = (reader[episode_id] for reader in readers)
        assert one == other
        assert [taken.version for taken in one.actions] == list(range(one.version))
        assert len({taken.action_id for taken in one.actions}) == one.version
