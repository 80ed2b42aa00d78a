"""What devices, gateways and loggers really send in place of a plain event, each with what is right."""

import json
from dataclasses import dataclass, field
from typing import Any

from fleet.counters import IngestCount

EVENT: dict[str, Any] = {
    "vehicleId": "bus-4",
    "timestamp": 1796067000.25,
    "latitude": 48.2,
    "longitude": 11.6,
    "speed": 27.5,
    "temperature": 88.0,
    "battery": 91.0,
    "fuelLevel": 55.0,
}
PLAIN = json.dumps(EVENT).encode()


@dataclass(frozen=True)
class Scored:
    """A payload that is scored: what is read, and what is counted."""

    case: str
    body: bytes
    read: dict[str, Any] = field(default_factory=dict)
    """Fields of the carried event that differ from `EVENT`."""
    time_s: float = EVENT["timestamp"]
    count: IngestCount | None = None
    is_strict: bool = True
    """Whether it is scored where nothing but plain events is allowed, too."""

    def __str__(self) -> str:
        return self.case


@dataclass(frozen=True)
class Refused:
    """A payload that is refused: why, and what the sentence must say."""

    case: str
    body: bytes
    reason: str
    says: tuple[str, ...]

    def __str__(self) -> str:
        return self.case


def event(**fields: Any) -> bytes:
    return json.dumps({**EVENT, **fields}).encode()


def without(*names: str, **fields: Any) -> bytes:
    return json.dumps({name: value for name, value in {**EVENT, **fields}.items() if name not in names}).encode()


def timed(text: str, read: str, time_s: float) -> Scored:
    return Scored(text, event(timestamp=text), {"timestamp": read}, time_s, IngestCount.TIMES_MENDED)


def unknown(text: str) -> Scored:
    read = {"battery": None}
    return Scored(
        f"battery {text!r}", event(battery=text), read, count=IngestCount.UNKNOWNS_SENT_AS_TEXT, is_strict=False
    )


def number(text: str, read: float) -> Scored:
    return Scored(
        f"number {text!r}",
        event(battery=text),
        {"battery": read},
        count=IngestCount.NUMBERS_SENT_AS_TEXT,
        is_strict=False,
    )


def flag(sent: Any, read: bool) -> Scored:
    count = IngestCount.FLAGS_SENT_OTHERWISE
    return Scored(f"flag {sent!r}", event(night=sent), {"night": read}, count=count, is_strict=False)


SCORED = [
    timed("2026-11-30t19:30:00z", "2026-11-30T19:30:00Z", 1796067000),
    timed("2026-11-30T19:30:00z", "2026-11-30T19:30:00Z", 1796067000),
    timed("2026-12-31T23:59:60Z", "2027-01-01T00:00:00Z", 1798761600),
    timed("2026-12-31T23:59:60.5Z", "2027-01-01T00:00:00.500000Z", 1798761600.5),
    timed("2026-12-31T20:59:60-03:00", "2026-12-31T21:00:00-03:00", 1798761600),
    timed("2026-11-30T24:00:00Z", "2026-12-01T00:00:00Z", 1796083200),
    timed("2026-11-30 24:00", "2026-12-01T00:00:00", 1796083200),
    timed("20261130T240000Z", "2026-12-01T00:00:00Z", 1796083200),
    timed("2026-11-30 19:30:00 UTC", "2026-11-30T19:30:00Z", 1796067000),
    Scored("uptime instead of a time", event(timestamp=42.5), {"timestamp": 42.5}, 42.5),
    Scored("week rollover", event(timestamp=1176751800), {"timestamp": 1176751800}, 1176751800),
    Scored(
        "seconds as text", event(timestamp="1796067000.25"), count=IngestCount.NUMBERS_SENT_AS_TEXT, is_strict=False
    ),
    *map(unknown, ("", "-", " -- ", "unavailable", "Unknown", "N/A", "NaN", "null")),
    number("87", 87.0),
    number(" -8.5e1 ", -85.0),
    flag(1, True),
    flag(0, False),
    flag("true", True),
    Scored("flag unknown", event(night="-"), {"night": None}, count=IngestCount.UNKNOWNS_SENT_AS_TEXT, is_strict=False),
    Scored(
        "numeric id",
        event(vehicleId=356938035643809),
        {"vehicleId": "356938035643809"},
        count=IngestCount.IDS_SENT_AS_NUMBERS,
        is_strict=False,
    ),
    Scored(
        "lat and lon",
        event(latitude=None, longitude=None, lat=48.2, lon=11.6),
        {"latitude": None, "longitude": None, "lat": 48.2, "lon": 11.6},
        count=IngestCount.FIELDS_MISNAMED,
    ),
    Scored("byte order mark", b"\xef\xbb\xbf" + PLAIN, count=IngestCount.BYTE_ORDER_MARKS),
    Scored(
        "0, 0",
        event(latitude=0.0, longitude=0.0),
        {"latitude": None, "longitude": None},
        count=IngestCount.POSITIONS_WITHOUT_FIX,
    ),
    Scored(
        "0, 0 beside an unknown field",
        event(latitude=0, longitude=0, driver="A"),
        {"latitude": None, "longitude": None, "driver": "A"},
        count=IngestCount.POSITIONS_WITHOUT_FIX,
    ),
    Scored("on the equator", event(latitude=0, longitude=-78.5), {"latitude": 0, "longitude": -78.5}),
    Scored("speed -1", event(speed=-1), {"speed": -1}),
]

REFUSED = [
    Refused(
        "milliseconds as text",
        event(timestamp="1796067000000"),
        "bad_timestamp",
        ('"1796067000000"', "text", "milliseconds since 1970", "1796067000", "2026-11-30T19:30:00Z"),
    ),
    Refused("milliseconds", event(timestamp=1796067000000), "bad_timestamp", ("milliseconds", "1796067000,")),
    Refused("microseconds", event(timestamp=1796067000000000), "bad_timestamp", ("microseconds", "1796067000,")),
    Refused("nanoseconds", event(timestamp=1796067000000000000), "bad_timestamp", ("nanoseconds", "1796067000,")),
    Refused(
        "day/month/year",
        event(timestamp="30/11/2026 19:30:00"),
        "bad_timestamp",
        ("30/11/2026 19:30:00", "Unix seconds", "ISO-8601", "2026-11-30T19:30:00Z"),
    ),
    Refused("half past 24", event(timestamp="2026-11-30T24:30:00Z"), "bad_timestamp", ("24:30", "ISO-8601")),
    Refused("empty time", event(timestamp=""), "bad_timestamp", ("timestamp is", "Unix seconds")),
    Refused(
        "number with its unit", event(speed="31 km/h"), "wrong_type", ("speed", '"31 km/h"', "the number alone, 31.")
    ),
    Refused("number with another unit", event(speed="31 mph"), "wrong_type", ('"31 mph"', "the number alone in km/h")),
    Refused("decimal comma", event(battery="87,5"), "wrong_type", ('"87,5"', "the number alone, 87.5")),
    Refused(
        "object for a number", event(battery={"value": 87}), "wrong_type", ("battery is an object", "a number in %")
    ),
    Refused("number for a word", event(weather=3), "wrong_type", ("weather is 3", "one of clear, rain, fog, storm")),
    Refused(
        "id with an exponent", event(vehicleId=3.5e14), "wrong_type", ("vehicleId is 350000000000000.0", "as text")
    ),
    Refused(
        "snake case",
        event(vehicleId=None, vehicle_id="bus-4"),
        "missing_field",
        ("vehicleId is null", "vehicle_id is not read", "send vehicleId", "events.names to {vehicle_id: vehicleId}"),
    ),
    Refused("other case", without("vehicleId", VehicleID="b"), "missing_field", ("VehicleID is not read", "vehicleId")),
    Refused("synonym", without("vehicleId", deviceId="b"), "missing_field", ("deviceId is not read", "send vehicleId")),
    Refused("slip", without("vehicleId", vehicelId="b"), "missing_field", ("vehicelId is not read", "send vehicleId")),
    Refused("ts", without("timestamp", ts=1796067000), "missing_field", ("ts is not read", "send timestamp")),
    Refused("no id", without("vehicleId"), "missing_field", ("vehicleId is missing", "name as text")),
    Refused(
        "no signal but lat, lon",
        b'{"vehicleId": "v", "timestamp": 1, "lat": 48.2, "lon": 11.6}',
        "missing_field",
        ("no signal", "lat, lon are not read", "send latitude, longitude"),
    ),
    Refused(
        "signals in an object",
        b'{"vehicleId": "v", "timestamp": 1, "obd": {"speed": 48.2}}',
        "missing_field",
        ("no signal", "speed stands inside obd", "at the top"),
    ),
    Refused(
        "half an emoji",
        event(driver="A\ud83d"),
        "not_json",
        ("driver holds half a character", "send whole characters"),
    ),
    Refused("two objects", PLAIN + b"\n" + PLAIN, "not_json", ("more than one", "one event a record")),
    Refused("array", b"[" + PLAIN + b"]", "not_an_object", ("array of length 1", "a record of its own")),
    Refused("encoded twice", json.dumps(PLAIN.decode()).encode(), "not_an_object", ("inside of JSON text", "twice")),
    Refused("Python's text of it", str(EVENT).encode(), "not_json", ("single quotes", "json.dumps")),
    Refused("cut off", PLAIN[:-20], "not_json", ("before it is complete", "send all of it")),
    Refused("not quoted", b'{"vehicleId": bus}', "not_json", ("character 14", '"bus}"', "JSON object")),
    Refused("NaN", PLAIN.replace(b"27.5", b"NaN"), "not_finite", ("speed is NaN", "send null")),
    Refused(
        "registry-framed",
        b"\0\0\0\0\7" + PLAIN,
        "not_json",
        ("byte 0", "schema id 7", "registry's framing", "plain JSON", "KafkaJsonSchemaDeserializer"),
    ),
    Refused("Avro in a registry's framing", b"\0\0\0\1\2\x0c\xff", "not_utf8", ("schema id 258", "registry's framing")),
    Refused("gzip", b"\x1f\x8b\x08\0\0\0", "not_utf8", ("gzip", "compression.type")),
    Refused("UTF-16", PLAIN.decode().encode("utf-16-le"), "not_utf8", ("UTF-16", "as UTF-8")),
    Refused("Latin-1", event().replace(b"bus-4", b"Z\xfcrich"), "not_utf8", ("byte 0xfc at position 16", "Latin-1")),
    Refused(
        "envelope of Connect",
        b'{"schema": {"type": "struct"}, "payload": ' + PLAIN + b"}",
        "missing_field",
        ("payload", "Kafka Connect envelope", "set events.envelope to payload"),
    ),
    Refused(
        "CloudEvent",
        b'{"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": ' + PLAIN + b"}",
        "missing_field",
        ("data of a CloudEvent", "set events.envelope to data"),
    ),
    Refused(
        "value", b'{"value": ' + PLAIN + b"}", "missing_field", ("value of an envelope", "events.envelope to value")
    ),
    Refused(
        "change of a row",
        b'{"payload": {"before": null, "after": ' + PLAIN + b"}}",
        "missing_field",
        ('"payload.after" of an envelope', 'events.envelope to "payload.after"'),
    ),
    Refused(
        "degrees times 10^7",
        event(latitude=482010000, longitude=116010000),
        "impossible_position",
        ("latitude is 482010000", "degrees × 10^7", "48.201"),
    ),
    Refused(
        "degrees and minutes",
        event(latitude=4812.06, longitude=1136.6),
        "impossible_position",
        ("degrees and minutes", "latitude 48.201"),
    ),
    Refused(
        "swapped",
        event(latitude=151.2, longitude=-33.9),
        "impossible_position",
        ("latitude and longitude were swapped", "latitude -33.9"),
    ),
    Refused(
        "latitude 91",
        event(latitude=91, longitude=None),
        "impossible_position",
        ("latitude is 91:", "degrees between -90 and 90."),
    ),
    Refused("no value", b"  ", "empty", ("no value", "one JSON object")),
]
