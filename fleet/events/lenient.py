"""What senders really write where a number, a flag or a name is meant: read, and counted, or refused with a mend.

`fleet.events.telemetry` comes here with an object that its typed decoder has refused; every other event goes past.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from fleet.counters import IngestCount
from fleet.events.channels import Channel, ChannelSpec
from fleet.events.event_time import event_time_s, mended_time, seconds_in_text, why_no_time
from fleet.events.fields import IDENTITY_FIELDS
from fleet.events.refusals import RefusedError, listed, named, shown
from fleet.events.sent_names import SentNames

MOST_SENDERS_NOTED: Final = 100  # of one block
_MOST_NAMES_NOTED: Final = 8  # of one sender
_MOST_NAMES_SAID: Final = 3  # in one sentence
_LONGEST_NUMBER: Final = 40
_UNKNOWN: Final = frozenset(
    {"", "-", "--", "?", "n/a", "na", "nan", "nil", "none", "null", "no data", "nodata", "unavailable", "undefined",
     "unknown"}
)  # fmt: skip
_FLAGS: Final[Mapping[Any, bool]] = {0: False, 1: True, "0": False, "1": True, "false": False, "true": True}
_is_number: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_number_and_unit: Final = re.compile(r"([+-]?[0-9]+(?:[.,][0-9]+)?)\s*((?:[^\s0-9.,][^0-9]{0,15})?)").fullmatch
_EXAMPLE_ID: Final = "the vehicle's name as text"

Read: TypeAlias = tuple[Any, IngestCount | None]


@dataclass(frozen=True, slots=True)
class Reading:
    """How an operator wants events to be read: see `events` in the settings."""

    is_lenient: bool = True
    names: Mapping[str, str] = field(default_factory=dict)
    envelope: str = ""


@dataclass(slots=True)
class Notes:
    """What the reading of a block has mended, by count, and what some senders' fields should be called."""

    counts: Counter[IngestCount] = field(default_factory=Counter)
    misnamed: dict[str, dict[str, str]] = field(default_factory=dict)
    """Vehicle → name that was sent → name that is read; of so many vehicles at most."""

    def misname(self, vehicle_id: str, names: dict[str, str]) -> None:
        """Note fields of an event that are not read, by the names that would be."""
        self.counts[IngestCount.FIELDS_MISNAMED] += 1
        if len(self.misnamed) < MOST_SENDERS_NOTED:
            self.misnamed.setdefault(vehicle_id, dict(islice(names.items(), _MOST_NAMES_NOTED)))


class _Reader(NamedTuple):
    """How a field is read: a value of the plain type stands as it is."""

    plain: type | None
    read: Callable[[Any], Read]


class LenientFields:
    """Reads the fields of one object as the typed decoder wants them, or says why that cannot be."""

    def __init__(self, spec: ChannelSpec, reading: Reading) -> None:
        self._spec = spec
        self.names = SentNames([*IDENTITY_FIELDS, *spec.field_names])
        self._envelope = tuple(filter(None, reading.envelope.split(".")))
        # What has a meaning keeps it, as it does where all fields are known.
        self._renames = {sent: name for sent, name in reading.names.items() if sent not in self.names.names}
        lenient = reading.is_lenient
        self._readers: dict[str, _Reader] = {
            "vehicleId": _Reader(str, partial(_name, "vehicleId", is_lenient=lenient)),
            "tenantId": _Reader(str, partial(_name, "tenantId", is_lenient=lenient)),
            "timestamp": _Reader(None, partial(_time, is_lenient=lenient)),
            "anomaly": _Reader(bool, partial(_flag, "anomaly", is_lenient=lenient)),
            "anomalyType": _Reader(str, partial(_word, "anomalyType", "text")),
            **{channel.name: _reader(channel, is_lenient=lenient) for channel in spec.fields},
        }

    def renamed(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Take the event out of its envelope, and give fields the names that the settings say."""
        if self._envelope:
            fields = self._unwrapped(fields)
        if not self._renames or self._renames.keys().isdisjoint(fields):
            return fields
        renamed = {name: value for name, value in fields.items() if name not in self._renames}
        for sent, name in self._renames.items():
            if sent in fields and renamed.get(name) is None:
                renamed[name] = fields[sent]
        return renamed

    def _unwrapped(self, fields: dict[str, Any]) -> dict[str, Any]:
        inside = fields
        for member in self._envelope:
            within = inside.get(member)
            if not isinstance(within, dict):
                return fields
            inside = within
        return inside

    def read(self, fields: dict[str, Any]) -> tuple[dict[str, Any], list[IngestCount]]:
        """Return the fields with the values that are meant, and what was mended. Raises RefusedError."""
        for name, example in (("vehicleId", _EXAMPLE_ID), ("timestamp", "it as Unix seconds or ISO-8601")):
            if fields.get(name) is None:
                raise self._why_missing(name, fields, example)
        read, mends = dict(fields), list[IngestCount]()
        for name, value in fields.items():
            reader = self._readers.get(name)
            if reader is None or value is None or type(value) is reader.plain:
                continue
            read[name], mend = reader.read(value)
            if mend is not None:
                mends.append(mend)
        return read, mends

    def why_no_signal(self, fields: dict[str, Any]) -> RefusedError:
        """Say why an event has no number to judge."""
        numbers = [channel.name for channel in self._spec.numbers]
        wrong = "the event has no signal"
        if misnamed := self.names.misnamed(fields):
            return _why_misnamed(wrong, misnamed)
        for name in numbers:
            if path := self.names.nested(frozenset({name}), fields):
                wrong = f"{wrong}: {named(name)} stands inside {named(path)}"
                return RefusedError("missing_field", wrong, "signals at the top of the object")
        return RefusedError("missing_field", wrong, f"at least one of {listed(numbers)}, as a number")

    def _why_missing(self, name: str, fields: dict[str, Any], example: str) -> RefusedError:
        wrong = f"{name} is {'null' if name in fields else 'missing'}"
        if path := self.names.nested(frozenset({"vehicleId", "timestamp"}), fields):
            wrong = f"{wrong}: the event stands in {_envelope(fields, path)}"
            unwrapped = f"the object in {named(path)} alone, or set events.envelope to {named(path)}"
            return RefusedError("missing_field", wrong, unwrapped)
        if sent := self.names.sent_for(name, fields):
            return _why_misnamed(wrong, {sent: name})
        if path := self.names.nested(frozenset({name}), fields):
            wrong = f"{wrong}: it stands inside {named(path)}"
            return RefusedError("missing_field", wrong, f"{name} at the top of the object")
        return RefusedError("missing_field", wrong, example)


def _why_misnamed(wrong: str, misnamed: Mapping[str, str]) -> RefusedError:
    names = dict(islice(misnamed.items(), _MOST_NAMES_SAID))
    wrong = f"{wrong}, and {listed(names)} {'is' if len(names) == 1 else 'are'} not read"
    mapping = ", ".join(f"{named(sent)}: {named(name)}" for sent, name in names.items())
    return RefusedError(
        "missing_field", wrong, f"{listed(names.values())} instead, or set events.names to {{{mapping}}}"
    )


def _envelope(fields: Mapping[str, Any], path: str) -> str:
    if {"schema", "payload"} <= fields.keys():
        return f"{named(path)} of a Kafka Connect envelope (value.converter.schemas.enable)"
    if "specversion" in fields:
        return f"{named(path)} of a CloudEvent in structured mode"
    return f"{named(path)} of an envelope"


def _reader(channel: Channel, *, is_lenient: bool) -> _Reader:
    if channel.is_word:
        return _Reader(str, partial(_word, channel.name, f"one of {listed(channel.codes)}"))
    if channel.kind == "flag":
        return _Reader(bool, partial(_flag, channel.name, is_lenient=is_lenient))
    return _Reader(float, partial(read_number, channel, is_lenient=is_lenient))


def read_number(channel: Channel, value: Any, *, is_lenient: bool) -> Read:
    """Read a channel's number, from text too where that is allowed; None is unknown. Raises RefusedError."""
    if isinstance(value, str) and is_lenient:
        text = value.strip()
        if text.casefold() in _UNKNOWN:
            return None, IngestCount.UNKNOWNS_SENT_AS_TEXT
        if len(text) <= _LONGEST_NUMBER and _is_number(text):
            return _finite(channel, float(text)), IngestCount.NUMBERS_SENT_AS_TEXT
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedError("wrong_type", f"{named(channel.name)} is {shown(value)}", _right_number(channel, value))
    return _finite(channel, value), None


def _right_number(channel: Channel, value: Any) -> str:
    unit = f" in {channel.unit}" if channel.unit else ""
    found = _number_and_unit(value.strip()[:_LONGEST_NUMBER]) if isinstance(value, str) else None
    if found is None:
        return f"a number{unit}"
    if found[2].strip().casefold() in ("", channel.unit.casefold()):
        return f"the number alone, {found[1].replace(',', '.')}"
    return f"the number alone{unit}"


def _finite(channel: Channel, number: float) -> float:
    try:
        is_finite = math.isfinite(number)
    except OverflowError:  # an integer beyond a float
        is_finite = False
    if not is_finite:
        raise RefusedError("not_finite", f"{named(channel.name)} is not finite", "a number within the range of a float")
    return number


def _flag(name: str, value: Any, *, is_lenient: bool) -> Read:
    if isinstance(value, bool):
        return value, None
    if is_lenient and isinstance(value, int | float | str):
        said = value.strip().casefold() if isinstance(value, str) else value
        if said in _FLAGS:
            return _FLAGS[said], IngestCount.FLAGS_SENT_OTHERWISE
        if said in _UNKNOWN:
            return None, IngestCount.UNKNOWNS_SENT_AS_TEXT
    raise RefusedError("wrong_type", f"{named(name)} is {shown(value)}", "true or false")


def _word(name: str, words: str, value: Any) -> Read:
    if not isinstance(value, str):
        raise RefusedError("wrong_type", f"{named(name)} is {shown(value)}", words)
    return value, None


def _name(name: str, value: Any, *, is_lenient: bool) -> Read:
    if isinstance(value, str):
        return value, None
    if is_lenient and isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 128:
        return str(value), IngestCount.IDS_SENT_AS_NUMBERS
    raise RefusedError("wrong_type", f"{name} is {shown(value)}", "it as text, in quotes")


def _time(value: Any, *, is_lenient: bool) -> Read:
    """Read a time, from oddly written ISO-8601 too. Unlike a number's, its spelling leaves no doubt."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise RefusedError("wrong_type", f"timestamp is {shown(value)}", "it as Unix seconds or ISO-8601")
    try:
        event_time_s(value)
        return value, None
    except (ValueError, OverflowError):
        if isinstance(value, str) and (mended := mended_time(value)) is not None:
            return mended, IngestCount.TIMES_MENDED
        if isinstance(value, str) and is_lenient and (seconds := seconds_in_text(value)) is not None:
            return seconds, IngestCount.NUMBERS_SENT_AS_TEXT
        raise why_no_time(value) from None
