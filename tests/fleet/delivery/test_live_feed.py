import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.live_feed import LiveBlock, LiveFeed, Selection, joined
from fleet.events.fields import DEFAULT_TENANT

VEHICLES = ("A", "B", "C")
TENANTS = (DEFAULT_TENANT, "north")
selections = st.builds(
    Selection,
    st.sampled_from([None, *VEHICLES, "never seen"]),
    st.booleans(),
    st.sampled_from([None, *TENANTS, "nobody's"]),
)
# vehicle, anomaly, padding, tenant
events = st.tuples(st.sampled_from(VEHICLES), st.booleans(), st.integers(0, 40), st.sampled_from(TENANTS))
Row = tuple[str, bool, int] | tuple[str, bool, int, str]


def block_of(rows: list[Row], first_number: int = 0) -> LiveBlock:
    bodies = [json.dumps({"n": first_number + i, "pad": "x" * row[2]}).encode() for i, row in enumerate(rows)]
    return LiveBlock([row[0] for row in rows], [row[1] for row in rows], bodies, [tenant_of(row) for row in rows])


def tenant_of(row: Row) -> str:
    return row[3] if len(row) > 3 else DEFAULT_TENANT


def numbered_blocks(shape: list[list[Row]]) -> list[LiveBlock]:
    blocks, number = [], 0
    for rows in shape:
        blocks.append(block_of(rows, number))
        number += len(rows)
    return blocks


def wanted_numbers(shape: list[list[Row]], selection: Selection) -> list[int]:
    flat = [row for rows in shape for row in rows]
    return [
        i
        for i, row in enumerate(flat)
        if selection.vehicle_id in (None, row[0])
        and (row[1] or not selection.anomalies)
        and selection.tenant in (None, tenant_of(row))
    ]


def numbers(texts: list[str]) -> list[int]:
    return [json.loads(text)["n"] for text in texts]


def drained(feed: LiveFeed, most_events: int = 3) -> list[int]:
    taken: list[int] = []
    while texts := feed.take_texts(most_events):
        assert len(texts) <= most_events
        taken += numbers(texts)
    return taken


shapes = st.lists(st.lists(events, max_size=8), max_size=8)


@given(shapes, selections, st.integers(1, 12))
def test_feed_gives_out_the_newest_wanted_events_in_order_and_counts_the_rest(shape, selection, backlog):
    feed = LiveFeed(selection, backlog)
    for block in numbered_blocks(shape):
        feed.offer(block)
        assert len(feed) <= backlog
    wanted = wanted_numbers(shape, selection)
    assert len(feed) == min(len(wanted), backlog)
    assert feed.dropped == max(0, len(wanted) - backlog)
    assert drained(feed) == wanted[-backlog:]
    assert feed.taken + feed.dropped == len(wanted)
    assert len(feed) == 0
    assert feed.take_frame() is None


@given(shapes, selections, st.integers(1, 12), st.integers(20, 200))
def test_frames_hold_the_same_events_as_texts_and_keep_their_bound(shape, selection, backlog, most_bytes):
    singles, batched = LiveFeed(selection, backlog), LiveFeed(selection, backlog)
    for block in numbered_blocks(shape):
        singles.offer(block)
        batched.offer(block)
    arrays = []
    while (frame := batched.take_frame(most_bytes)) is not None:
        arrays.append(json.loads(frame))
        assert len(frame.encode()) <= most_bytes or len(arrays[-1]) == 1
    assert all(arrays), "no empty frame is sent"
    assert [event["n"] for array in arrays for event in array] == drained(singles)


@given(st.lists(st.tuples(st.lists(events, max_size=6), st.integers(0, 6), st.booleans()), max_size=12))
def test_taking_and_offering_may_alternate(steps):
    feed, number, offered, seen = LiveFeed(Selection(), 10), 0, 0, []
    for rows, take, as_frame in steps:
        feed.offer(block_of(rows, number))
        number += len(rows)
        offered += len(rows)
        if as_frame and take:
            frame = feed.take_frame(60)
            seen += [event["n"] for event in json.loads(frame or "[]")]
        else:
            seen += numbers(feed.take_texts(take))
        assert feed.taken == len(seen)
        assert offered == len(seen) + len(feed) + feed.dropped
    assert all(before < after for before, after in pairwise(seen))


def test_a_slow_client_does_not_disturb_another():
    quick, slow = LiveFeed(Selection(), 4), LiveFeed(Selection(), 4)
    seen = []
    for number in range(10):
        block = block_of([("A", False, 0), ("B", False, 0)], 2 * number)
        quick.offer(block)
        slow.offer(block)
        seen += drained(quick)
    assert seen == list(range(20))
    assert (quick.dropped, slow.dropped) == (0, 16)
    assert drained(slow) == [16, 17, 18, 19]


def test_clients_that_keep_up_share_one_frame():
    first, second = LiveFeed(Selection(), 100), LiveFeed(Selection(), 100)
    block = block_of([("A", True, 5)] * 10)
    first.offer(block)
    second.offer(block)
    assert first.take_frame() is second.take_frame()


def test_clients_with_the_same_filter_share_one_frame():
    first, second = LiveFeed(Selection(anomalies=True), 100), LiveFeed(Selection(anomalies=True), 100)
    block = block_of([("A", True, 5), ("A", False, 5)] * 10)
    first.offer(block)
    second.offer(block)
    frame = first.take_frame()
    assert frame is second.take_frame()
    assert len(json.loads(frame or "")) == 10


def test_clients_of_the_only_tenant_share_the_frame_of_those_who_see_all():
    """A fleet of one tenant costs nothing more where tokens are asked for."""
    block = block_of([("A", True, 5)] * 10)
    assert block.select(Selection(tenant=DEFAULT_TENANT)) is block
    assert len(block.select(Selection(tenant="north"))) == 0


def test_offer_says_whether_anything_waits():
    feed = LiveFeed(Selection("B"), 5)
    assert not feed.offer(block_of([("A", True, 0)]))
    assert feed.offer(block_of([("B", False, 0)]))
    assert feed.offer(block_of([("A", True, 0)]))


@given(st.lists(events, min_size=1, max_size=30), st.integers(10, 300))
def test_pieces_cover_a_block_in_order_within_their_size(rows, most_bytes):
    block = block_of(rows)
    pieces = list(block.pieces(most_bytes))
    assert [body for piece in pieces for body in piece.bodies] == list(block.bodies)
    assert all(len(piece.frame.encode()) <= most_bytes or len(piece) == 1 for piece in pieces)
    assert all(piece.size_bytes == len(piece.frame.encode()) for piece in pieces)


@given(shapes)
def test_joined_blocks_select_as_their_parts_do(shape):
    blocks = numbered_blocks(shape)
    if not blocks:
        return
    for selection in (
        Selection(),
        Selection("A"),
        Selection(anomalies=True),
        Selection("B", anomalies=True, tenant="north"),
    ):
        selected = joined(blocks).select(selection)
        assert numbers(selected.texts) == wanted_numbers(shape, selection)


def test_a_foreign_record_that_is_no_utf8_does_not_end_the_feed():
    feed = LiveFeed(Selection(), 5)
    feed.offer(LiveBlock(["A"], [False], [b'{"n":"\xff"}']))
    assert json.loads(feed.take_texts(1)[0]) == {"n": "\ufffd"}


def test_a_backlog_of_nothing_is_refused():
    with pytest.raises(ValueError, match="backlog_events"):
        LiveFeed(Selection(), 0)
