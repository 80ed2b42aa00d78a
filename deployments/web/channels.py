"""What the events of this fleet carry, told to clients: the fields of the served model's channel specification.

Neighbours: `deployments.web.app` has the route, the page's details list a vehicle's fields by it.
"""

import re
from typing import Final

import msgspec

from deployments.web.answers import ChannelList, ChannelRecord
from fleet.events.channels import Channel, ChannelSpec

_WORD_BORDER: Final = re.compile(r"(?<=[a-z\d])(?=[A-Z])|[_\s]+")
_NO_LETTER: Final = re.compile(r"[^a-z]+")
_WORDS_OF_UNIT: Final = {"%": frozenset({"pct", "percent"}), "degrees": frozenset({"deg"})}


def channels_json(spec: ChannelSpec) -> bytes:
    """Lay out the fields of a specification's events, those that matter for safety first."""
    fields = sorted(spec.fields, key=lambda field: not field.safety)
    return msgspec.json.encode(ChannelList(spec.name, spec.description, list(map(_described, fields))))


def label_of(channel: Channel) -> str:
    """Put a channel's name into words, without the unit at its end: `coolant_c` in °C is "Coolant"."""
    words = [word.lower() for word in _WORD_BORDER.split(channel.name) if word]
    unit = _NO_LETTER.sub("", channel.unit.lower())
    if len(words) > 1 and words[-1] in _WORDS_OF_UNIT.get(channel.unit, frozenset()) | {unit}:
        words.pop()
    phrase = " ".join(words) or channel.name
    return phrase[:1].upper() + phrase[1:]


def _described(channel: Channel) -> ChannelRecord:
    plausible = channel.range or channel.limits
    return ChannelRecord(channel.name, label_of(channel), channel.unit, plausible, channel.use, channel.safety)
