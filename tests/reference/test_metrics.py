"""The page of the metrics names them as Ray exports them."""

from ray._private.telemetry import open_telemetry_metric_recorder
from ray.serve import metrics

from fleet.counters import METRICS, GatewayCount, IngestCount, Leg
from reference.metrics import ADDED_TAGS, PREFIX, metrics_page, scraped_name


def test_prefix_is_the_one_that_ray_puts_before_a_name():
    assert f"{open_telemetry_metric_recorder.NAMESPACE}_" == PREFIX


def test_tags_are_those_that_serve_adds():
    assert {metrics.APPLICATION_TAG, metrics.DEPLOYMENT_TAG, metrics.REPLICA_TAG} <= set(ADDED_TAGS)


def test_counters_end_in_total_so_that_the_exporter_adds_nothing_to_their_names():
    for metric in METRICS:
        assert (metric.kind == "counter") == metric.name.endswith("_total")


def test_every_metric_and_count_has_a_row():
    page = metrics_page()
    for name in [*map(scraped_name, METRICS), *IngestCount, *GatewayCount, *Leg]:
        assert page.count(f"\n| `{name}` |") == 1
