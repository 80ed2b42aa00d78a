"""Alerts name metrics that there are, have a page each, and fire when they should and not before."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleet.counters import METRICS, GatewayCount, IngestCount, Leg
from reference.metrics import PREFIX
from tests.docs.pages import ROOT

ALERTS = ROOT / "docs" / "operate" / "alerts.yaml"
# Kubelets say them of volumes.
OF_KUBERNETES = {"kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"}
OURS = {f"{PREFIX}{name}" for metric in METRICS for name in metric.series}
VALUES = {
    "count": {*IngestCount, *GatewayCount, "rejected_.*"},
    "leg": set(Leg),
    "le": {f"{bound:g}" for metric in METRICS for bound in metric.bounds},
}
PARTS = ("## What it means", "## How to see it", "## What to do", "## What not to do")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


NAMES = [rule["alert"] for rule in rules()]


@pytest.mark.parametrize("rule", rules(), ids=NAMES)
def test_alert_asks_for_what_the_catalogue_names(rule: dict[str, Any]) -> None:
    asked = set(re.findall(r"\b(?:ray|kubelet)_\w+", rule["expr"]))
    assert asked
    assert asked <= OURS | OF_KUBERNETES
    for tag, value in re.findall(r'\b(\w+)=~?"([^"]*)"', rule["expr"]):
        assert value in VALUES.get(tag, {value}), f"{tag} is never {value}"


@pytest.mark.parametrize("rule", rules(), ids=NAMES)
def test_alert_has_a_page_that_says_what_to_do(rule: dict[str, Any]) -> None:
    page = (ROOT / rule["annotations"]["runbook"]).read_text()
    assert f"The alert `{rule['alert']}`." in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == list(PARTS)
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_every_page_belongs_to_an_alert() -> None:
    pages = {rule["annotations"]["runbook"] for rule in rules()}
    assert {str(page.relative_to(ROOT)) for page in (ROOT / "docs/operate/runbook").iterdir()} == pages


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not on the PATH: Debian's package prometheus has it")
    ran = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_prometheus_reads_the_rules() -> None:
    promtool("check", "rules", str(ALERTS))


HEALTHY = {
    'ray_fleet_ingest_total{count="read"}': "0+6000x90",
    'ray_fleet_ingest_total{count="scored"}': "0+6000x90",
    'ray_fleet_ingest_total{count="commits"}': "0+600x90",
    'ray_fleet_ingest_total{count="commit_retries"}': "0+1x90",
    "ray_fleet_ingest_busy_ratio": "0.3x90",
    'ray_fleet_partition_lag_records{partition="0"}': "100x90",
    'ray_fleet_partition_oldest_unscored_seconds{partition="0"}': "0.1x90",
    'ray_fleet_partition_unbalanced_records{partition="0"}': "0x90",
    "ray_fleet_ledger_read_timestamp_seconds": "0+60x90",
    'ray_fleet_event_seconds_bucket{leg="appended_to_shown", le="1"}': "0+5990x90",
    'ray_fleet_event_seconds_count{leg="appended_to_shown"}': "0+6000x90",
    'ray_fleet_gateway_clients{replica="a"}': "100x90",
    'ray_fleet_gateway_clients_limit{replica="a"}': "1000x90",
    'ray_fleet_model_info{replica="a", version="v1"}': "1x90",
    'kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-0-fleet-nodes-0"}': "80x90",
    'kubelet_volume_stats_capacity_bytes{persistentvolumeclaim="data-0-fleet-nodes-0"}': "120x90",
}
# What of a healthy hour and a half becomes otherwise, a value a minute, so that one alert fires at its end.
ILL: dict[str, dict[str, str | None]] = {
    "FleetEventsWait": {'ray_fleet_partition_oldest_unscored_seconds{partition="0"}': "0.1x80 70x10"},
    "FleetNothingScored": {'ray_fleet_ingest_total{count="scored"}': "0+6000x80 480000x10"},
    "FleetBooksUnbalanced": {'ray_fleet_partition_unbalanced_records{partition="0"}': "0x80 -1x10"},
    "FleetDeadLetters": {'ray_fleet_ingest_total{count="rejected_not_json"}': "0+120x90"},
    "FleetScoringFails": {'ray_fleet_ingest_total{count="rejected_scoring_failed"}': "_x85 1x5"},
    "FleetKafkaAway": {"ray_fleet_ledger_read_timestamp_seconds": "0+60x80 4800x10"},
    "FleetCommitsFail": {'ray_fleet_ingest_total{count="commits_given_up"}': "_x80 1x10"},
    "FleetLatencyBudgetBurns": {
        'ray_fleet_event_seconds_bucket{leg="appended_to_shown", le="1"}': "0+5990x60 360000+3000x30"
    },
    "FleetSocketsNearLimit": {'ray_fleet_gateway_clients{replica="a"}': "100x80 950x10"},
    "FleetModelsDiffer": {'ray_fleet_model_info{replica="b", version="v2"}': "1x90"},
    "FleetPartAbsent": {"ray_fleet_ingest_busy_ratio": None},
    "FleetKafkaDiskFull": {
        'kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-0-fleet-nodes-0"}': "80x80 10x10"
    },
}


def firing_test(series: dict[str, str | None], firing: str | None, tmp_path: Path) -> str:
    """A file of promtool's: at the end of these series, this alert and no other fires."""
    fires = [f'count(ALERTS{{alertstate="firing", alertname="{name}"}})' for name in NAMES]
    tests = [
        {
            "expr": expression,
            "eval_time": "90m",
            "exp_samples": [{"labels": "{}", "value": 1}] if name == firing else [],
        }
        for name, expression in zip(NAMES, fires, strict=True)
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items() if values is not None]
    file = tmp_path / "test.yaml"
    cases = [{"interval": "1m", "input_series": inputs, "promql_expr_test": tests}]
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": cases}))
    return str(file)


def test_no_alert_fires_while_all_is_well(tmp_path: Path) -> None:
    promtool("test", "rules", firing_test(dict(HEALTHY), None, tmp_path))


@pytest.mark.parametrize("alert", NAMES)
def test_alert_fires_alone_in_its_illness(alert: str, tmp_path: Path) -> None:
    promtool("test", "rules", firing_test({**HEALTHY, **ILL[alert]}, alert, tmp_path))
