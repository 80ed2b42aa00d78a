"""The catalogue of counts: complete, and in sentences."""

import json
from typing import get_args

import pytest

from fleet.counters import METRICS, GatewayCount, IngestCount, Leg
from fleet.events.refusals import Reason
from fleet.events.telemetry import TelemetryDecoder

MAX_EVENT_BYTES = 1_000
EVENT = {"vehicleId": "V1", "timestamp": 1_700_000_000, "speed": 50.0}
REJECTED = {
    "empty": b" ",
    "too_large": b"x" * (MAX_EVENT_BYTES + 1),
    "not_utf8": b"\xff",
    "not_json": b"{",
    "not_an_object": b"[]",
    "not_finite": json.dumps(EVENT | {"speed": float("nan")}).encode(),
    "missing_field": json.dumps({"vehicleId": "V1"}).encode(),
    "wrong_type": json.dumps(EVENT | {"vehicleId": []}).encode(),
    "bad_timestamp": json.dumps(EVENT | {"timestamp": -1}).encode(),
    "impossible_position": json.dumps(EVENT | {"latitude": 91.0}).encode(),
}


@pytest.mark.parametrize("count", [*IngestCount, *GatewayCount, *Leg])
def test_count_has_a_unit_and_a_sentence(count):
    assert count.unit
    assert count.meaning[0].isupper()
    assert count.meaning.endswith(".")
    assert count == count.name.lower()


def test_counts_and_metrics_have_names_of_their_own():
    for names in ([*IngestCount], [*GatewayCount], [metric.name for metric in METRICS]):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("reason", REJECTED)
def test_rejected_record_has_a_count_for_its_reason(reason):
    _, rejects = TelemetryDecoder().decode_block([REJECTED[reason]], MAX_EVENT_BYTES)
    assert [IngestCount.rejected(reject.reason) for reject in rejects] == [f"rejected_{reason}"]


def test_every_reason_of_the_decoder_has_a_record_here():
    assert set(get_args(Reason)) - {"scoring_failed"} == set(REJECTED)
    assert {c for c in IngestCount if c.startswith("rejected_")} == {f"rejected_{r}" for r in get_args(Reason)}


def test_metrics_keep_to_the_conventions_of_prometheus():
    units = {"records": "_records", "seconds": "_seconds", "Unix seconds": "_timestamp_seconds", "share of 1": "_ratio"}
    for metric in METRICS:
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert (metric.kind == "histogram") == bool(metric.bounds)
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert metric.name.endswith(units.get(metric.unit, "")), metric.name


def test_reason_outside_the_catalogue_cannot_be_counted():
    with pytest.raises(KeyError):
        IngestCount.rejected("a whim")


@pytest.mark.parametrize("change", ["opened", "updated", "closed"])
def test_change_of_an_episode_has_a_count(change):
    assert IngestCount.episodes(change) == f"episodes_{change}"
