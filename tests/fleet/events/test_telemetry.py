import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.events.channels import VEHICLE_DATA
from fleet.events.fields import VERDICT_FIELDS, Truth
from fleet.events.telemetry import TelemetryDecoder

LIMIT_BYTES = 262_144
SIGNALS = VEHICLE_DATA.field_names
NUMBERS = [field.name for field in VEHICLE_DATA.fields if field.kind == "number" and not field.is_word]
decode_block = TelemetryDecoder().decode_block
ORIGIN = (
    b'{"vehicleId":"8K0TIH","timestamp":1764533865.5503478,"latitude":-31.413947457841243,'
    b'"longitude":-64.1875766703414,"speed":30.76833372095486,"previousSpeed":39.896813877021906,'
    b'"acceleration":-9.128480156067045,"temperature":77.64902713313586,"battery":79.83259027687475,'
    b'"fuelLevel":99.51234711683932,"weather":"rain","roadType":"urban","speedLimit":60.0,"night":true,'
    b'"trafficLevel":3,"anomaly":false,"anomalyType":null}'
)
GOOD = b'{"vehicleId":"good","timestamp":1764533865,"speed":50}'


def event(**fields: Any) -> bytes:
    return json.dumps({"vehicleId": "v", "timestamp": 1764533865, "speed": 50, **fields}).encode()


def test_decode_block_reads_the_origin_systems_message() -> None:
    block, rejects = decode_block([ORIGIN], LIMIT_BYTES)
    assert rejects == []
    assert block.vehicle_ids == ["8K0TIH"]
    assert block.timestamp_s[0] == 1764533865.5503478
    row = dict(zip(SIGNALS, block.signals[0], strict=True))
    assert row["latitude"] == -31.413947457841243
    assert (row["weather"], row["roadType"], row["night"], row["trafficLevel"]) == (1, 1, 1, 3)
    assert block.truths == [Truth(False, None)]
    assert json.loads(block.bodies[0] + b"}") == {
        k: v for k, v in json.loads(ORIGIN).items() if k not in {"anomaly", "anomalyType"}
    }


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"  \n", "empty"),
        (b'{"vehicleId":"\xff","timestamp":1,"speed":1}', "not_utf8"),
        (b"\xff\xfe", "not_utf8"),
        (b'{"vehicleId":"v","timestamp":1,"note":"\xc3"}', "not_utf8"),
        (ORIGIN[:-30], "not_json"),
        (ORIGIN + b"x", "not_json"),
        (b'{"vehicleId":"v","timestamp":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
        (b'{"vehicleId":"\\ud800","timestamp":1,"speed":1}', "not_json"),
        (b"null", "not_an_object"),
        (b"[1]", "not_an_object"),
        (b"3", "not_an_object"),
        (b'{"timestamp":1,"speed":1}', "missing_field"),
        (b'{"vehicleId":null,"timestamp":1,"speed":1}', "missing_field"),
        (b'{"vehicleId":"","timestamp":1,"speed":1}', "missing_field"),
        (b'{"vehicleId":"v","speed":1}', "missing_field"),
        (b'{"vehicleId":"v","timestamp":null,"speed":1}', "missing_field"),
        (b'{"vehicleId":"v","timestamp":1}', "missing_field"),
        (b'{"vehicleId":"v","timestamp":1,"weather":"rain"}', "missing_field"),
        (event(vehicleId=5.5), "wrong_type"),
        (event(speed="fast"), "wrong_type"),
        (event(speed=True), "wrong_type"),
        (event(night="yes"), "wrong_type"),
        (event(timestamp=True), "wrong_type"),
        (event(extra=1, battery=[]), "wrong_type"),
        (b'{"vehicleId":"v","timestamp":1,"speed":NaN}', "not_finite"),
        (b'{"vehicleId":"v","timestamp":1,"speed":-Infinity}', "not_finite"),
        (b'{"vehicleId":"v","timestamp":1,"speed":1e999}', "not_finite"),
        (b'{"vehicleId":"v","timestamp":1,"speed":1,"unknown":1e999}', "not_finite"),
        (b'{"vehicleId":"v","timestamp":1,"speed":1' + b"0" * 5000 + b"}", "not_finite"),
        (event(timestamp="yesterday"), "bad_timestamp"),
        (event(timestamp=-1), "bad_timestamp"),
        (event(timestamp=1764533865550), "bad_timestamp"),
        (event(latitude=90.1, longitude=0), "impossible_position"),
        (event(latitude=0, longitude=-181), "impossible_position"),
        (event(note="x" * LIMIT_BYTES), "too_large"),
        (event(vehicleId="x" * 300), "too_large"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_decode_block_rejects_one_record_and_keeps_its_neighbours(value: bytes | None, reason: str) -> None:
    block, rejects = decode_block([GOOD, value, GOOD], LIMIT_BYTES)
    assert [(r.index, r.reason) for r in rejects] == [(1, reason)]
    assert rejects[0].detail
    assert block.index.tolist() == [0, 2]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 900},
        {"fuelLevel": -5},
        {"speed": 400},
        {"speed": 1e300},
        {"timestamp": 0},
        {"weather": "hail"},
        {"trafficLevel": 3.5},
        {"battery": None},
        {"tenantId": "t"},
    ],
    ids=str,
)
def test_decode_block_accepts_implausible_values(fields: dict[str, Any]) -> None:
    block, rejects = decode_block([event(**fields)], LIMIT_BYTES)
    assert not rejects
    assert len(block) == 1


def test_decode_block_leaves_missing_and_null_signals_unknown() -> None:
    block, _ = decode_block([b'{"vehicleId":"v","timestamp":1,"speed":3,"battery":null}'], LIMIT_BYTES)
    known = {name for name, value in zip(SIGNALS, block.signals[0], strict=True) if not math.isnan(value)}
    assert known == {"speed"}


@pytest.mark.parametrize(
    "text",
    [
        '{"anomaly":true,"vehicleId":"v","timestamp":1,"speed":3,"anomalyType":"overspeed"}',
        '{"vehicleId":"v","timestamp":1,"speed":3,"anomaly": true , "anomalyType" : "overspeed" } ',
        '{"vehicleId":"v","timestamp":1,"speed":3,"custom":{"anomaly":1},"anomaly":true,"anomalyType":"overspeed"}',
        '{"vehicleId":"v","timestamp":1,"speed":3,"anomaly":true,"anomalyType":"\\u006fverspeed"}',
    ],
)
def test_decode_block_takes_the_truth_out_wherever_it_stands(text: str) -> None:
    block, rejects = decode_block([text.encode()], LIMIT_BYTES)
    assert not rejects
    assert block.truths == [Truth(True, "overspeed")]
    assert not {"anomaly", "anomalyType"} & json.loads(block.bodies[0] + b"}").keys()


def test_decode_block_carries_unknown_fields_but_not_our_own() -> None:
    value = event(custom={"a": [1, "é"]}, severity=9, source="me", rpm=800)
    block, _ = decode_block([value], LIMIT_BYTES)
    carried = json.loads(block.bodies[0] + b"}")
    assert carried["custom"] == {"a": [1, "é"]}
    assert carried["rpm"] == 800
    assert not VERDICT_FIELDS & carried.keys()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
finite = st.floats(allow_nan=False, allow_infinity=False)
events = st.fixed_dictionaries(
    {"vehicleId": st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), "timestamp": st.floats(0, 2e9)},
    optional={name: st.none() | finite for name in NUMBERS if VEHICLE_DATA.field(name).limits is None}
    | {"anomaly": st.booleans()},
)


@given(st.lists(st.one_of(st.binary(max_size=60), json_values.map(lambda v: json.dumps(v).encode()), st.none())))
def test_decode_block_accounts_for_every_record(values: list[bytes | None]) -> None:
    block, rejects = decode_block(values, LIMIT_BYTES)
    assert sorted([*block.index.tolist(), *(r.index for r in rejects)]) == list(range(len(values)))


# What could grow together with its neighbours, or fall apart, when records are decoded as one text.
TREACHEROUS = [
    ORIGIN,
    GOOD,
    GOOD + b"\n",
    b" " + GOOD,
    GOOD + b"\n" + GOOD,
    GOOD + GOOD,
    GOOD[:-1] + b',"tenantId":"}',
    GOOD[:-1] + b",",
    GOOD[:-1] + b',"note":{}',
    b'{","timestamp":1,"speed":2},' + GOOD,
    b'{}],"speed":3}',
    b'"speed":2}',
    b"{}",
    b"}{",
    b"{",
    b"}",
    event(anomaly=True, anomalyType="overspeed"),
    event(timestamp="2025-11-30T20:17:45Z"),
    event(timestamp=-1),
    event(vehicleId=""),
    event(note="\n"),
    event(latitude=95),
    event(weather="rain", battery=None),
]


@given(st.lists(st.sampled_from(TREACHEROUS), max_size=8))
def test_decode_block_decodes_together_what_it_decodes_one_by_one(values: list[bytes]) -> None:
    block, rejects = decode_block(values, LIMIT_BYTES)
    alone = [decode_block([value], LIMIT_BYTES) for value in values]
    assert block.index.tolist() == [i for i, (own, _) in enumerate(alone) if len(own)]
    assert [(r.index, r.reason) for r in rejects] == [(i, r.reason) for i, (_, own) in enumerate(alone) for r in own]
    assert block.vehicle_ids == [name for own, _ in alone for name in own.vehicle_ids]
    assert block.bodies == [body for own, _ in alone for body in own.bodies]
    assert block.truths == [truth for own, _ in alone for truth in own.truths]
    np.testing.assert_array_equal(
        block.signals, np.concatenate([np.empty((0, len(SIGNALS))), *(o.signals for o, _ in alone)])
    )
    np.testing.assert_array_equal(block.timestamp_s, [time_s for own, _ in alone for time_s in own.timestamp_s])


@given(events, st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), json_values, max_size=3))
def test_decode_block_carries_every_field_as_it_came(fields: dict[str, Any], unknown: dict[str, Any]) -> None:
    sent = {**{k: v for k, v in unknown.items() if k not in SIGNALS and k != "tenantId"}, **fields, "speed": 50.0}
    block, rejects = decode_block([json.dumps(sent).encode()], LIMIT_BYTES)
    assert not rejects
    carried = json.loads(block.bodies[0] + b"}")
    assert carried == {k: v for k, v in sent.items() if k not in VERDICT_FIELDS}
    expected = [math.nan if sent.get(name) is None else sent[name] for name in NUMBERS]
    np.testing.assert_array_equal(block.signals[0, [SIGNALS.index(name) for name in NUMBERS]], expected)
