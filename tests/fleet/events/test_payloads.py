"""What senders really send: scored and counted, or refused with what to send instead."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.counters import IngestCount
from fleet.events.lenient import MOST_SENDERS_NOTED, Notes, Reading
from fleet.events.refusals import MOST_CHARACTERS
from fleet.events.telemetry import TelemetryBlock, TelemetryDecoder
from tests.sent_payloads import EVENT, PLAIN, REFUSED, SCORED, Refused, Scored, event

LIMIT_BYTES = 262_144
LENIENT, STRICT = TelemetryDecoder(), TelemetryDecoder(reading=Reading(is_lenient=False))
MAPPED = TelemetryDecoder(reading=Reading(names={"vehicle_id": "vehicleId", "ts": "timestamp"}, envelope="payload"))
PLACES = {name: place for place, name in enumerate(LENIENT.spec.field_names)}


def carried(block: TelemetryBlock, row: int) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(block.bodies[row] + b"}")
    return fields


@pytest.mark.parametrize("payload", SCORED, ids=str)
def test_what_can_be_read_is_scored_and_counted(payload: Scored) -> None:
    notes = Notes()
    block, rejects = LENIENT.decode_block([PLAIN, payload.body, PLAIN], LIMIT_BYTES, notes)
    assert rejects == []
    assert block.timestamp_s.tolist() == [EVENT["timestamp"], payload.time_s, EVENT["timestamp"]]
    assert carried(block, 1) == {**EVENT, **payload.read}
    assert block.vehicle_ids[1] == carried(block, 1)["vehicleId"]
    assert notes.counts == ({payload.count: 1} if payload.count else {})
    for name, value in carried(block, 1).items():
        if name in PLACES:
            assert block.signals[1, PLACES[name]] == pytest.approx(
                math.nan if value is None else float(value), nan_ok=True
            )


@pytest.mark.parametrize("payload", SCORED, ids=str)
def test_strict_reading_takes_no_value_of_another_type(payload: Scored) -> None:
    notes = Notes()
    block, rejects = STRICT.decode_block([payload.body], LIMIT_BYTES, notes)
    assert len(block) == payload.is_strict
    if rejects:
        assert rejects[0].reason in ("wrong_type", "bad_timestamp")
        assert ": send " in rejects[0].detail


@pytest.mark.parametrize("payload", REFUSED, ids=str)
def test_what_cannot_be_read_is_refused_with_what_to_send(payload: Refused) -> None:
    block, [reject] = LENIENT.decode_block([PLAIN, payload.body, PLAIN], LIMIT_BYTES)
    assert (reject.index, reject.reason) == (1, payload.reason)
    assert [says for says in payload.says if says not in reject.detail] == [], reject.detail
    assert block.index.tolist() == [0, 2]


def test_fields_of_other_names_are_noted_once_for_each_sender() -> None:
    bodies = [event(vehicleId=f"v{n % 200}", latitude=None, lat=48.2, longitude=None) for n in range(400)]
    notes = Notes()
    LENIENT.decode_block([*bodies, event(rpm=900, lat=1)], LIMIT_BYTES, notes)
    assert notes.counts == {IngestCount.FIELDS_MISNAMED: 400}
    assert len(notes.misnamed) == MOST_SENDERS_NOTED
    assert notes.misnamed["v0"] == {"lat": "latitude"}


def test_position_alone_without_fix_is_scored_as_an_event_of_which_nothing_is_known() -> None:
    block, rejects = LENIENT.decode_block([b'{"vehicleId":"v","timestamp":1,"latitude":0,"longitude":0}'], LIMIT_BYTES)
    assert rejects == []
    assert carried(block, 0) == {"vehicleId": "v", "timestamp": 1, "latitude": None, "longitude": None}


def test_fields_are_read_under_the_names_that_the_settings_say() -> None:
    names = {"vehicle_id": "vehicleId", "ts": "timestamp", "lat": "latitude", "speed": "battery", "kmh": "speed"}
    decoder = TelemetryDecoder(reading=Reading(names=names))
    sent = {"vehicle_id": 7, "ts": "2026-11-30T19:30:00z", "lat": 48.2, "speed": 5.0, "kmh": 9.0}
    notes = Notes()
    block, rejects = decoder.decode_block([json.dumps(sent).encode(), PLAIN], LIMIT_BYTES, notes)
    assert rejects == []
    assert block.vehicle_ids == ["7", "bus-4"]
    read = {"vehicleId": "7", "timestamp": "2026-11-30T19:30:00Z", "latitude": 48.2, "speed": 5.0}
    assert carried(block, 0) == read, "speed is a name of ours, and keeps its meaning"
    assert notes.misnamed == {}


def test_events_are_taken_out_of_the_envelope_that_the_settings_name() -> None:
    decoder = TelemetryDecoder(reading=Reading(envelope="payload.after"))
    wrapped = [{"payload": {"after": {**EVENT, "vehicleId": n}}, "schema": {}} for n in range(3)]
    bodies = [*(json.dumps(one).encode() for one in wrapped), PLAIN, b'{"payload": 3}']
    block, [reject] = decoder.decode_block(bodies, LIMIT_BYTES)
    assert block.vehicle_ids == ["0", "1", "2", "bus-4"]
    assert carried(block, 0) == {**EVENT, "vehicleId": "0"}
    assert reject.index == 4


names = st.sampled_from(["vehicle_id", "vehicleId", "ts", "timestamp", "lat", "payload", "data", "x" * 500, "sp\ned"])
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["-", "87", "0", "1e999"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text() | names, children, max_size=3),
    max_leaves=6,
)
near_events = st.builds(
    lambda known, more: {**EVENT, **known, **more},
    st.dictionaries(st.sampled_from([*EVENT, "night", "weather", "tenantId", "anomaly", "anomalyType"]), junk),
    st.dictionaries(names, junk, max_size=4),
).map(lambda fields: json.dumps(fields).encode())
altered = st.builds(
    lambda body, place, piece: body[:place] + piece + body[place:],
    st.sampled_from([PLAIN, *(payload.body for payload in [*SCORED, *REFUSED])]),
    st.integers(0, 200),
    st.binary(max_size=4) | st.sampled_from([b"\xef\xbb\xbf", b"\\ud800", b"{" * 2_000, b"9" * 5_000, b"\0"]),
)
MARK = "q9Z" * 200


@given(st.lists(st.binary(max_size=40) | near_events | altered, max_size=4))
def test_every_refusal_is_a_short_sentence_that_ends_with_what_to_send(bodies: list[bytes]) -> None:
    for decoder in (LENIENT, STRICT, MAPPED):
        block, rejects = decoder.decode_block(bodies, 4_096)
        assert sorted([*block.index.tolist(), *(reject.index for reject in rejects)]) == list(range(len(bodies)))
        for reject in rejects:
            _, _, instead = reject.detail.rpartition(": send ")
            assert instead.endswith(".")
            assert len(instead) > 3
            assert len(reject.detail) <= MOST_CHARACTERS
            assert reject.detail.encode().decode().isprintable()


@given(
    st.sampled_from([*EVENT, "weather", "night", "driver", MARK]), st.sampled_from([MARK, "3 " + MARK, "\ud800" + MARK])
)
def test_no_refusal_repeats_more_than_a_piece_of_the_record(name: str, text: str) -> None:
    bodies = [event(**{name: value}) for value in (text, [text], {text: text}, text.encode("utf-8", "replace").hex())]
    _, rejects = LENIENT.decode_block([*bodies, text.encode("utf-8", "replace"), bodies[0][:-9]], LIMIT_BYTES)
    for reject in rejects:
        assert MARK[:60] not in reject.detail


@given(near_events)
def test_what_strict_reading_takes_lenient_reading_takes_as_it_is(body: bytes) -> None:
    strict, _ = STRICT.decode_block([body], LIMIT_BYTES)
    lenient, _ = LENIENT.decode_block([body], LIMIT_BYTES)
    if len(strict):
        assert lenient.bodies == strict.bodies
        assert lenient.timestamp_s.tolist() == strict.timestamp_s.tolist()
        assert lenient.signals.tobytes() == strict.signals.tobytes()
