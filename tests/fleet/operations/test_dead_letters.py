"""Dead letters on the real broker: chosen, counted, sent again, and never twice unnoticed."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import TopicMismatchError
from fleet.events.source import Source
from fleet.kafka import Ledger, Message, Record
from fleet.operations.audit import audit
from fleet.operations.dead_letters import DeadLetterFilter, DeadLetters, OffsetSet, Redrive, newest
from fleet.records.dead_letter import NO_SOURCE, OMITTED_HEADER, DeadLetter
from fleet.settings import read_settings
from simulator.local_kafka import LocalKafka
from tests.fleet.ingest import worker_harness as ingest
from tests.fleet.operations.written_log import WrittenLog, arguments

BYTES = [b"\xff\x00", None, b"", b'{"vehicleId":"v"', "später".encode()]


@pytest.fixture
def log(kafka: LocalKafka) -> Iterator[WrittenLog]:
    written = WrittenLog()
    yield written
    written.close()


def redrive(log: WrittenLog, wanted: DeadLetterFilter | None = None, *, untold_too: bool = False) -> Redrive:
    planned = Redrive(log.settings.kafka, wanted or DeadLetterFilter(), untold_too=untold_too)
    planned.plan()
    return planned


def never() -> bool:
    return False


def fill(log: WrittenLog) -> None:
    """Dead letters of 0:0 to 0:4 with all kinds of bytes and keys, and of 1:0 to 1:9, of two reasons."""
    keys = [b"a", None, b"b", b"", b"\xfe"]
    log.publish(0, BYTES)
    log.publish(1, [b"{"] * 10)
    rejected = zip(BYTES, keys, strict=True)
    records = [log.dead(0, o, "not_utf8", value, key) for o, (value, key) in enumerate(rejected)]
    log.come_out(0, records, 5, Ledger(5, 0, 5))
    records = [log.dead(1, o, "not_json" if o % 2 else "empty", b"%d" % o, b"v") for o in range(10)]
    log.come_out(1, records, 10, Ledger(10, 0, 10))


def redriven(log: WrittenLog) -> list[Message]:
    return [m for m in log.read(log.topics.telemetry) if m.headers()]


def test_dead_letters_are_read_with_all_that_they_carry(log: WrittenLog) -> None:
    fill(log)
    letters = list(DeadLetters(log.settings.kafka).chosen(DeadLetterFilter(partitions=frozenset({0}))))
    assert [letter.value for letter in letters] == BYTES
    assert [letter.key for letter in letters] == [b"a", None, b"b", b"", b"\xfe"]
    assert [letter.source for letter in letters] == [Source(0, offset) for offset in range(5)]
    assert {letter.reason for letter in letters} == {"not_utf8"}
    assert [letter.detail for letter in letters] == [f"detail of {offset}" for offset in range(5)]


def test_dead_letters_are_chosen_by_reason_partition_time_and_source(log: WrittenLog) -> None:
    fill(log)
    letters = DeadLetters(log.settings.kafka)

    def places(wanted: DeadLetterFilter) -> list[tuple[int, int]]:
        return sorted(letter.source for letter in letters.chosen(wanted))

    everything = list(letters.chosen(DeadLetterFilter()))
    assert len(everything) == 15
    assert places(DeadLetterFilter(reasons=frozenset({"empty"}))) == [(1, offset) for offset in range(0, 10, 2)]
    assert len(places(DeadLetterFilter(reasons=frozenset({"empty", "not_utf8"})))) == 10
    assert places(DeadLetterFilter(partitions=frozenset({0, 7}))) == [(0, offset) for offset in range(5)]
    assert places(DeadLetterFilter(sources=frozenset({Source(1, 3), Source(0, 99)}))) == [(1, 3)]
    written_s = sorted(letter.at_s for letter in everything)
    for moment_s in {written_s[0], written_s[-1], written_s[7], written_s[-1] + 60}:
        since, before = places(DeadLetterFilter(since_s=moment_s)), places(DeadLetterFilter(until_s=moment_s))
        assert sorted(since + before) == places(DeadLetterFilter())
        assert len(since) == sum(at_s >= moment_s for at_s in written_s)


def test_dead_letter_is_found_by_its_own_place(log: WrittenLog) -> None:
    fill(log)
    letters = DeadLetters(log.settings.kafka)
    for letter in letters.chosen(DeadLetterFilter()):
        assert letters.at(Source(letter.partition, letter.offset)) == [letter]
    marker = log.read(log.topics.dlq)[-1].offset() + 1
    assert letters.at(Source(1, marker)) == letters.at(Source(1, 10**6)) == letters.at(Source(9, 0)) == []


def test_dead_letters_of_an_aborted_transaction_are_none(log: WrittenLog) -> None:
    log.publish(0, [b"{"])
    log.publish_in_transaction(0, 3, commit=False, topic=log.topics.dlq)
    assert list(DeadLetters(log.settings.kafka).chosen(DeadLetterFilter())) == []
    assert redrive(log).counts.chosen == 0


def test_dead_letters_name_a_topic_that_is_not_there(kafka: LocalKafka) -> None:
    with pytest.raises(TopicMismatchError, match="There is no topic dlq-nowhere"):
        DeadLetters(read_settings(arguments("nowhere")).kafka)


def test_newest_counts_all_and_keeps_some() -> None:
    times_s = [3.0, 9.0, 1.0]
    letters = [DeadLetter(0, o, at_s, NO_SOURCE, f"r{o % 2}", "", None, None) for o, at_s in enumerate(times_s)]
    counts, latest = newest(letters, 2)
    assert counts == {"r0": 2, "r1": 1}
    assert [letter.at_s for letter in latest] == [9, 3]


def test_redrive_sends_key_and_bytes_to_the_partition_of_the_source(log: WrittenLog) -> None:
    fill(log)
    planned = redrive(log, DeadLetterFilter(reasons=frozenset({"not_utf8", "not_json"})))
    assert planned.counts.chosen == 10
    assert planned.counts.to_send == {"not_utf8": 5, "not_json": 5}
    assert redriven(log) == []  # a plan alone sends nothing
    counts = planned.send(never)
    assert (counts.acknowledged, counts.failed, counts.twice) == (10, 0, 0)
    sent = redriven(log)
    assert [m.value() for m in sent if m.partition() == 0] == BYTES
    assert [m.key() for m in sent if m.partition() == 0] == [b"a", None, b"b", b"", b"\xfe"]
    assert [m.headers() for m in sent] == [
        *([("redriven", b"0:%d" % offset)] for offset in range(5)),
        *([("redriven", b"1:%d" % offset)] for offset in range(1, 10, 2)),
    ]


def test_redrive_given_again_sends_what_is_left(log: WrittenLog) -> None:
    fill(log)
    asked = iter([False] * 4)
    first = redrive(log).send(lambda: next(asked, True))  # somebody asks to stop after four
    assert (first.acknowledged, first.to_send.total()) == (4, 15)
    second = redrive(log)
    assert (second.counts.already, second.counts.to_send.total()) == (4, 11)
    assert second.send(never).acknowledged == 11
    third = redrive(log)
    assert (third.counts.chosen, third.counts.already, third.counts.to_send.total()) == (15, 15, 0)
    assert third.send(never).acknowledged == 0
    assert len({(m.partition(), m.headers()[0][1]) for m in redriven(log)}) == len(redriven(log)) == 15


def test_redrive_sends_one_that_stands_twice_in_the_dlq_once(log: WrittenLog) -> None:
    log.publish(0, [b"{"])
    log.come_out(0, [log.dead(0, 0), log.dead(0, 0)], 1, Ledger(1, 0, 1))
    counts = redrive(log).send(never)
    assert (counts.chosen, counts.already, counts.acknowledged, counts.twice) == (2, 1, 1, 0)


def test_redrive_notices_another_one_at_the_same_time(log: WrittenLog) -> None:
    fill(log)
    one, other = redrive(log), redrive(log, DeadLetterFilter(partitions=frozenset({0})))
    assert one.send(never).twice == 0
    counts = other.send(never)
    assert (counts.acknowledged, counts.twice) == (5, 5)


def test_redrive_tells_of_those_that_came_back(log: WrittenLog) -> None:
    log.publish(0, [b"{", b"{"])
    log.come_out(0, [log.dead(0, 0), log.dead(0, 1)], 2, Ledger(2, 0, 2))
    assert redrive(log, DeadLetterFilter(sources=frozenset({Source(0, 1)}))).send(never).acknowledged == 1
    log.come_out(0, [log.dead(0, 2)], 3, Ledger(3, 0, 3))  # still no event
    counts = redrive(log).send(never)
    assert (counts.already, counts.acknowledged, counts.came_back) == (1, 2, 1)
    assert [m.headers()[0][1] for m in redriven(log)] == [b"0:1", b"0:0", b"0:2"]


def test_redrive_leaves_what_names_no_telemetry_record(log: WrittenLog) -> None:
    log.publish(0, [b"{"])
    no_header = Record(log.topics.dlq, b"v", b"{", [("reason", b"not_json")])
    out = [log.dead(0, 0), no_header, log.dead(0, 10**17), log.dead(7, 0)]
    log.come_out(0, out, 1, Ledger(1, 0, 1))
    counts = redrive(log).send(never)
    assert (counts.chosen, counts.unsourced, counts.acknowledged) == (4, 3, 1)


def test_redrive_leaves_what_was_too_large_to_come_along(log: WrittenLog) -> None:
    log.publish(0, [b"{"] * 2)
    headers = [("reason", b"too_large"), ("source", b"0:0"), (OMITTED_HEADER, b"10000000")]
    log.come_out(0, [Record(log.topics.dlq, b"v", None, headers), log.dead(0, 1)], 2, Ledger(2, 0, 2))
    counts = redrive(log).send(never)
    assert (counts.chosen, counts.omitted, counts.acknowledged) == (2, 1, 1)


def test_redrive_leaves_those_of_which_the_telemetry_no_longer_tells(log: WrittenLog) -> None:
    fill(log)
    assert redrive(log).send(never).acknowledged == 15
    log.delete_before(log.topics.telemetry, 0, 10)  # with everything that was sent again
    log.publish(0, [b"{}"])
    counts = redrive(log).counts
    assert (counts.untold, counts.already, counts.to_send.total()) == (5, 10, 0)
    counts = redrive(log, untold_too=True).send(never)
    assert (counts.untold, counts.already, counts.acknowledged) == (0, 10, 5)


@pytest.mark.parametrize("more_bytes", [10_000, -30])  # refused by the client; by the broker, for its header
def test_redrive_counts_what_kafka_refuses_and_sends_the_rest(log: WrittenLog, more_bytes: int) -> None:
    log.publish(0, [b"{"] * 3)
    too_large = b"x" * (log.settings.kafka.max_message_bytes + more_bytes)
    out = [log.dead(0, 0, value=b"first"), log.dead(0, 1, value=too_large), log.dead(0, 2, value=b"last")]
    log.come_out(0, out, 3, Ledger(3, 0, 3))
    counts = redrive(log).send(never)
    assert (counts.acknowledged, counts.failed) == (2, 1)
    assert "large" in counts.last_failure
    assert [m.value() for m in redriven(log)] == [b"first", b"last"]


@given(st.integers(0, 10**12), st.integers(-3, 40), st.lists(st.integers(-5, 45)))
def test_offset_set_holds_what_was_put_in(first: int, span: int, places: list[int]) -> None:
    offsets = OffsetSet(first, first + span)
    oracle: set[int] = set()
    for place in places:
        assert offsets.spans(first + place) == (0 <= place < span)
        before = offsets.copy()
        offsets.add(first + place)
        assert (first + place in before) == (place in oracle)
        if 0 <= place < span:
            oracle.add(place)
    assert {place for place in range(-5, 45) if first + place in offsets} == oracle


async def test_redriven_dead_letters_are_scored_once_what_was_wrong_is_mended(
    kafka: LocalKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ingest.make_settings(score_attempts=1)
    poison = [ingest.telemetry(v, 0, speed=ingest.POISON_SPEED) for v in range(6)]
    async with ingest.running(settings) as worker:
        await ingest.publish(settings, [*poison, *(ingest.telemetry(v, 0) for v in range(6, 12))])
        await ingest.publish(settings, [b"{"] * 3, key=b"sender")
        await ingest.until(lambda: worker.counts["scored"] == 6, worker)
    monkeypatch.setattr(ingest, "POISON_SPEED", -1.0)  # the model can score them now
    async with ingest.running(settings) as worker:
        planned = Redrive(settings.kafka, DeadLetterFilter(reasons=frozenset({"scoring_failed", "not_json"})))
        counts = await asyncio.to_thread(planned.plan)
        assert counts.to_send == {"scoring_failed": 6, "not_json": 3}
        assert (await asyncio.to_thread(planned.send, never)).acknowledged == 9
        await ingest.until(lambda: worker.counts["scored"] == 6 and worker.counts["rejected_not_json"] == 3, worker)
    report = await asyncio.to_thread(audit, settings)
    assert (report.is_balanced, report.events) == (True, 24)
    scored = await ingest.read_topic(settings, settings.kafka.topics.scored)
    assert sorted(json.loads(m.value())["vehicleId"] for m in scored) == sorted(f"V{v}" for v in range(12))
    again = Redrive(settings.kafka, DeadLetterFilter())
    counts = await asyncio.to_thread(again.plan)
    assert (counts.already, counts.to_send, counts.came_back) == (9, {"not_json": 3}, 3)
