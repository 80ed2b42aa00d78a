import gc
import json
import math
import weakref

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fleet.detection.verdicts import Verdicts
from fleet.events.telemetry import TelemetryDecoder
from fleet.records.scored import Provenance, Standing, decode_scored, encode_results


def encode(values: list[bytes], errors: list[float]) -> list[bytes]:
    block, rejects = TelemetryDecoder().decode_block(values, 100_000)
    assert not rejects
    n = len(block)
    verdicts = Verdicts(
        reconstruction_error=np.array(errors),
        is_anomaly=np.array(errors) > 1,
        severity=np.clip(np.array(errors) / 10, 0, 1),
        causes=["overspeed" if e > 1 else None for e in errors],
        contributions=[{"speed_level": 1.0}] * n,
        threshold=np.ones(n),
        expected=[{"speed_level": (20.5, 30.0, 41.0)}] * n,
    )
    provenance = Provenance(2, np.arange(7, 7 + n), np.full(n, 100.25), 100.5, 100.75)
    return encode_results(
        block,
        verdicts,
        provenance,
        Standing([False] * n, [False] * n, [False] * n, [1.0] * n, [False] * n),
        model_version="m",
        episode_ids=["v:2:5"] * n,
    )


def test_encode_results_adds_the_contracts_fields() -> None:
    sent = {"vehicleId": "v", "timestamp": "2025-11-30T20:17:45Z", "speed": 30, "x": [1], "anomaly": True}
    [value] = encode([json.dumps({**sent, "anomalyType": "battery_low"}).encode()], [5.0])
    del sent["anomaly"]
    assert json.loads(value) == {
        **sent,
        "anomaly": True,
        "anomalyType": "overspeed",
        "reconstruction_error": 5.0,
        "anomaly_threshold": 1.0,
        "is_anomaly": True,
        "severity": 0.5,
        "contributions": {"speed_level": 1.0},
        "expected": {"speed_level": [20.5, 30.0, 41.0]},
        "modelVersion": "m",
        "warmingUp": False,
        "repeat": False,
        "episodeId": "v:2:5",
        "source": "2:7",
        "appendedAt": 100.25,
        "ingestedAt": 100.5,
        "scoredAt": 100.75,
        "truth": {"anomaly": True, "anomalyType": "battery_low"},
    }


def test_encode_results_leaves_truth_out_where_none_came() -> None:
    [value] = encode([b'{"vehicleId":"v","timestamp":1,"speed":3}'], [0.5])
    fields = json.loads(value)
    assert "truth" not in fields
    assert "expected" not in fields, "an ordinary event is as expected"
    assert (fields["anomaly"], fields["anomalyType"]) == (False, None)


def test_encode_results_keeps_nothing_of_what_it_was_given() -> None:
    class Flags(list[bool]):
        """A list that can be watched."""

    block, _ = TelemetryDecoder().decode_block([b'{"vehicleId":"v","timestamp":1,"speed":3}'] * 2, 100_000)
    flags, none = Flags([False, False]), np.zeros(2)
    watched = weakref.ref(flags)
    encode_results(
        block,
        Verdicts(none, none > 1, none, [None, None], [{}, {}], none, [None, None]),
        Provenance(0, np.arange(2), none, 0.0, 0.0),
        Standing([False, False], flags, [False, False], [1.0, 1.0], [False, True]),
        model_version="m",
        episode_ids=[None, None],
    )
    del flags
    gc.collect()
    assert watched() is None


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=5), st.text(st.characters(codec="utf-8"), min_size=1))
def test_scored_records_are_read_back(errors: list[float], vehicle: str) -> None:
    vehicle = vehicle[:200]
    event = json.dumps({"vehicleId": vehicle, "timestamp": 1, "speed": 3}).encode()
    for i, value in enumerate(encode([event] * len(errors), errors)):
        scored = decode_scored(value)
        assert scored.vehicle_id == vehicle
        assert math.isclose(scored.reconstruction_error, errors[i])
        assert scored.source == f"2:{7 + i}"
        assert json.loads(value)["is_anomaly"] == scored.is_anomaly
