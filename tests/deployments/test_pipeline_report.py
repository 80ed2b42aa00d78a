"""What `GET /v1/pipeline` makes of Kafka's answers."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deployments.web import core
from deployments.web.answers import PipelineBooks
from deployments.web.core import pipeline_books
from deployments.web.tail import PipelineSnapshot
from fleet.delivery.fleet_view import ArrivalStatistics
from fleet.kafka import Ledger, PartitionLedger
from tests.deployments.gateway_harness import running_gateway

NUMBERS = ("read", "scored", "deadLettered", "inFlight", "keyless", "lag", "oldestUnscoredSeconds")
NOW_S = 1764533865.0


def report_of(entries: Sequence[PartitionLedger], ages_s: dict[int, float]) -> dict[str, Any]:
    """What stands in the answer's JSON."""
    return msgspec.to_builtins(pipeline_books(PipelineSnapshot(entries, ages_s, NOW_S), ArrivalStatistics(0.0), NOW_S))


def numbers(report: dict[str, Any]) -> list[float | None]:
    return [report[name] for name in NUMBERS]


def test_report_says_the_ledger_by_partition_and_in_all() -> None:
    caught_up = PartitionLedger(0, 40, 0, 40, Ledger(40, 38, 2, 0, 4))
    behind = PartitionLedger(1, 20, 5, 32, Ledger(27, 19, 1, 7, 5))
    never_read = PartitionLedger(2, None, 3, 9, Ledger())
    report = report_of([caught_up, behind, never_read], {1: 2.5, 2: 60.0})
    assert numbers(report) == [67, 57, 3, 7, 9, 18, 60.0]
    assert [numbers(part) for part in report["partitions"]] == [
        [40, 38, 2, 0, 4, 0, 0.0],
        [27, 19, 1, 7, 5, 12, 2.5],
        [0, 0, 0, 0, 0, 6, 60.0],
    ]


def test_report_does_not_make_the_books_balance() -> None:
    report = report_of([PartitionLedger(0, 20, 0, 20, Ledger(20, 17, 0, 0))], {})
    assert numbers(report)[:4] == [20, 17, 0, 0]


def test_report_knows_no_oldest_event_where_one_that_waits_could_not_be_read() -> None:
    entries = [PartitionLedger(p, 20, 0, 30, Ledger(20, 20, 0, 0)) for p in range(2)]
    report = report_of(entries, {1: 2.5})
    assert [part["oldestUnscoredSeconds"] for part in report["partitions"]] == [None, 2.5]
    assert report["oldestUnscoredSeconds"] is None


def test_many_pages_ask_for_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def counted(*arguments: Any) -> PipelineBooks:
        made.append(arguments)
        return pipeline_books(*arguments)

    monkeypatch.setattr(core, "pipeline_books", counted)
    with running_gateway(tmp_path, tmp_path) as gateway:
        began_s = time.monotonic()
        for _ in range(50):
            assert gateway.core.pipeline().read is None
        assert 1 <= len(made) <= 1 + (time.monotonic() - began_s) / core.REPORT_LASTS_S
