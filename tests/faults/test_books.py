"""The suite's books on the real broker: the audit's findings, and what only the sender can know."""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from faults.books import balance, ends
from faults.load import Entry, content_of
from fleet.kafka import Ledger, Record
from simulator.local_kafka import LocalKafka
from tests.fleet.operations.written_log import WrittenLog


def event(number: int) -> bytes:
    return b'{"vehicleId":"v","sequence":%d}' % number


@pytest.fixture
def log(kafka: LocalKafka) -> Iterator[WrittenLog]:
    written = WrittenLog()
    yield written
    written.close()


def result(log: WrittenLog, offset: int, number: int) -> Record:
    value = b'{"vehicleId":"v","sequence":%d,"source":"0:%d"}' % (number, offset)
    return msgspec.structs.replace(log.scored(0, offset), value=value)


def published(log: WrittenLog, numbers: Sequence[int]) -> list[Entry]:
    log.publish(0, [event(number) for number in numbers])
    return [Entry(0, offset, number) for offset, number in enumerate(numbers)]


def test_what_came_out_once_and_in_order_balances(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    accepted = published(log, [7, 8])
    log.publish(0, [b"{broken"])
    accepted.append(Entry(0, 2, content_of(b"{broken")))
    out = [result(log, 0, 7), result(log, 1, 8), log.dead(0, 2, value=b"{broken")]
    log.come_out(0, out, 3, Ledger(3, 2, 1))
    found = balance(log.settings, begin, accepted)
    assert (found.events, found.lost, found.doubled, found.reordered) == (3, 0, 0, 0)
    assert found.sentences == []


def test_lost_doubled_and_reordered_events_are_counted_and_named(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    accepted = published(log, range(5))
    out = [result(log, number, number) for number in (1, 0, 3, 3)]
    log.come_out(0, out, 4, Ledger(4, 4, 0))
    found = balance(log.settings, begin, accepted)
    assert (found.lost, found.doubled, found.reordered) == (2, 1, 1)
    assert "0:2" in found.sentences[0]
    assert "1 events beyond the committed offsets" in found.sentences


def test_an_acknowledged_event_that_kafka_no_longer_has_is_lost(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    accepted = published(log, [7])
    log.come_out(0, [result(log, 0, 7)], 1, Ledger(1, 1, 0))
    found = balance(log.settings, begin, [*accepted, Entry(0, 1, 8), Entry(0, 0, 9)])
    assert found.lost == 2
    assert found.sentences == ["2 acknowledged events that Kafka no longer has, the first from 0:1, 0:0"]


def test_a_result_that_says_something_else_than_its_source_is_named(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    accepted = published(log, [7, 8])
    log.come_out(0, [result(log, 0, 8), result(log, 1, 8)], 2, Ledger(2, 2, 0))
    found = balance(log.settings, begin, accepted)
    assert found.sentences == ["1 results that say something else than their source, the first from 0:0"]


def test_a_stretch_begins_where_it_was_asked_to(log: WrittenLog) -> None:
    published(log, [1])
    log.come_out(0, [], 1, Ledger(1, 1, 0))
    begin = ends(log.settings.kafka)
    log.publish(0, [event(2)])
    log.come_out(0, [result(log, 1, 2)], 2, Ledger(2, 2, 0))
    assert balance(log.settings, begin, [Entry(0, 1, 2)]).sentences == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            lambda log: [log.scored(0, 0, source=None)],
            "records without a readable header `source`, the first from -1:-1",
        ),
        (lambda log: [log.scored(0, 0, source="0:9")], "records whose source is not in the log, the first from 0:9"),
        (
            lambda log: [log.scored(0, 0, body_source="0:1")],
            "results whose body names another source than their header, the first from 0:0",
        ),
        (
            lambda log: [log.dead(0, 0, value=b"{something else")],
            "results that say something else than their source, the first from 0:0",
        ),
    ],
    ids=["unsigned", "unsourced", "mismatched", "a dead letter with other bytes"],
)
def test_each_wrong_in_what_came_out_has_a_sentence(
    log: WrittenLog, wrong: Callable[[WrittenLog], list[Record]], sentence: str
) -> None:
    begin = ends(log.settings.kafka)
    log.publish(0, [b"{broken"])
    out = wrong(log)
    is_dead = out[0].topic == log.topics.dlq
    log.come_out(0, out, 1, Ledger(1, not is_dead, is_dead))
    found = balance(log.settings, begin, [Entry(0, 0, content_of(b"{broken"))])
    assert any(line == f"1 {sentence}" for line in found.sentences), found.sentences


def test_a_result_in_another_partition_than_its_source_is_named(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    accepted = published(log, [7])
    log.come_out(1, [result(log, 0, 7)], 0, Ledger())
    log.come_out(0, [], 1, Ledger(1, 1, 0))
    found = balance(log.settings, begin, accepted)
    assert any(s.startswith("1 records in another partition than their source") for s in found.sentences)


def test_two_partitions_are_each_read_in_their_own_order(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    log.publish(0, [event(1), event(2)])
    log.publish(1, [event(3), event(4)])
    accepted = [Entry(0, 0, 1), Entry(0, 1, 2), Entry(1, 0, 3), Entry(1, 1, 4)]
    log.come_out(0, [result(log, 0, 1), result(log, 1, 2)], 2, Ledger(2, 2, 0))
    late = [log.scored(1, 1), log.scored(1, 0)]
    bodies = [b'{"sequence":4,"source":"1:1"}', b'{"sequence":3,"source":"1:0"}']
    log.come_out(
        1, [msgspec.structs.replace(r, value=body) for r, body in zip(late, bodies, strict=True)], 2, Ledger(2, 2, 0)
    )
    found = balance(log.settings, begin, accepted)
    assert (found.lost, found.doubled, found.reordered) == (0, 0, 1)
    assert [sentence.rpartition(" ")[2] for sentence in found.sentences] == ["1:0"]


def test_a_ledger_that_counts_otherwise_than_the_log_is_named(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    accepted = published(log, [7])
    log.come_out(0, [result(log, 0, 7)], 1, Ledger(2, 2, 0))
    [sentence] = balance(log.settings, begin, accepted).sentences
    assert sentence == "partition 0: the ledger says 2 scored, the log holds 1"


def test_an_event_whose_number_changed_on_the_way_into_the_log_is_lost(log: WrittenLog) -> None:
    begin = ends(log.settings.kafka)
    published(log, [7])
    log.come_out(0, [result(log, 0, 7)], 1, Ledger(1, 1, 0))
    assert balance(log.settings, begin, [Entry(0, 0, 8)]).lost == 1
