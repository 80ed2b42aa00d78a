import pytest

from fleet.client.state import FeedState, Loss

EVENT = {"vehicleId": "A", "source": "0:7", "speed": 50}
SUBSCRIBED = {"type": "subscribed", "id": "feed", "recovered": None, "reason": None, "cursor": "at the head"}


def events(*items: dict[str, object], cursor: str = "later") -> dict[str, object]:
    return {"type": "events", "id": "feed", "cursor": cursor, "items": list(items)}


def test_events_changes_and_leaving_make_the_view() -> None:
    state = FeedState()
    assert state.apply(events(EVENT)) == [EVENT]
    changed = {**EVENT, "source": "0:8", "speed": 51}
    assert state.apply(events({"vehicleId": "A", "changed": {"source": "0:8", "speed": 51}})) == [changed]
    assert state.vehicles == {"A": changed}
    assert state.apply({"type": "leave", "id": "feed", "vehicles": ["A", "never seen"]}) == []
    assert state.vehicles == {}


def test_cursor_counts_once_its_message_was_taken() -> None:
    state = FeedState()
    for message in (SUBSCRIBED, events(EVENT)):
        before = state.cursor
        state.apply(message)
        assert state.cursor == before
        state.come_to(message)
        assert state.cursor == message["cursor"]
    state.come_to({"type": "heartbeat", "id": None, "cursor": "of nothing", "lagMs": 0})
    assert state.cursor == "later"


@pytest.mark.parametrize("recovered", [None, False])
def test_half_a_snapshot_is_no_place_to_resume_at(recovered: bool | None) -> None:
    state = FeedState(snapshot=recovered is None)
    part = {"type": "snapshot", "id": "feed", "part": 0, "last": False, "cursor": "at the head", "vehicles": [EVENT]}
    for message in ({**SUBSCRIBED, "recovered": recovered}, part):
        state.apply(message)
        state.come_to(message)
    assert state.cursor is None
    assert state.vehicles == {"A": EVENT}
    last = {**part, "part": 1, "last": True, "vehicles": []}
    state.apply(last)
    state.come_to(last)
    assert state.cursor == "at the head"


def test_losses_are_told_where_they_are() -> None:
    losses: list[Loss] = []
    state = FeedState(losses.append)
    state.apply({"type": "lost", "id": "feed", "count": 3, "from": "a", "to": "b", "reason": "slow"})
    state.begin_anew()
    assert losses == [Loss(3, "slow"), Loss(None, "bad_cursor")]
    assert state.cursor is None


def test_episode_is_as_its_latest_record_has_it() -> None:
    state = FeedState()
    for number in (1, 2):
        item = {"episodeId": "A:0:1", "events": number}
        state.apply({"type": "episodes", "id": "feed", "cursor": "c", "items": [item]})
    assert state.episodes == {"A:0:1": {"episodeId": "A:0:1", "events": 2}}
