"""One telemetry event: its fields and units, and the typed decoding of a block of records into columns.

On an event's way this is the second stop: Kafka bytes come in from the poll, `TelemetryBlock`s go on to
`fleet.detection.features` and, with the verdicts, to `fleet.records.scored`. What cannot be read as an event leaves
here as a `Reject` for the dead-letter topic; one bad record costs one record.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.columns import Columns
from fleet.counters import IngestCount
from fleet.events.channels import VEHICLE_DATA, ChannelSpec
from fleet.events.event_time import END_OF_TIME_S, event_time_s
from fleet.events.event_type import event_type, places_of
from fleet.events.fields import MAX_VEHICLE_ID_CHARACTERS, VERDICT_FIELDS, Truth
from fleet.events.json_object import BYTE_ORDER_MARK, ONE_EVENT, read_object
from fleet.events.lenient import LenientFields, Notes, Reading
from fleet.events.positions import forget_false_fixes, why_beyond
from fleet.events.refusals import Reason, RefusedError

_OPENING_BRACE, _CLOSING_BRACE = b"{}"
_LONGEST_SPACE: Final = 64  # before the truth's name, where it is still found at once

Float64s = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is no telemetry event: its index in the block as polled, and why."""

    index: int
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class TelemetryBlock(Columns):
    """N events of one partition in log order, as columns."""

    index: NDArray[np.int64]  # int64[N]: place in the block as polled
    vehicle_ids: list[str]
    tenant_ids: list[str | None]
    timestamp_s: Float64s  # float64[N]: event time, Unix seconds
    signals: Float64s  # float64[N, S] in the order of the specification's fields, NaN = unknown
    bodies: list[bytes]  # the event's JSON object without verdict fields and without its closing brace
    truths: list[Truth | None]

    def __len__(self) -> int:
        """Return N."""
        return len(self.vehicle_ids)


class _Decoded(NamedTuple):
    """N events, the text of each that is carried on, and float64[N] times in Unix seconds."""

    events: list[Any]
    bodies: list[bytes]
    timestamp_s: Float64s


class TelemetryDecoder:
    """Decodes records into the columns of a channel specification."""

    def __init__(self, spec: ChannelSpec = VEHICLE_DATA, reading: Reading | None = None) -> None:
        self.spec = spec
        self._lenient = LenientFields(spec, reading or Reading())
        places = places_of(spec)
        # The fast path: a record that has nothing but known fields is carried through as it stands.
        known, unknown_too = event_type(spec, forbid_unknown_fields=True), event_type(spec)
        self._decode_known: Callable[[bytes], Any] = msgspec.json.Decoder(known).decode
        self._decode_known_lines: Callable[[bytes], list[Any]] = msgspec.json.Decoder(known).decode_lines
        self._decode_any: Callable[[bytes], Any] = msgspec.json.Decoder(unknown_too).decode
        self._plain = [
            (place, attrgetter(places[place])) for place, field in enumerate(spec.fields) if not field.is_word
        ]
        self._numbers = [place for place, field in enumerate(spec.fields) if field.is_number]
        self._words = [
            (place, attrgetter(places[place]), field.codes) for place, field in enumerate(spec.fields) if field.is_word
        ]
        self._bounded = [(place, *field.limits) for place, field in enumerate(spec.fields) if field.limits]

    def decode_block(
        self, values: Sequence[bytes | None], max_event_bytes: int, notes: Notes | None = None
    ) -> tuple[TelemetryBlock, list[Reject]]:
        """Decode the values of one partition's records, in log order, and add to `notes` what was mended.

        Returns the events as columns and the rejects, both by index into `values`. Never raises for a record.
        """
        notes = Notes() if notes is None else notes
        decoded = self._decode_together(values, max_event_bytes)
        if decoded is not None:
            index, rejects = np.arange(len(values)), list[Reject]()
        else:
            index, decoded, rejects = self._decode_one_by_one(values, max_event_bytes, notes)
        events, bodies, timestamp_s = decoded
        block = TelemetryBlock(
            index,
            list(map(_vehicle_id, events)),
            list(map(_tenant_id, events)),
            timestamp_s,
            self._columns(events),
            bodies,
            _truths(events),
        )
        block, rejects = self._without_bad_events(block, rejects)
        return self._without_false_positions(block, notes), rejects

    def _decode_together(self, values: Sequence[bytes | None], max_event_bytes: int) -> "_Decoded | None":
        """Decode a block in which every record is an event of known fields; None where one is not.

        Records are joined by a line break, which no JSON string may hold. One that begins with a brace and ends with
        one cannot grow together with the next: nothing may stand between a closing and an opening brace but a comma.
        So there are as many events as records only where each record is one event.
        """
        sized = [value for value in values if value and len(value) <= max_event_bytes and _is_in_braces(value)]
        if len(sized) < len(values):
            return None
        try:
            events = self._decode_known_lines(b"\n".join(sized))
            if len(events) != len(sized) or not _have_names(events):
                return None
            return _Decoded(events, _carried_texts(sized, events), _times_s(events))
        except (ValueError, RecursionError, OverflowError):
            return None

    def _decode_one_by_one(
        self, values: Sequence[bytes | None], max_event_bytes: int, notes: Notes
    ) -> tuple[NDArray[np.int64], "_Decoded", list[Reject]]:
        """Decode a block in which some record is something else; returns the events' places, and the rejects."""
        index: list[int] = []
        events: list[Any] = []
        bodies: list[bytes] = []
        times: list[float] = []
        rejects: list[Reject] = []
        for i, value in enumerate(values):
            try:
                event, body, time_s = self._decode(value, max_event_bytes, notes)
            except RefusedError as refused:
                rejects.append(Reject(i, refused.reason, refused.detail))
                continue
            index.append(i)
            events.append(event)
            bodies.append(body)
            times.append(time_s)
        decoded = _Decoded(events, bodies, np.array(times, dtype=np.float64))
        return np.array(index, dtype=np.int64), decoded, rejects

    def _columns(self, events: Sequence[Any]) -> Float64s:
        """Lay events out as float64[N, S]; NaN = unknown."""
        columns = np.empty((len(events), len(self.spec.fields)), dtype=np.float64)
        for place, values_of in self._plain:
            columns[:, place] = np.array(list(map(values_of, events)), dtype=np.float64)  # None becomes NaN
        for place, word_of, codes in self._words:
            columns[:, place] = list(map(codes.get, map(word_of, events), repeat(math.nan)))
        return columns

    def _decode(self, value: bytes | None, max_event_bytes: int, notes: Notes) -> tuple[Any, bytes, float]:
        if not value or value.isspace():
            raise RefusedError("empty", "the record has no value", ONE_EVENT)
        if len(value) > max_event_bytes:
            most = f"{max_event_bytes} bytes at most, or raise ingest.max_event_bytes"
            raise RefusedError("too_large", f"the event has {len(value)} bytes", most)
        if value.startswith(BYTE_ORDER_MARK):
            notes.counts[IngestCount.BYTE_ORDER_MARKS] += 1
            value = value.removeprefix(BYTE_ORDER_MARK)
        try:
            event = self._decode_known(value)
            body, time_s = _carried_text(value, event), event_time_s(event.timestamp)
        except (ValueError, RecursionError, OverflowError):
            event, body, time_s = self._decode_slowly(value, notes)
        if not event.vehicle_id:
            raise RefusedError("missing_field", "vehicleId is an empty text", "the vehicle's name")
        if len(event.vehicle_id) > MAX_VEHICLE_ID_CHARACTERS:
            wrong = f"vehicleId has {len(event.vehicle_id)} characters"
            raise RefusedError("too_large", wrong, f"at most {MAX_VEHICLE_ID_CHARACTERS} of them")
        return event, body, time_s

    def _decode_slowly(self, value: bytes, notes: Notes) -> tuple[Any, bytes, float]:
        """Decode a record with unknown fields, or with values that have to be mended, or say why it cannot be read."""
        sent = read_object(value)
        fields = self._lenient.renamed(sent)
        try:
            event = self._decode_any(value if fields is sent else _encode(fields))
            time_s = event_time_s(event.timestamp)
        except (ValueError, RecursionError, OverflowError):
            fields, mends = self._lenient.read(fields)
            event = self._decode_any(_encode(fields))
            time_s = event_time_s(event.timestamp)
            for mend in mends:
                notes.counts[mend] += 1
        if misnamed := self._lenient.names.misnamed(fields):
            notes.misname(event.vehicle_id, misnamed)
        return event, _carried_fields(fields), time_s

    def _without_bad_events(self, block: TelemetryBlock, rejects: list[Reject]) -> tuple[TelemetryBlock, list[Reject]]:
        """Reject events without a number or beyond a channel's limits; these checks are cheap on columns."""
        beyond = np.zeros(len(block), dtype=np.bool_)
        for place, low, high in self._bounded:
            beyond |= (block.signals[:, place] < low) | (block.signals[:, place] > high)
        bad = beyond | np.isnan(block.signals[:, self._numbers]).all(axis=1)
        if not bad.any():
            return block, rejects
        for row in np.flatnonzero(bad):
            reason, detail = self._why(block, int(row), bool(beyond[row]))
            rejects.append(Reject(int(block.index[row]), reason, detail))
        rejects.sort(key=lambda reject: reject.index)
        return block.picked(np.flatnonzero(~bad)), rejects

    def _why(self, block: TelemetryBlock, row: int, is_beyond: bool) -> tuple[Reason, str]:
        if is_beyond:
            values = dict(zip(self.spec.field_names, block.signals[row].tolist(), strict=True))
            return "impossible_position", why_beyond(self.spec, values)
        refused = self._lenient.why_no_signal(_decode_object(block.bodies[row] + b"}"))
        return refused.reason, refused.detail

    def _without_false_positions(self, block: TelemetryBlock, notes: Notes) -> TelemetryBlock:
        """Make unknown what a receiver without a fix sends, in the columns and in the text that is carried on."""
        unknown = dict.fromkeys(self.spec.no_fix)
        rows = forget_false_fixes(self.spec, block.signals).tolist()
        for row in rows:
            block.bodies[row] = _encode(_decode_object(block.bodies[row] + b"}") | unknown)[:-1]
        if rows:
            notes.counts[IngestCount.POSITIONS_WITHOUT_FIX] += len(rows)
        return block


_vehicle_id = attrgetter("vehicle_id")
_tenant_id = attrgetter("tenant_id")
_timestamp = attrgetter("timestamp")
_truth_of = attrgetter("anomaly", "anomaly_type")


def _is_in_braces(value: bytes) -> bool:
    return value[0] == _OPENING_BRACE and value[-1] == _CLOSING_BRACE


def _have_names(events: Sequence[Any]) -> bool:
    lengths = list(map(len, map(_vehicle_id, events)))
    return not lengths or (min(lengths) > 0 and max(lengths) <= MAX_VEHICLE_ID_CHARACTERS)


def _times_s(events: Sequence[Any]) -> Float64s:
    """Read the times of events, float64[N] in Unix seconds. Raises ValueError, OverflowError."""
    timestamps = list(map(_timestamp, events))
    if str in set(map(type, timestamps)):
        timestamps = list(map(event_time_s, timestamps))
    times = np.array(timestamps, dtype=np.float64)
    if not ((times >= 0.0) & (times < END_OF_TIME_S)).all():
        raise ValueError("a timestamp lies outside the years 1970 to 9999")
    return times


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
# Where most senders write the ground truth: at the object's end. The text is valid JSON by then, and an unescaped
# quote cannot stand inside a string, so what matches here is a pair of top-level fields.
_truth_at_end = re.compile(
    rb',\s*"anomaly"\s*:\s*(?:true|false|null)\s*,\s*"anomalyType"\s*:\s*(?:null|"[^"\\]*")\s*\}\s*\Z'
).search
# As most write it while nothing is wrong: one look instead of a search.
_ORDINARY_TRUTH: Final = b',"anomaly":false,"anomalyType":null}'


def _carried_texts(values: Sequence[bytes], events: Sequence[Any]) -> list[bytes]:
    end = -len(_ORDINARY_TRUTH)
    return [
        value[:end] if value.endswith(_ORDINARY_TRUTH) else _carried_text(value, event)
        for value, event in zip(values, events, strict=True)
    ]


def _carried_text(value: bytes, event: Any) -> bytes:
    """Cut the truth and the closing brace off a record of known fields, so that verdict fields can follow."""
    if event.anomaly is None and event.anomaly_type is None and b'"anomaly' not in value:
        return value[: value.rindex(b"}")]
    begins_near = max(value.rfind(b'"anomaly"') - _LONGEST_SPACE, 0)
    if (match := _truth_at_end(value, begins_near)) is not None:
        return value[: match.start()]
    return _carried_fields(_decode_object(value))


def _carried_fields(fields: dict[str, Any]) -> bytes:
    carried = fields.copy()
    for ours in VERDICT_FIELDS.intersection(fields):
        del carried[ours]
    return _encode(carried)[:-1]


def _truths(events: Sequence[Any]) -> list[Truth | None]:
    """Read the ground truth; few differ, and equal ones are one object."""
    pairs = list(map(_truth_of, events))
    of_pair = {pair: Truth(*pair) if pair != (None, None) else None for pair in set(pairs)}
    return list(map(of_pair.__getitem__, pairs))
