"""From a record's bytes to the fields of one JSON object, or to why there is none: encoding, framing, JSON."""

import json
import math
import re
from functools import partial
from typing import Any, Final, NoReturn

import msgspec

from fleet.events.refusals import RefusedError, clipped, named, shown

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
ONE_EVENT: Final = "one JSON object with vehicleId, timestamp and signals, as UTF-8"
_FRAMED_BYTES: Final = 5  # a schema registry's framing: a zero byte, and the schema's id as four
_NEAR_CHARACTERS: Final = 20
_JSON_SPACE: Final = " \t\r\n"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{", b"[\0", b"\0[", b'"\0', b'\0"')
_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_JSON_TYPES: Final = {str: "text", bool: "true or false", int: "a number", float: "a number", type(None): "null"}

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_constant_after_name = re.compile(r'"([^"\\]{1,40})"\s*:\s*(?:NaN|-?Infinity)').search


def read_object(value: bytes) -> dict[str, Any]:
    """Return the fields of one JSON object. Raises RefusedError."""
    try:
        return _decode_object(value)
    except (ValueError, RecursionError):
        raise why_no_object(value) from None


def why_no_object(value: bytes, right: str = ONE_EVENT) -> RefusedError:
    """Say why strict JSON readers find no object in what is not empty; `right` is what to send."""
    try:
        _refuse_other_encodings(value, right)
        _refuse_other_json(_one_value(_text(value), right), right)
    except RefusedError as refused:
        return refused
    except RecursionError:
        return RefusedError("not_json", "the JSON is nested too deeply", "the signals at the top of the object")
    return RefusedError("not_json", "this is no JSON that strict readers read", right)


def _refuse_other_encodings(value: bytes, right: str) -> None:
    for magic, name in _COMPRESSED.items():
        if value.startswith(magic):
            wrong = f"the value is compressed with {name}"
            raise RefusedError("not_utf8", wrong, "it plain, and set the producer's compression.type instead")
    if value.startswith(_UTF_16):
        raise RefusedError("not_utf8", "the value is UTF-16", right)
    if value[:1] == b"\0" and len(value) >= _FRAMED_BYTES:
        schema_id = int.from_bytes(value[1:_FRAMED_BYTES])
        wrong = f"byte 0 and schema id {schema_id} stand before the value: a schema registry's framing"
        plain = "plain JSON, by a serializer without registry; framed values are for KafkaJsonSchemaDeserializer"
        raise RefusedError("not_json" if _is_utf8(value) else "not_utf8", wrong, plain)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        wrong = f"byte 0x{value[error.start]:02x} at position {error.start} is no UTF-8"
    raise RefusedError("not_utf8", wrong, "UTF-8, and neither Latin-1 nor binary data")


def _one_value(text: str, right: str) -> Any:
    """Return what the text says. Raises RefusedError where it is not exactly one JSON value, or not finite."""
    text = text.strip(_JSON_SPACE)
    refuse_constant = partial(_refuse_constant, text=text)
    decoder = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite, parse_int=_finite)
    try:
        value, end = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise _why_no_json(text, error.pos, right) from None
    if rest := text[end:].lstrip(_JSON_SPACE):
        raise _why_more(rest, len(text) - len(rest))
    return value


def _why_no_json(text: str, place: int, right: str) -> RefusedError:
    if text[:2] == "{'":
        return RefusedError("not_json", "the text is a Python dict, with single quotes", "what json.dumps makes of it")
    if place >= len(text) or text.count('"') % 2:
        wrong = f"the JSON ends after {len(text)} characters, before it is complete"
        return RefusedError("not_json", wrong, f"all of it: {right}")
    near = shown(text[place : place + _NEAR_CHARACTERS])
    return RefusedError("not_json", f"this is no JSON: at character {place} stands {near}", right)


def _why_more(rest: str, place: int) -> RefusedError:
    if rest[0] in "{[":
        wrong = f"the record holds more than one JSON value, the second at character {place}"
        return RefusedError("not_json", wrong, "one event a record")
    near = shown(rest[:_NEAR_CHARACTERS])
    return RefusedError("not_json", f"behind the JSON value, at character {place}, stands {near}", "the object alone")


def _refuse_other_json(value: Any, right: str) -> None:
    if isinstance(value, dict):
        for name, member in value.items():
            if _has_half_a_character(name) or _has_half_a_character(member):
                wrong = f"{named(name)} holds half a character (\\ud800 to \\udfff, without its other half)"
                raise RefusedError("not_json", wrong, "whole characters: text was cut inside of one, such as an emoji")
    elif isinstance(value, list):
        raise RefusedError("not_an_object", f"a JSON array of length {len(value)}", "each event as a record of its own")
    elif isinstance(value, str) and value.lstrip()[:1] == "{":
        raise RefusedError("not_an_object", "an object inside of JSON text", "the object itself: it was encoded twice")
    else:
        raise RefusedError("not_an_object", f"JSON, but {_JSON_TYPES[type(value)]} and no object", right)


def _has_half_a_character(value: Any) -> bool:
    """Whether text, or text anywhere inside an object or array, has a surrogate without its other half."""
    if isinstance(value, str):
        return any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(_has_half_a_character(name) or _has_half_a_character(member) for name, member in value.items())
    return isinstance(value, list) and any(map(_has_half_a_character, value))


def _refuse_constant(constant: str, text: str) -> NoReturn:
    found = _constant_after_name(text)
    wrong = f"{named(found[1])} is {constant}" if found else f"the record holds {constant}"
    raise RefusedError("not_finite", f"{wrong}, which is no JSON number", "null where a value is unknown")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise RefusedError("not_finite", f"the number {clipped(digits, _NEAR_CHARACTERS)} is beyond a float", "null")
    return number
