"""The suite's books on the real broker: the audit's findings, and what only the sender can know."""

from collections.abc import Iterator, Sequence

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
