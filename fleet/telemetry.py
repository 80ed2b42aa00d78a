"""One telemetry event: its fields and units, and the typed decoding of a block of records into columns.

On an event's way this is the second stop: Kafka bytes come in from the poll, `TelemetryBlock`s go on to
`fleet.features` and, with the verdicts, to `fleet.results`. What cannot be read as an event leaves here as a
`Reject` for the dead-letter topic; one bad record costs one record.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

NUMERIC_SIGNALS: Final = (
    "latitude",  # degrees
    "longitude",  # degrees
    "speed",  # km/h
    "previousSpeed",  # km/h, the sender's claim
    "acceleration",  # km/h since the previous event, the sender's claim
    "temperature",  # °C of the engine
    "battery",  # %
    "fuelLevel",  # %
    "speedLimit",  # km/h
    "trafficLevel",  # 1 to 5
)
CATEGORIES: Final[Mapping[str, Mapping[Any, float]]] = {
    "weather": {"clear": 0.0, "rain": 1.0, "fog": 2.0, "storm": 3.0},
    "roadType": {"highway": 0.0, "urban": 1.0, "rural": 2.0},
    "night": {False: 0.0, True: 1.0},
}
SIGNALS: Final = (*NUMERIC_SIGNALS, *CATEGORIES)

# What the scored record adds. A sender's fields of these names are replaced: they are ours to say.
VERDICT_FIELDS: Final = frozenset(
    {
        "anomaly",
        "anomalyType",
        "reconstruction_error",
        "anomaly_threshold",
        "is_anomaly",
        "severity",
        "contributions",
        "modelVersion",
        "warmingUp",
        "repeat",
        "episodeId",
        "source",
        "appendedAt",
        "ingestedAt",
        "scoredAt",
        "truth",
    }
)

MAX_VEHICLE_ID_CHARACTERS: Final = 256
_END_OF_TIME_S: Final = 253_402_300_800.0  # the year 10000; Unix milliseconds of today lie beyond it

Float64s = NDArray[np.float64]


class Telemetry(msgspec.Struct, gc=False):
    """The origin system's VehicleData; None is unknown. Units as in `NUMERIC_SIGNALS`."""

    vehicleId: str  # noqa: N815 - the names are the wire's
    timestamp: float | str
    latitude: float | None = None
    longitude: float | None = None
    speed: float | None = None
    previousSpeed: float | None = None  # noqa: N815
    acceleration: float | None = None
    temperature: float | None = None
    battery: float | None = None
    fuelLevel: float | None = None  # noqa: N815
    speedLimit: float | None = None  # noqa: N815
    trafficLevel: float | None = None  # noqa: N815
    weather: str | None = None
    roadType: str | None = None  # noqa: N815
    night: bool | None = None
    tenantId: str | None = None  # noqa: N815
    anomaly: bool | None = None
    anomalyType: str | None = None  # noqa: N815


class _KnownFieldsOnly(Telemetry, forbid_unknown_fields=True, gc=False):
    """The fast path: a record that has nothing but VehicleData's fields is carried through as it stands."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The simulator's ground truth; it travels beside the event and is never an input to the model."""

    anomaly: bool | None
    anomaly_type: str | None


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is no telemetry event: its index in the block as polled, and why."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class TelemetryBlock:
    """N events of one partition in log order, as columns."""

    index: NDArray[np.int64]  # int64[N]: place in the block as polled
    vehicle_ids: list[str]
    timestamp_s: Float64s  # float64[N]: event time, Unix seconds
    signals: Float64s  # float64[N, len(SIGNALS)], NaN = unknown
    bodies: list[bytes]  # the event's JSON object without verdict fields and without its closing brace
    truths: list[Truth | None]

    def __len__(self) -> int:
        """Return N."""
        return len(self.vehicle_ids)


class _RejectedError(Exception):
    """One record cannot be read; carries the dead letter's reason and detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def decode_block(values: Sequence[bytes | None], max_event_bytes: int) -> tuple[TelemetryBlock, list[Reject]]:
    """Decode the values of one partition's records, in log order.

    Returns the events as columns and the rejects, both by index into `values`. Never raises for a record.
    """
    index: list[int] = []
    events: list[Telemetry] = []
    bodies: list[bytes] = []
    times: list[float] = []
    rejects: list[Reject] = []
    for i, value in enumerate(values):
        try:
            event, body, time_s = _decode(value, max_event_bytes)
        except _RejectedError as rejected:
            rejects.append(Reject(i, rejected.reason, rejected.detail))
            continue
        index.append(i)
        events.append(event)
        bodies.append(body)
        times.append(time_s)
    block = TelemetryBlock(
        np.array(index, dtype=np.int64),
        [event.vehicleId for event in events],
        np.array(times, dtype=np.float64),
        signal_columns(events),
        bodies,
        [_truth(event) for event in events],
    )
    return _without_empty_events(block, rejects)


_signal_values: Callable[[Telemetry], tuple[Any, ...]] = attrgetter(*NUMERIC_SIGNALS)


def signal_columns(events: Sequence[Telemetry]) -> Float64s:
    """Lay events out as float64[N, len(SIGNALS)]; NaN = unknown."""
    columns = np.empty((len(events), len(SIGNALS)), dtype=np.float64)
    if events:
        columns[:, : len(NUMERIC_SIGNALS)] = np.array([_signal_values(e) for e in events], dtype=np.float64)
        for column, (name, codes) in enumerate(CATEGORIES.items(), start=len(NUMERIC_SIGNALS)):
            value_of = attrgetter(name)
            columns[:, column] = [codes.get(value_of(e), math.nan) for e in events]
    return columns


def event_time_s(timestamp: float | str) -> float:
    """Read a timestamp: Unix seconds, or ISO-8601 (without a zone it is UTC). Raises ValueError."""
    if isinstance(timestamp, str):
        moment = datetime.fromisoformat(timestamp)
        timestamp = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0.0 <= timestamp < _END_OF_TIME_S:
        hint = "; it looks like milliseconds: send seconds" if timestamp > _END_OF_TIME_S else ""
        raise ValueError(f"{timestamp!r} lies outside the years 1970 to 9999{hint}")
    return timestamp


_decode_known = msgspec.json.Decoder(_KnownFieldsOnly).decode
_decode_any = msgspec.json.Decoder(Telemetry).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
# Where most senders write the ground truth: at the object's end. The text is valid JSON by then, and an unescaped
# quote cannot stand inside a string, so what matches here is a pair of top-level fields.
_truth_at_end = re.compile(
    rb',\s*"anomaly"\s*:\s*(?:true|false|null)\s*,\s*"anomalyType"\s*:\s*(?:null|"[^"\\]*")\s*\}\s*\Z'
).search


def _decode(value: bytes | None, max_event_bytes: int) -> tuple[Telemetry, bytes, float]:
    if not value or value.isspace():
        raise _RejectedError("empty", "the record has no value")
    if len(value) > max_event_bytes:
        raise _RejectedError(
            "too_large", f"{len(value)} bytes; ingest.max_event_bytes allows {max_event_bytes} bytes an event"
        )
    try:
        event: Telemetry = _decode_known(value)
        body = _carried_text(value, event)
    except (ValueError, RecursionError):
        event, body = _decode_slowly(value)
    if not event.vehicleId:
        raise _RejectedError("missing_field", "vehicleId is an empty string")
    if len(event.vehicleId) > MAX_VEHICLE_ID_CHARACTERS:
        raise _RejectedError("too_large", f"vehicleId has more than {MAX_VEHICLE_ID_CHARACTERS} characters")
    try:
        return event, body, event_time_s(event.timestamp)
    except (ValueError, OverflowError) as error:
        raise _RejectedError("bad_timestamp", f"timestamp: {error}") from None


def _carried_text(value: bytes, event: Telemetry) -> bytes:
    """Cut the truth and the closing brace off a record of known fields, so that verdict fields can follow."""
    if (match := _truth_at_end(value)) is not None:
        return value[: match.start()]
    if event.anomaly is None and event.anomalyType is None and b'"anomaly' not in value:
        return value[: value.rindex(b"}")]
    return _carried_fields(_decode_object(value))


def _carried_fields(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode({k: v for k, v in fields.items() if k not in VERDICT_FIELDS})[:-1]


def _decode_slowly(value: bytes) -> tuple[Telemetry, bytes]:
    """Decode a record with fields beyond VehicleData, or say why it cannot be read."""
    try:
        fields = _decode_object(value)
        event = _decode_any(value)
    except (ValueError, RecursionError) as error:
        _reject(value, error)
    return event, _carried_fields(fields)


def _reject(value: bytes, error: Exception) -> NoReturn:
    """Name the reason for which the fast decoder refused a record."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as not_utf8:
        raise _RejectedError("not_utf8", str(not_utf8)[:200]) from None
    try:
        fields = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_finite)
    except RecursionError:
        raise _RejectedError("not_json", "nested too deeply") from None
    except json.JSONDecodeError as not_json:
        raise _RejectedError("not_json", str(not_json)[:200]) from None
    if not isinstance(fields, dict):
        raise _RejectedError("not_an_object", f"a JSON {type(fields).__name__} where an object is expected")
    for name in ("vehicleId", "timestamp"):
        if fields.get(name) is None:
            raise _RejectedError("missing_field", f"{name} is missing or null")
    if isinstance(error, msgspec.ValidationError):
        raise _RejectedError("wrong_type", str(error)[:200]) from None
    raise _RejectedError("not_json", str(error)[:200]) from None


def _refuse_constant(name: str) -> NoReturn:
    raise _RejectedError("not_finite", f"{name} is no JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _RejectedError("not_finite", f"the number {digits[:40]} is beyond the range of a float")
    return number


def _truth(event: Telemetry) -> Truth | None:
    if event.anomaly is None and event.anomalyType is None:
        return None
    return Truth(event.anomaly, event.anomalyType)


def _without_empty_events(block: TelemetryBlock, rejects: list[Reject]) -> tuple[TelemetryBlock, list[Reject]]:
    """Reject events without a signal or at an impossible place; these checks are cheap on columns."""
    latitude, longitude = block.signals[:, 0], block.signals[:, 1]
    with np.errstate(invalid="ignore"):
        impossible = (np.abs(latitude) > 90.0) | (np.abs(longitude) > 180.0)
    unknown = np.isnan(block.signals[:, : len(NUMERIC_SIGNALS)]).all(axis=1)
    bad = impossible | unknown
    if not bad.any():
        return block, rejects
    for row in np.flatnonzero(bad):
        index = int(block.index[row])
        if impossible[row]:
            detail = f"latitude {latitude[row]:.6g}, longitude {longitude[row]:.6g} is no place on Earth"
            rejects.append(Reject(index, "impossible_position", detail))
        else:
            detail = f"no signal: send at least one of {', '.join(NUMERIC_SIGNALS)}"
            rejects.append(Reject(index, "missing_field", detail))
    rejects.sort(key=lambda reject: reject.index)
    keep = np.flatnonzero(~bad)
    return (
        TelemetryBlock(
            block.index[keep],
            [block.vehicle_ids[k] for k in keep],
            block.timestamp_s[keep],
            block.signals[keep],
            [block.bodies[k] for k in keep],
            [block.truths[k] for k in keep],
        ),
        rejects,
    )
