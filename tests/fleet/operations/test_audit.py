"""The audit against the real broker: real transactions, markers, committed offsets, and discrepancies on purpose."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from fleet import kafka as fleet_kafka
from fleet.errors import KafkaUnavailableError, SettingsError, TopicMismatchError
from fleet.kafka import Ledger, OffsetRange
from fleet.operations import audit as audits
from fleet.operations.audit import PartitionAudit, Wanted, audit, ledger_differences
from fleet.operations.audit_books import DiscrepancyKind
from fleet.settings import read_settings
from simulator.local_kafka import LocalKafka
from tests.fleet.ingest.worker_harness import POISON_SPEED, make_settings, publish, running, telemetry, until
from tests.fleet.operations.written_log import WrittenLog, arguments


@pytest.fixture
def log(kafka: LocalKafka) -> Iterator[WrittenLog]:
    written = WrittenLog()
    yield written
    written.close()


def discrepancies(report: audits.AuditReport) -> dict[str, list[str]]:
    kept = {
        kind: [f"{f.source_partition}:{f.source_offset}" for f in report.books.kept(kind)] for kind in DiscrepancyKind
    }
    return {kind: sources for kind, sources in kept.items() if sources}


def balanced(log: WrittenLog, events: int = 10) -> None:
    """Two partitions of so many events, of which 1:3 is a dead letter, in two transactions each."""
    for partition in range(2):
        log.publish(partition, [b"{}"] * events)
        out = [log.scored(partition, offset, f"v{offset % 3}") for offset in range(events)]
        if partition == 1:
            out[3] = log.dead(1, 3)
        log.come_out(partition, out[:5], 5, Ledger(events, 5 - partition, partition))
        log.come_out(partition, out[5:], events, Ledger(events, events - partition, partition))


def test_audit_of_a_balanced_log_counts_it(log: WrittenLog) -> None:
    balanced(log)
    report = audit(log.settings)
    assert report.is_balanced, (discrepancies(report), report.ledger_differences)
    assert report.partitions == [
        PartitionAudit(0, 0, 10, 10, 10, 0, 0, Ledger(10, 10, 0)),
        PartitionAudit(1, 0, 10, 10, 9, 1, 0, Ledger(10, 9, 1)),
    ]
    assert (report.events, report.notes) == (20, [])


def test_audit_takes_markers_and_aborted_records_for_no_gaps(log: WrittenLog) -> None:
    log.publish(0, [b"{}"])  # offset 0
    log.publish_in_transaction(0, 2, commit=True)  # 1, 2, and a marker at 3
    log.publish_in_transaction(0, 2, commit=False)  # 4, 5 and 6 are no records
    log.publish(0, [b"{}"])  # 7
    log.come_out(0, [log.scored(0, offset) for offset in (0, 1, 2, 7)], 8, Ledger(4, 4, 0))
    report = audit(log.settings)
    assert report.is_balanced, discrepancies(report)
    assert report.partitions[0] == PartitionAudit(0, 0, 8, 4, 4, 0, 0, Ledger(4, 4, 0))
    log.publish_in_transaction(1, 1, commit=False)  # a partition without a single record
    assert audit(log.settings).is_balanced


def test_audit_finds_each_kind_of_discrepancy_and_where_it_stands(log: WrittenLog) -> None:
    for partition in range(2):
        log.publish(partition, [b"{}"] * 12)
    out = [
        log.scored(0, 0),
        log.scored(0, 2),  # 1 is missing
        log.scored(0, 4),
        log.scored(0, 3),  # behind 4, of the same vehicle
        log.scored(0, 5, body_source="0:6"),
        log.scored(0, 6),
        log.scored(0, 99),  # not in the log
        log.scored(0, 7, "v", source="?"),
        log.scored(0, 8),
        log.dead(0, 8),
        log.scored(0, 10, "another"),
        log.scored(0, 9),  # behind another vehicle's
        log.scored(0, 11),
    ]
    log.come_out(0, out, 12, Ledger(11, 11, 0))
    log.come_out(1, [log.scored(1, offset) for offset in range(11)] + [log.scored(0, 7)], 12, Ledger(12, 12, 0))
    report = audit(log.settings)
    assert discrepancies(report) == {
        "missing": ["0:1", "1:11"],
        "doubled": ["0:8"],
        "reordered": ["0:3"],
        "misplaced": ["0:7"],
        "unsourced": ["0:99"],
        "unsigned": ["-1:-1"],
        "mismatched": ["0:5"],
    }
    [misplaced] = report.books.kept(DiscrepancyKind.MISPLACED)
    stands = next(m for m in log.read(log.topics.scored) if m.partition() == 1 and m.headers() == [("source", b"0:7")])
    assert (misplaced.partition, misplaced.offset) == (1, stands.offset())
    assert report.ledger_differences == ["partition 1: the ledger says 12 scored, the log holds 11"]
    assert not report.is_balanced
    assert audit(log.settings, kept_discrepancies=1).books.discrepancies[DiscrepancyKind.MISSING] == 2


def test_audit_does_not_miss_what_is_not_committed_yet(log: WrittenLog) -> None:
    log.publish(0, [b"{}"] * 5)
    report = audit(log.settings)  # nothing has been committed at all
    assert report.is_balanced
    assert report.notes == [f"partition 0: the group {log.settings.kafka.group_id} has committed nothing"]
    assert [(p.next, p.events, p.not_yet) for p in report.partitions] == [(0, 0, 5), (0, 0, 0)]
    log.come_out(0, [log.scored(0, 0), log.scored(0, 1)], 2, Ledger(4, 2, 0))
    report = audit(log.settings)
    assert report.is_balanced, report.ledger_differences
    assert [(p.next, p.events, p.not_yet) for p in report.partitions] == [(2, 2, 3), (0, 0, 0)]


def test_audit_keeps_to_the_stretch_asked_for(log: WrittenLog) -> None:
    balanced(log, 200)
    log.come_out(0, [log.scored(0, 0), log.scored(0, 150)], 200, Ledger(200, 200, 0))  # doubled
    times_s = [m.timestamp()[1] / 1000 for m in log.read(log.topics.telemetry)]
    assert discrepancies(audit(log.settings)) == {"doubled": ["0:0", "0:150"]}
    late = audit(log.settings, Wanted(offsets={0: OffsetRange(100, 10**9)}))
    assert discrepancies(late) == {"doubled": ["0:150"]}
    assert [(p.partition, p.first, p.next, p.events, p.ledger) for p in late.partitions] == [(0, 100, 200, 100, None)]
    middle = audit(log.settings, Wanted(offsets={0: OffsetRange(20, 120), 1: OffsetRange(0, 5)}))
    assert middle.is_balanced
    assert [(p.first, p.next, p.events) for p in middle.partitions] == [(20, 120, 100), (0, 5, 5)]
    by_time = audit(log.settings, Wanted(since_s=times_s[200]))  # partition 1 was appended after partition 0
    assert by_time.is_balanced
    assert sum(p.events for p in by_time.partitions) == sum(time_s >= times_s[200] for time_s in times_s)
    before = audit(log.settings, Wanted(until_s=times_s[200]))
    assert before.events + by_time.events == 400
    assert audit(log.settings, Wanted(since_s=times_s[-1] + 60)).events == 0


def test_audit_leaves_out_what_retention_has_deleted_the_results_of(log: WrittenLog) -> None:
    balanced(log, 50)
    log.delete_before(log.topics.scored, 0, 30)
    log.delete_before(log.topics.dlq, 1, 1)  # the only one that there was: whatever is missing may have been one
    report = audit(log.settings)
    first = int(next(m for m in log.read(log.topics.scored)).headers()[0][1].split(b":")[1])
    assert report.is_balanced, discrepancies(report)
    assert [(p.partition, p.first, p.events, p.ledger) for p in report.partitions] == [
        (0, first, 50 - first, None),
        (1, 50, 0, None),
    ]
    assert [note.split(":")[0] for note in report.notes] == ["partition 0", "partition 1"]
    keep_by_time_alone(log.topics.dlq)  # a day: then what came of today's events cannot have been deleted
    assert discrepancies(audit(log.settings)) == {"missing": ["1:3"]}


def test_audit_tells_of_telemetry_that_was_deleted_unread(log: WrittenLog) -> None:
    log.publish(0, [b"{}"] * 9)
    log.come_out(0, [log.scored(0, 0)], 1, Ledger(1, 1, 0))
    log.delete_before(log.topics.telemetry, 0, 4)
    report = audit(log.settings)
    assert [(p.first, p.next, p.not_yet) for p in report.partitions] == [(4, 4, 5), (0, 0, 0)]
    [note] = report.notes
    assert note.startswith("partition 0: retention has deleted the offsets 1 to 3, which the group ")


def keep_by_time_alone(topic: str) -> None:
    entry = ConfigEntry("retention.bytes", "-1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = fleet_kafka.admin_client()
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)
    assert fleet_kafka.kept_for_s(admin, topic) == 86_400


def test_audit_says_so_when_a_transaction_stays_open(log: WrittenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    balanced(log)
    stranger = log.transactional()
    stranger.begin_transaction()
    stranger.produce(log.topics.scored, b"{}", partition=0)
    assert stranger.flush(30) == 0
    monkeypatch.setattr(audits, "_REAPER_S", -9.0)  # with the transactions' own 10 s: patience of a second
    with pytest.raises(KafkaUnavailableError, match=f"{log.topics.scored} partition 0 .* stays open"):
        audit(log.settings)
    stranger.abort_transaction(30)
    monkeypatch.undo()
    assert audit(log.settings).is_balanced


def test_audit_names_a_topic_that_is_not_there(kafka: LocalKafka) -> None:
    settings = read_settings(arguments("nowhere"))
    with pytest.raises(TopicMismatchError, match=r"There is no topic telemetry-nowhere at .*: start the application"):
        audit(settings)


def test_audit_refuses_a_stretch_that_does_not_fit_memory(log: WrittenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    balanced(log)
    monkeypatch.setattr(audits, "MOST_OFFSETS", 19)
    with pytest.raises(SettingsError, match=r"20 offsets are more than one audit holds .*--since"):
        audit(log.settings)


def test_audit_refuses_a_partition_that_is_not_there(log: WrittenLog) -> None:
    with pytest.raises(SettingsError, match=r"--offsets names partition 2, but telemetry-\w+ has 2 partitions"):
        audit(log.settings, Wanted(offsets={2: OffsetRange(0, 5)}))


@pytest.mark.parametrize(
    ("changes", "sentences"),
    [
        ({}, []),
        ({"ledger": None, "scored": 0}, []),
        ({"scored": 6}, ["partition 3: the ledger says 7 scored, the log holds 6"]),
        ({"dead_lettered": 5}, ["partition 3: the ledger says 1 dead-lettered, the log holds 5"]),
        ({"not_yet": 1}, ["partition 3: the ledger says 2 read and neither scored nor dead-lettered, but 1"]),
        ({"ledger": Ledger(7, 7, 1)}, ["partition 3: the ledger says -1 read and neither"]),
    ],
)
def test_ledger_differences(changes: dict[str, Any], sentences: list[str]) -> None:
    fields: dict[str, Any] = {"scored": 7, "dead_lettered": 1, "not_yet": 2, "ledger": Ledger(10, 7, 1), **changes}
    found = ledger_differences(PartitionAudit(3, 0, 8, 8, **fields))
    assert len(found) == len(sentences)
    assert all(sentence.startswith(start) for sentence, start in zip(found, sentences, strict=True))


async def test_audit_balances_what_the_ingest_worker_did(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=30, score_attempts=1)
    poison: list[bytes | None] = [None, b"\xff", b"{", b'{"vehicleId":"v","timestamp":1,"speed":NaN}']
    for start in (0, 20):  # two lives
        async with running(settings) as worker:
            speeds = [POISON_SPEED if v == 5 and s == 7 else 50.0 for s in range(20) for v in range(12)]
            values = [telemetry(row % 12, start + row // 12, speed=speed) for row, speed in enumerate(speeds)]
            await publish(settings, values)
            await publish(settings, poison, key=b"sender")
            await until(lambda worker=worker: worker.counts["scored"] == 239, worker)
    report = await asyncio.to_thread(audit, settings)
    assert report.is_balanced, (discrepancies(report), report.ledger_differences)
    assert report.events == 2 * (240 + len(poison))
    assert [sum(p.dead_lettered for p in report.partitions), sum(p.scored for p in report.partitions)] == [10, 478]
    assert all(p.ledger is not None or p.events == 0 for p in report.partitions)


async def test_audit_balances_while_the_ingest_worker_goes_on(kafka: LocalKafka) -> None:
    settings = make_settings(turn_records=50)
    async with running(settings) as worker:
        await until(lambda: len(worker.owned_partitions) == 3, worker)
        for start in range(0, 60, 12):
            feed = asyncio.create_task(
                publish(settings, [telemetry(v, s) for s in range(start, start + 12) for v in range(40)])
            )
            report = await asyncio.to_thread(audit, settings)
            assert report.is_balanced, (start, discrepancies(report), report.ledger_differences)
            await feed
        await until(lambda: worker.counts["scored"] == 2_400, worker)
    report = await asyncio.to_thread(audit, settings)
    assert (report.is_balanced, report.events) == (True, 2_400)
