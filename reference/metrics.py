"""The page of what can be scraped: the application's metrics under the names that Prometheus sees."""

from collections.abc import Iterable
from typing import Final

from fleet.counters import (
    BOUND_TAG,
    EVENT_SECONDS,
    GATEWAY_TOTAL,
    INGEST_TOTAL,
    LEG_TAG,
    METRICS,
    PARTITION_LAG_RECORDS,
    TAG,
    GatewayCount,
    IngestCount,
    Leg,
    Metric,
)
from reference import markdown

# What Ray puts before the name of every metric.
PREFIX: Final = "ray_"
# What Serve and Ray add to every metric of a replica. Ray adds more, which say nothing of the application.
ADDED_TAGS: Final = {
    "application": "Name of the Serve application, `fleet`.",
    "deployment": "`Ingest` or `Gateway`.",
    "replica": "The replica that counted. A new replica counts from zero.",
    "NodeAddress": "Address of the node that the replica runs on.",
    "SessionName": "The run of Ray.",
    "WorkerId": "The process of the replica.",
}


def metrics_page() -> str:
    """Return the page."""
    return markdown.page("Metrics", "fleet/counters.py", _lines())


def scraped_name(metric: Metric) -> str:
    """Return the name under which Prometheus sees a metric; Ray leaves a counter's `_total` as it is."""
    return f"{PREFIX}{metric.name}"


def _lines() -> list[str]:
    return [
        "Every Ray node serves its metrics for Prometheus under `/metrics`.",
        "On Kubernetes that is port 8080; elsewhere `ray start --metrics-export-port` sets the port.",
        "Without it Ray takes a free one, and lists all nodes in `prom_metrics_service_discovery.json` in its folder",
        "(`/tmp/ray`), which Prometheus reads as `file_sd_configs`.",
        "",
        "Beside these stand Ray's own metrics and Serve's, which begin with `ray_serve_`.",
        "Batches of the scorers are among Serve's: `ray_serve_actual_batch_size`, `ray_serve_batch_execution_time_ms`.",
        "",
        *markdown.table(("metric", "type", "unit", "tags", "meaning"), map(_row, METRICS)),
        f"A histogram has the series `_bucket` with the tag `{BOUND_TAG}`, `_sum` and `_count`.",
        "A scrape calls them gauges; they only grow, so `rate` and `histogram_quantile` work as with any other.",
        "",
        "The gateway's metrics of a partition are the same from each of its replicas: take `max`, and not `sum`.",
        "",
        "Serve and Ray add tags to each of them:",
        "",
        *markdown.table(("tag", "meaning"), [(markdown.code(tag), meaning) for tag, meaning in ADDED_TAGS.items()]),
        "How many series there can be is bounded. A replica of ingest has one for each count and for each cause of the",
        "channel specification, and some 110 for histograms; one of the gateway has 3 for each partition, and some 50.",
        "No tag holds what a sender chose.",
        "",
        f"## Counts of {scraped_name(INGEST_TOTAL)}",
        "",
        "Each count only grows, and begins at zero with its replica. A count that is still zero is not there.",
        "",
        *_counts(IngestCount, TAG),
        f"## Counts of {scraped_name(GATEWAY_TOTAL)}",
        "",
        "They only grow while the replica lives. A count that is still zero is not there.",
        "",
        *_counts(GatewayCount, TAG),
        f"## Legs of {scraped_name(EVENT_SECONDS)}",
        "",
        *_counts(Leg, LEG_TAG),
        *_questions(),
    ]


def _row(metric: Metric) -> tuple[str, ...]:
    tags = ", ".join(map(markdown.code, metric.tags))
    return markdown.code(scraped_name(metric)), metric.kind, metric.unit, tags, metric.meaning


def _questions() -> list[str]:
    total, seconds = scraped_name(INGEST_TOTAL), scraped_name(EVENT_SECONDS)
    whole_way = f'{LEG_TAG}="{Leg.APPENDED_TO_SHOWN}"'
    return [
        "## Questions to Prometheus",
        "",
        "```promql",
        "# events scored per second",
        f'sum(rate({total}{{{TAG}="{IngestCount.SCORED}"}}[1m]))',
        "# records rejected per second, by reason",
        f'sum by ({TAG}) (rate({total}{{{TAG}=~"rejected_.*"}}[5m]))',
        "# records that wait",
        f"sum(max by (partition) ({scraped_name(PARTITION_LAG_RECORDS)}))",
        "# seconds from Kafka to the screen, at the 99th percentile",
        f"histogram_quantile(0.99, sum by ({BOUND_TAG}) (rate({seconds}_bucket{{{whole_way}}}[5m])))",
        "# seconds on each leg, on average",
        f"sum by ({LEG_TAG}) (rate({seconds}_sum[5m])) / sum by ({LEG_TAG}) (rate({seconds}_count[5m]))",
        "```",
    ]


def _counts(counts: Iterable[IngestCount | GatewayCount | Leg], tag: str) -> list[str]:
    rows = [(markdown.code(count.value), count.unit, count.meaning) for count in counts]
    return markdown.table((tag, "unit", "meaning"), rows)
