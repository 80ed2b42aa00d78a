"""What the deployments publish is the catalogue: every series of it, and the values that were counted."""

from types import SimpleNamespace
from typing import Any

import pytest

from deployments import metrics
from deployments.metrics import GatewayMetrics, IngestMetrics
from deployments.web.core import GatewayCore
from deployments.web.tail import PipelineSnapshot
from fleet import counters
from fleet.counters import IngestCount, Leg
from fleet.detection.features import FeaturePlan
from fleet.events.channels import VEHICLE_DATA
from fleet.ingest.measures import Measures
from fleet.kafka import Ledger, PartitionLedger
from fleet.settings import Settings
from tests.small_detector import made_up_bundle

Published = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    """Stand in for Ray's metrics, which go to a node's endpoint; the whole system's test reads that one."""
    values: Published = {}

    class Recorded:
        def __init__(self, name: str, _: str, tags: tuple[str, ...]) -> None:
            self._name, self._tags = name, tags

        def set(self, value: float, tags: dict[str, str]) -> None:
            assert set(tags) == set(self._tags)
            values[self._name, frozenset(tags.items())] = value

        def inc(self, value: float, tags: dict[str, str]) -> None:
            assert value > 0
            self.set(values.get((self._name, frozenset(tags.items())), 0) + value, tags)

    monkeypatch.setattr(metrics.metrics, "Gauge", Recorded)
    monkeypatch.setattr(metrics.metrics, "Counter", Recorded)
    return values


async def no_scorer(version, features):
    raise AssertionError("nothing is scored here")


def value(published: Published, name: str, **tags: str) -> float:
    return published[name, frozenset(tags.items())]


def names(published: Published) -> set[str]:
    return {name for name, _ in published}


def worker(measures: Measures, **counts: int) -> Any:
    return SimpleNamespace(
        counts={IngestCount(name): count for name, count in counts.items()},
        lag_records=7,
        busy_share=0.25,
        measures=measures,
        model_version="v1",
    )


def test_ingest_publishes_every_metric_of_its_part_of_the_catalogue(published: Published) -> None:
    measures = Measures()
    measures.episodes_by_cause["overheating"] += 1
    IngestMetrics(worker(measures, scored=3)).publish()
    assert names(published) == {name for metric in counters.OF_INGEST for name in metric.series}
    assert value(published, "fleet_ingest_total", count="scored") == 3
    assert value(published, "fleet_episodes_opened_total", cause="overheating") == 1


def test_histogram_is_published_as_its_buckets_sum_and_count(published: Published) -> None:
    measures = Measures()
    measures.legs[Leg.READ_TO_SCORED].observe(0.02, 5)
    measures.legs[Leg.READ_TO_SCORED].observe(1_000.0)
    IngestMetrics(worker(measures)).publish()
    buckets = {
        bound: value(published, "fleet_event_seconds_bucket", leg="read_to_scored", le=bound)
        for bound in ("0.01", "0.025", "300", "+Inf")
    }
    assert buckets == {"0.01": 0, "0.025": 5, "300": 5, "+Inf": 6}
    assert value(published, "fleet_event_seconds_count", leg="read_to_scored") == 6
    assert value(published, "fleet_event_seconds_sum", leg="read_to_scored") == pytest.approx(1_000.1)


def test_counter_grows_by_what_is_new(published: Published) -> None:
    member = worker(Measures(), scored=3)
    ingest = IngestMetrics(member)
    ingest.publish()
    member.counts[IngestCount.SCORED] = 10
    ingest.publish()
    ingest.publish()
    assert value(published, "fleet_ingest_total", count="scored") == 10


def test_model_before_the_one_that_serves_is_no_more(published: Published) -> None:
    member = worker(Measures())
    ingest = IngestMetrics(member)
    ingest.publish()
    member.model_version = "v2"
    ingest.publish()
    assert value(published, "fleet_model_info", version="v1") == 0
    assert value(published, "fleet_model_info", version="v2") == 1


def test_gateway_publishes_every_metric_of_its_part_of_the_catalogue(published: Published) -> None:
    core = GatewayCore(Settings(), made_up_bundle(FeaturePlan.of(VEHICLE_DATA)), no_scorer, lambda: None)
    ledger = Ledger(read=10, scored=6, dead_lettered=1, in_flight=2)
    waits, idle = PartitionLedger(0, 9, 0, 12, ledger), PartitionLedger(1, 5, 0, 5, Ledger(5, 5))
    core.watch.snapshot = PipelineSnapshot([waits, idle], {0: 2.5}, 1_700_000_000.0)
    core.view.duplicates = 4
    GatewayMetrics().publish(core)
    of_both = {*counters.EVENT_SECONDS.series, *counters.MODEL_INFO.series}
    assert names(published) == of_both | {metric.name for metric in counters.OF_GATEWAY}
    assert value(published, "fleet_gateway_total", count="duplicates") == 4
    assert value(published, "fleet_partition_unbalanced_records", partition="0") == 1
    assert value(published, "fleet_partition_lag_records", partition="0") == 3
    assert value(published, "fleet_partition_oldest_unscored_seconds", partition="0") == 2.5
    assert value(published, "fleet_partition_oldest_unscored_seconds", partition="1") == 0
    assert value(published, "fleet_ledger_read_timestamp_seconds") == 1_700_000_000


def test_age_that_is_not_known_is_not_said(published: Published) -> None:
    core = GatewayCore(Settings(), made_up_bundle(FeaturePlan.of(VEHICLE_DATA)), no_scorer, lambda: None)
    core.watch.snapshot = PipelineSnapshot([PartitionLedger(0, 9, 0, 12, Ledger())], {}, 1_700_000_000.0)
    GatewayMetrics().publish(core)
    assert "fleet_partition_oldest_unscored_seconds" not in names(published)
