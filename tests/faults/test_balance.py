"""The judging part of the books, by itself: crafted evidence in, counts and sentences out."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.books import EXAMPLES_SHOWN, balance_of, exchanged, forgotten, source_of
from faults.load import Entry, content_of
from fleet.events.source import Source
from fleet.kafka import Message
from fleet.operations.audit import AuditReport, PartitionAudit
from fleet.operations.audit_books import MEANING, Books, DiscrepancyKind, Outcome, Results, Stretch
from fleet.records.dead_letter import OMITTED_HEADER

EVENTS = 4


def event(number: int) -> bytes:
    return b'{"vehicleId":"v","sequence":%d}' % number


def came_out(source: str | None, value: bytes | None, *headers: tuple[str, bytes]) -> Message:
    named = [("source", source.encode())] if source is not None else []
    return Message("out", 0, 0, b"v", value, [*named, *headers])


def report(*results: tuple[int, int], not_yet: int = 0, **changes: list[str]) -> AuditReport:
    """The audit of two partitions of four events, of which came out what is given, in that order."""
    books = Books({p: Stretch(0, EVENTS, EVENTS) for p in range(2)}, EXAMPLES_SHOWN)
    for partition in range(2):
        books.take_telemetry(partition, np.arange(EVENTS))
    for partition, offset in results:
        columns = (np.array([number]) for number in (0, partition, offset))
        books.take_results(Results(Outcome.SCORED, partition, *columns, [b"v"], np.array([False])))
    books.close()
    parts = [PartitionAudit(p, 0, EVENTS, EVENTS, EVENTS, 0, not_yet, None) for p in range(2)]
    return AuditReport(parts, books, changes.get("ledger", []), changes.get("notes", []), 0.1)


ALL = [(partition, offset) for partition in range(2) for offset in range(EVENTS)]


def test_balance_of_everything_once_and_in_order_has_nothing_to_say() -> None:
    found = balance_of(report(*ALL), [], [])
    assert (found.events, found.lost, found.doubled, found.reordered, found.sentences) == (8, 0, 0, 0, [])


def test_balance_does_not_mind_how_partitions_interleave() -> None:
    mixed = [(partition, offset) for offset in range(EVENTS) for partition in range(2)]
    assert balance_of(report(*mixed), [], []).sentences == []


@pytest.mark.parametrize("event_", ALL)
def test_balance_names_the_one_event_that_is_lost(event_: tuple[int, int]) -> None:
    found = balance_of(report(*(one for one in ALL if one != event_)), [], [])
    assert (found.lost, found.doubled, found.reordered) == (1, 0, 0)
    assert found.sentences == [
        f"1 {MEANING[DiscrepancyKind.MISSING]}, the first from {Source(*event_)}",
    ]


@pytest.mark.parametrize("event_", ALL)
def test_balance_names_the_one_event_that_came_out_twice(event_: tuple[int, int]) -> None:
    found = balance_of(report(*ALL, event_), [], [])
    assert (found.lost, found.doubled, found.reordered) == (0, 1, 0)
    assert found.sentences == [f"1 {MEANING[DiscrepancyKind.DOUBLED]}, the first from {Source(*event_)}"]


def test_balance_names_the_one_event_of_the_second_partition_that_came_out_late() -> None:
    found = balance_of(report(*ALL[:5], ALL[6], ALL[5], ALL[7]), [], [])
    assert (found.lost, found.doubled, found.reordered) == (0, 0, 1)
    assert found.sentences == [f"1 {MEANING[DiscrepancyKind.REORDERED]}, the first from 1:1"]


def test_balance_counts_what_is_beyond_the_committed_offsets_as_lost() -> None:
    found = balance_of(report(*ALL, not_yet=3), [], [])
    assert (found.events, found.lost) == (8 + 6, 6)
    assert found.sentences == ["6 events beyond the committed offsets"]


def test_balance_counts_what_kafka_forgot_as_lost_but_not_what_was_exchanged() -> None:
    found = balance_of(report(*ALL), [Source(0, 1)], [Source(1, 2)])
    assert (found.lost, found.doubled, found.reordered) == (1, 0, 0)
    assert found.sentences == [
        "1 acknowledged events that Kafka no longer has, the first from 0:1",
        "1 results that say something else than their source, the first from 1:2",
    ]


def test_balance_repeats_what_the_ledger_says_and_what_the_audit_left_out() -> None:
    found = balance_of(report(*ALL, ledger=["the ledger differs"], notes=["offsets are left out"]), [], [])
    assert found.sentences == ["the ledger differs", "offsets are left out"]


def test_balance_counts_all_and_names_the_first_few() -> None:
    gone = [Source(0, offset) for offset in range(EXAMPLES_SHOWN + 3)]
    [sentence] = balance_of(report(*ALL), gone, []).sentences
    assert sentence.startswith(f"{len(gone)} acknowledged")
    assert sentence.count("0:") == EXAMPLES_SHOWN


_places = st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 50)), st.integers(0, 1_000), max_size=30)


@given(_places, st.data())
def test_forgotten_is_what_is_not_there_or_not_the_same(log: dict[tuple[int, int], int], data: st.DataObject) -> None:
    accepted = [Entry(*place, content) for place, content in log.items()]
    wrong = data.draw(st.sets(st.sampled_from(sorted(log)))) if log else set()
    held = {Source(*place): content for place, content in log.items()}
    for place in wrong:
        if data.draw(st.booleans(), label=f"{place} is gone"):
            del held[Source(*place)]
        else:
            held[Source(*place)] += 1
    assert {tuple(place) for place in forgotten(accepted, held)} == wrong


CONTENTS = {Source(0, 0): 7, Source(0, 1): content_of(b"{broken"), Source(1, 0): content_of(None)}


@pytest.mark.parametrize(
    "message",
    [
        came_out("0:0", event(7)),
        came_out("0:0", b'{"sequence":7,"is_anomaly":true,"source":"0:0"}'),
        came_out("0:1", b"{broken"),
        came_out("1:0", None),
        came_out("0:0", None, (OMITTED_HEADER, b"900000")),
        came_out(None, event(8)),
        came_out("0:99", event(8)),
    ],
    ids=[
        "same",
        "with a verdict",
        "dead letter",
        "null",
        "left out",
        "no source: the audit's",
        "not there: the audit's",
    ],
)
def test_exchanged_lets_pass_what_says_the_same(message: Message) -> None:
    assert exchanged([message], CONTENTS) == []


@pytest.mark.parametrize(
    ("message", "source"),
    [
        (came_out("0:0", event(8)), (0, 0)),
        (came_out("0:0", b"{broken"), (0, 0)),
        (came_out("0:1", b"{brokem"), (0, 1)),
        (came_out("0:1", b""), (0, 1)),
        (came_out("0:1", None), (0, 1)),
        (came_out("1:0", b"null"), (1, 0)),
        (came_out("1:0", b""), (1, 0)),
    ],
    ids=[
        "another number",
        "no event",
        "one wrong byte",
        "no bytes",
        "null for bytes",
        "bytes for null",
        "empty for null",
    ],
)
def test_exchanged_names_what_says_something_else(message: Message, source: tuple[int, int]) -> None:
    assert exchanged([came_out("0:0", event(7)), message], CONTENTS) == [Source(*source)]


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_contents_tell_different_bytes_apart(one: bytes, other: bytes) -> None:
    assert (content_of(one) == content_of(other)) == (one == other)


@given(st.integers(0, 2**62), st.text(max_size=20))
def test_contents_of_events_are_their_numbers_whatever_else_they_say(number: int, word: str) -> None:
    value = msgspec.json.encode({"note": word, "sequence": number, "is_anomaly": True})
    assert content_of(value) == number


@pytest.mark.parametrize("value", [None, b"", b"null", b"[]", b'{"sequence":"7"}', b"\xff\xfe", b"[" * 100_000])
def test_contents_of_what_is_no_event_are_below_every_number(value: bytes | None) -> None:
    assert content_of(value) < 0


def test_a_message_names_its_source_or_none() -> None:
    assert source_of(came_out("3:14", b"{}")) == Source(3, 14)
    assert source_of(came_out("3-14", b"{}")) is None
    assert source_of(Message("out", 0, 0, b"v", b"{}", None)) is None


def test_balance_of_no_events_at_all_proves_nothing() -> None:
    empty = AuditReport([], Books({}, EXAMPLES_SHOWN), [], [], 0.1)
    assert balance_of(empty, [], []).sentences == ["no event stands in the log: this proves nothing"]
