"""Stretches of a topic, read on the real broker: exactly the offsets asked for that are records."""

from collections.abc import Iterator

import pytest

from fleet import kafka as fleet_kafka
from fleet.errors import KafkaUnavailableError, RetentionGapError
from fleet.kafka import OffsetRange, held_offsets, kept_for_s, offsets_at, read_ranges
from simulator.local_kafka import LocalKafka
from tests.fleet.operations.written_log import WrittenLog


@pytest.fixture
def log(kafka: LocalKafka) -> Iterator[WrittenLog]:
    written = WrittenLog()
    yield written
    written.close()


def read(log: WrittenLog, ranges: dict[int, OffsetRange]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for partition, run in read_ranges(log.settings.kafka, log.topics.telemetry, ranges, "test"):
        assert run
        found.setdefault(partition, []).extend(message.offset() for message in run)
    return found


def test_read_ranges_reads_what_was_asked_for_and_no_more(log: WrittenLog) -> None:
    log.publish(0, [b"{}"] * 3_000)
    log.publish(1, [b"{}"] * 20)
    ranges = {0: OffsetRange(100, 2_500), 1: OffsetRange(0, 20)}
    assert read(log, ranges) == {0: list(range(100, 2_500)), 1: list(range(20))}
    assert read(log, {0: OffsetRange(7, 7), 1: OffsetRange(19, 20)}) == {1: [19]}
    assert read(log, {}) == {}


def test_read_ranges_ends_where_the_last_offsets_are_no_records(log: WrittenLog) -> None:
    log.publish(0, [b"{}"] * 2)
    log.publish_in_transaction(0, 2, commit=False)  # 2, 3 and a marker at 4
    assert held_offsets(fleet_kafka.admin_client(), log.topics.telemetry, committed=True)[0] == OffsetRange(0, 5)
    assert read(log, {0: OffsetRange(0, 5)}) == {0: [0, 1]}
    assert read(log, {0: OffsetRange(2, 5)}) == read(log, {0: OffsetRange(3, 4)}) == {}
    log.publish(0, [b"{}"])
    assert read(log, {0: OffsetRange(0, 4)}) == {0: [0, 1]}  # ends in a hole, with records behind it


def test_read_ranges_says_so_when_retention_was_faster(log: WrittenLog) -> None:
    log.publish(0, [b"{}"] * 10)
    log.delete_before(log.topics.telemetry, 0, 5)
    with pytest.raises(RetentionGapError, match=f"{log.topics.telemetry} partition 0: retention deleted records"):
        read(log, {0: OffsetRange(3, 10)})
    assert read(log, {0: OffsetRange(5, 10)}) == {0: list(range(5, 10))}


def test_read_ranges_gives_up_on_a_kafka_that_is_away(log: WrittenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    with pytest.raises(KafkaUnavailableError, match=r"127\.0\.0\.1:1 gave nothing more of .* up to offset 9 for 0.5 s"):
        list(read_ranges(log.settings.kafka, log.topics.telemetry, {0: OffsetRange(0, 10)}, "test", patience_s=0.5))


def test_offsets_at_finds_the_first_record_since_a_moment(log: WrittenLog) -> None:
    for _ in range(3):
        log.publish(1, [b"{}"] * 4)
    times_s = [message.timestamp()[1] / 1000 for message in log.read(log.topics.telemetry)]
    admin = fleet_kafka.admin_client()

    def first_since(time_s: float) -> int | None:
        return offsets_at(admin, log.topics.telemetry, {1: time_s})[1]

    for time_s in times_s:
        assert first_since(time_s) == times_s.index(time_s)
    assert first_since(0.0) == 0
    assert first_since(times_s[-1] + 1) is None


def test_kept_for_s_is_none_where_size_counts_too(log: WrittenLog) -> None:
    assert kept_for_s(fleet_kafka.admin_client(), log.topics.telemetry) is None  # the local broker bounds its disk
