"""Generated logs with discrepancies put in at known places: the audit must find exactly these."""

import itertools
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.operations.audit_books import Books, Discrepancy, DiscrepancyKind, Outcome, Results, Stretch

SCORED, DEAD = Outcome.SCORED, Outcome.DEAD_LETTERED


class Out(NamedTuple):
    """One record that came out: where it says it comes from, whose it is, and where it stands."""

    source_partition: int
    source_offset: int
    key: bytes | None
    mismatched: bool = False


@dataclass
class Log:
    """The telemetry of all partitions (offsets with holes), and what came out, by topic and partition."""

    stretches: dict[int, Stretch]
    telemetry: dict[int, list[int]]
    out: dict[tuple[Outcome, int], list[Out]] = field(default_factory=dict)

    def place(self, partition: int, offset: int) -> tuple[Outcome, int]:
        """Where the (one) record of a source stands."""
        for outcome in Outcome:
            for index, record in enumerate(self.out[outcome, partition]):
                if record[:2] == (partition, offset):
                    return outcome, index
        raise AssertionError(offset)


@st.composite
def logs(draw: st.DrawFn, *, busy: bool = False) -> Log:
    """A log whose books balance: all of each partition up to `next` came out, some beyond it, none of it twice.

    Of a busy one all of partition 0 is audited, and its first and last events are one vehicle's.
    """
    log = Log({}, {})
    for partition in range(draw(st.integers(1, 3))):
        is_busy = busy and partition == 0
        gaps = draw(st.lists(st.integers(1, 3), min_size=2 if is_busy else 0, max_size=40))
        offsets = (np.cumsum([draw(st.integers(0, 5)), *gaps])[1:]).tolist()
        end = (offsets[-1] if offsets else 0) + draw(st.integers(1, 3))
        first = 0 if is_busy else draw(st.integers(0, end))
        following = end if is_busy else draw(st.integers(first, end))
        log.stretches[partition] = Stretch(first, following, end)
        log.telemetry[partition] = [offset for offset in offsets if offset >= first]
        log.out[SCORED, partition], log.out[DEAD, partition] = [], []
        # Later ones may be out already, earlier ones may still be held.
        for offset in offsets[: draw(st.integers(sum(o < following for o in offsets), len(offsets)))]:
            is_same = is_busy and offset in (offsets[0], offsets[-1])
            outcome = SCORED if is_same else draw(st.sampled_from([SCORED, SCORED, SCORED, DEAD]))
            key = b"a" if is_same else draw(st.sampled_from([b"a", b"b", b"c"])) if outcome is SCORED else None
            log.out[outcome, partition].append(Out(partition, offset, key))
    return log


def audit(log: Log, block: int = 7, kept_discrepancies: int | None = None) -> Books:
    books = Books(log.stretches, kept_discrepancies)
    for partition, offsets in log.telemetry.items():
        for start in range(0, len(offsets), block):
            books.take_telemetry(partition, np.array(offsets[start : start + block], np.int64))
    for (outcome, partition), records in in_reading_order(log):
        for start in range(0, len(records), block):
            books.take_results(as_results(outcome, partition, start, records[start : start + block]))
    books.close()
    return books


def in_reading_order(log: Log) -> list[tuple[tuple[Outcome, int], list[Out]]]:
    """The scored topic is read before the dead letters."""
    return sorted(log.out.items(), key=lambda item: item[0][0] is DEAD)


def as_results(outcome: Outcome, partition: int, start: int, records: Sequence[Out]) -> Results:
    return Results(
        outcome,
        partition,
        np.arange(start, start + len(records), dtype=np.int64) * 2,
        np.array([record.source_partition for record in records], np.int64),
        np.array([record.source_offset for record in records], np.int64),
        [record.key for record in records],
        np.array([record.mismatched for record in records], np.bool_),
    )


def found(books: Books) -> list[tuple[DiscrepancyKind, int, int]]:
    discrepancies = [discrepancy for kind in DiscrepancyKind for discrepancy in books.kept(kind)]
    assert len(discrepancies) == books.discrepancies.total()
    return sorted(
        (discrepancy.kind, discrepancy.source_partition, discrepancy.source_offset) for discrepancy in discrepancies
    )


def by_definition(log: Log) -> list[tuple[DiscrepancyKind, int, int]]:
    """The discrepancies of a log, record by record and with a set of all events: the oracle."""
    discrepancies: list[tuple[DiscrepancyKind, int, int]] = []
    due = set(events(log))
    came_out: set[tuple[int, int]] = set()
    for (_, partition), records in in_reading_order(log):
        read: list[Out] = []
        for record in records:
            source = record[:2]
            stretch = log.stretches.get(source[0], Stretch(0, 0, 0))
            is_inside = stretch.first <= source[1] < stretch.next
            if source[0] < 0:
                discrepancies.append((DiscrepancyKind.UNSIGNED, *source))
            elif source[1] >= stretch.end or (is_inside and source not in due):
                discrepancies.append((DiscrepancyKind.UNSOURCED, *source))
            else:
                discrepancies += [(DiscrepancyKind.MISMATCHED, *source)] * (is_inside and record.mismatched)
                discrepancies += [(DiscrepancyKind.DOUBLED, *source)] * (source in came_out)
                if is_inside and source not in came_out:
                    came_out.add(source)
                    if source[0] != partition:
                        discrepancies.append((DiscrepancyKind.MISPLACED, *source))
                    elif any(r.key == record.key is not None and r.source_offset > source[1] for r in read):
                        discrepancies.append((DiscrepancyKind.REORDERED, *source))
                if source[0] == partition:
                    read.append(record)
    return sorted([*discrepancies, *((DiscrepancyKind.MISSING, *event) for event in due - came_out)])


def events(log: Log) -> list[tuple[int, int]]:
    """The events that must have come out."""
    return [(p, o) for p, offsets in log.telemetry.items() for o in offsets if o < log.stretches[p].next]


@given(logs(), st.integers(1, 50))
def test_books_balance_where_everything_came_out_once_in_order(log: Log, block: int) -> None:
    books = audit(log, block)
    assert books.is_balanced
    assert found(books) == []
    for partition, offsets in log.telemetry.items():
        expected = sum(offset < log.stretches[partition].next for offset in offsets)
        assert books.events[partition] == expected
        assert books.outcomes[partition, SCORED] + books.outcomes[partition, DEAD] == expected
        assert books.not_yet[partition] == len(offsets) - expected


@given(logs(busy=True), st.integers(1, 50), st.data())
def test_books_find_a_lost_event_and_nothing_else(log: Log, block: int, data: st.DataObject) -> None:
    victims = data.draw(st.sets(st.sampled_from(events(log))))
    for victim in victims:
        outcome, index = log.place(*victim)
        del log.out[outcome, victim[0]][index]
    assert found(audit(log, block)) == sorted((DiscrepancyKind.MISSING, *victim) for victim in victims)


@given(logs(busy=True), st.integers(1, 50), st.data())
def test_books_find_a_doubled_event_and_nothing_else(log: Log, block: int, data: st.DataObject) -> None:
    victims = data.draw(st.sets(st.sampled_from(events(log))))
    for victim in victims:
        outcome, index = log.place(*victim)
        record = log.out[outcome, victim[0]][index]
        copies = log.out[data.draw(st.sampled_from(Outcome)), victim[0]]
        is_same = copies is log.out[outcome, victim[0]]
        # In the other topic of no vehicle: what is read first there may be out of order as well.
        copy = record if is_same else record._replace(key=None)
        copies.insert(data.draw(st.integers(index + 1 if is_same else 0, len(copies))), copy)
    assert found(audit(log, block)) == sorted((DiscrepancyKind.DOUBLED, *victim) for victim in victims)


@given(logs(busy=True), st.integers(1, 50), st.data())
def test_books_find_a_result_that_was_overtaken_and_nothing_else(log: Log, block: int, data: st.DataObject) -> None:
    records = log.out[SCORED, 0]
    pairs = [(i, j) for i, j in itertools.combinations(range(len(records)), 2) if records[i].key == records[j].key]
    index = data.draw(st.sampled_from([i for i, _ in pairs]))
    overtaker = min(j for i, j in pairs if i == index)
    record = records.pop(index)
    records.insert(data.draw(st.integers(index, overtaker - 1)), record)  # behind other vehicles' alone
    assert found(audit(log, block)) == []
    records.remove(record)
    records.insert(data.draw(st.integers(overtaker, len(records))), record)
    assert found(audit(log, block)) == [(DiscrepancyKind.REORDERED, 0, record.source_offset)]


@given(logs(busy=True), st.integers(1, 50), st.data())
def test_books_find_any_mixture_of_discrepancies(log: Log, block: int, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 8))):
        filled = sorted(place for place, records in log.out.items() if records)
        if not filled:
            break
        records = log.out[data.draw(st.sampled_from(filled))]
        index = data.draw(st.integers(0, len(records) - 1))
        match data.draw(st.sampled_from(["lose", "copy", "move", "stray", "rename", "unsign", "mismatch"])):
            case "lose":
                del records[index]
            case "copy":
                records.insert(data.draw(st.integers(0, len(records))), records[index])
            case "move":
                records.insert(data.draw(st.integers(0, len(records) - 1)), records.pop(index))
            case "stray":
                elsewhere = log.out[data.draw(st.sampled_from(sorted(log.out)))]
                elsewhere.insert(data.draw(st.integers(0, len(elsewhere))), records.pop(index))
            case "rename":
                place = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 130)))
                records[index] = Out(*place, records[index].key)
            case "unsign":
                records[index] = Out(-1, -1, records[index].key)
            case _:
                records[index] = records[index]._replace(mismatched=True)
    assert found(audit(log, block)) == by_definition(log)


@pytest.mark.parametrize("block", [1, 2, 3, 9])
@pytest.mark.parametrize(
    ("results", "reordered"),
    [
        ("a1 a2 b3 b4 a5", ""),
        ("a5 a3 a4", "3 4"),  # behind the latest one, not behind the last
        ("a5 b1 a3 b4", "3"),  # the next block ascends, and lies behind
        ("b2 a1 a5 b4 b3 a6", "3"),
        ("a5 a1 b3 b4 a2 a6", "1 2"),
        ("a1 a3 a3 a2", "2"),  # a copy is no later one
    ],
)
def test_books_judge_a_vehicles_order_by_its_latest_result(results: str, reordered: str, block: int) -> None:
    out = [Out(0, int(result[1]), result[:1].encode()) for result in results.split()]
    log = Log({0: Stretch(0, 9, 9)}, {0: [1, 2, 3, 4, 5, 6]}, {(SCORED, 0): out})
    discrepancies = [offset for kind, _, offset in found(audit(log, block)) if kind is DiscrepancyKind.REORDERED]
    assert discrepancies == [int(offset) for offset in reordered.split()]


def test_books_judge_the_order_of_the_stretch_alone_by_all_that_came_out() -> None:
    out = [Out(0, offset, b"a") for offset in (7, 6, 3, 4, 2)]
    log = Log({0: Stretch(3, 5, 9)}, {0: [3, 4, 6, 7]}, {(SCORED, 0): out})
    assert found(audit(log)) == [(DiscrepancyKind.REORDERED, 0, 3), (DiscrepancyKind.REORDERED, 0, 4)]


def test_books_hold_nothing_else_against_a_record_without_a_source() -> None:
    log = Log({0: Stretch(0, 4, 4)}, {0: [0, 3]}, {(SCORED, 0): [Out(0, o, b"a", o == 2) for o in (0, 2, 3, 9, 1)]})
    assert [(kind, offset) for kind, _, offset in found(audit(log))] == [
        (DiscrepancyKind.UNSOURCED, o) for o in (1, 2, 9)
    ]


def test_books_name_where_a_wrong_record_stands() -> None:
    log = Log({0: Stretch(0, 4, 4)}, {0: [0, 1, 3]}, {(SCORED, 0): [Out(0, o, b"a") for o in (0, 3, 1, 3, 2)]})
    books = audit(log)
    assert list(books.kept(DiscrepancyKind.REORDERED)) == [Discrepancy(DiscrepancyKind.REORDERED, 0, 1, SCORED, 0, 4)]
    assert list(books.kept(DiscrepancyKind.DOUBLED)) == [Discrepancy(DiscrepancyKind.DOUBLED, 0, 3, SCORED, 0, 6)]
    assert list(books.kept(DiscrepancyKind.UNSOURCED)) == [Discrepancy(DiscrepancyKind.UNSOURCED, 0, 2, SCORED, 0, 8)]
    assert list(books.kept(DiscrepancyKind.MISSING)) == []


def test_books_count_every_discrepancy_and_keep_the_first_ones() -> None:
    log = Log({0: Stretch(5, 100, 100)}, {0: list(range(5, 100))}, {(SCORED, 0): []})
    books = audit(log, kept_discrepancies=3)
    assert books.discrepancies[DiscrepancyKind.MISSING] == 95
    assert [discrepancy.source_offset for discrepancy in books.kept(DiscrepancyKind.MISSING)] == [5, 6, 7]


def test_books_take_some_bytes_an_event() -> None:
    count, block = 1_000_000, 10_000
    keys: list[bytes | None] = [b"V%d" % (row % 1_000) for row in range(block)]
    unsaid, there = np.zeros(block, np.bool_), np.zeros(block, np.int64)
    tracemalloc.start()
    books = Books({0: Stretch(0, count, count)})
    for start in range(0, count, block):
        books.take_telemetry(0, np.arange(start, start + block))
    for start in range(0, count, block):
        at = np.arange(start, start + block)
        books.take_results(Results(SCORED, 0, at, there, at, keys, unsaid))
    books.close()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert books.is_balanced
    assert peak_bytes < 4 * count
