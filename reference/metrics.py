"""The page of what can be scraped: the application's metrics under the names that Prometheus sees."""

from collections.abc import Iterable
from typing import Final

from fleet.counters import GATEWAY, INGEST_LAG_RECORDS, INGEST_TOTAL, METRICS, TAG, GatewayCount, IngestCount, Metric
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
        "",
        *markdown.table(("metric", "type", "unit", "tags", "meaning"), map(_row, METRICS)),
        "Serve and Ray add tags to each of them:",
        "",
        *markdown.table(("tag", "meaning"), [(markdown.code(tag), meaning) for tag, meaning in ADDED_TAGS.items()]),
        f"## Counts of {scraped_name(INGEST_TOTAL)}",
        "",
        "Each count only grows, and begins at zero with its replica. A count that is still zero is not there.",
        "",
        *_counts(IngestCount),
        f"## Counts of {scraped_name(GATEWAY)}",
        "",
        "All but `clients` only grow while the replica lives.",
        "",
        *_counts(GatewayCount),
        *_questions(),
    ]


def _row(metric: Metric) -> tuple[str, ...]:
    tags = ", ".join(map(markdown.code, metric.tags))
    return markdown.code(scraped_name(metric)), metric.kind, metric.unit, tags, metric.meaning


def _questions() -> list[str]:
    total = scraped_name(INGEST_TOTAL)
    return [
        "## Questions to Prometheus",
        "",
        "```promql",
        "# events scored per second",
        f'sum(rate({total}{{{TAG}="{IngestCount.SCORED}"}}[1m]))',
        "# records rejected per second, by reason",
        f'sum by ({TAG}) (rate({total}{{{TAG}=~"rejected_.*"}}[5m]))',
        "# records that wait",
        f"sum({scraped_name(INGEST_LAG_RECORDS)})",
        "```",
    ]


def _counts(counts: Iterable[IngestCount | GatewayCount]) -> list[str]:
    rows = [(markdown.code(count.value), count.unit, count.meaning) for count in counts]
    return markdown.table((TAG, "unit", "meaning"), rows)
