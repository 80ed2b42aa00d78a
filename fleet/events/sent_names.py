"""What senders call fields that have another name here: other spellings, synonyms, and members of objects.

Nothing is read under such a name unless `events.names` says so; a refusal or a note names what would be read.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import islice
from typing import Any, Final

# Words for one thing, spelling aside. The name of a fleet's own field may be any of them.
_SYNONYMS: Final = (
    "vehicleid vehicle deviceid device imei vin unitid assetid trackerid carid truckid terminalid serialnumber id",
    "timestamp ts time datetime date eventtime gpstime devicetime utc recordedat createdat epoch unixtime timestampms",
    "tenantid tenant customerid fleetid organisationid organizationid",
    "latitude lat gpslat gpslatitude",
    "longitude lon lng long gpslon gpslng gpslongitude",
    "speed velocity spd vehiclespeed gpsspeed speedkmh speedkph kmh kph",
    "temperature temp coolant coolanttemp coolanttemperature enginetemp enginetemperature enginecoolanttemperature",
    "battery batterylevel batterypercent batt soc stateofcharge",
    "fuellevel fuel fuelpercent fuelpct fuellevelpercent",
    "speedlimit maxspeed",
)
_LIKE_ENOUGH: Final = 0.8
_LONGEST_NAME: Final = 64
_MOST_MEMBERS: Final = 64  # of an object are looked at
_DEEPEST: Final = 3
_REMEMBERED: Final = 2_048


class SentNames:
    """Finds the names that are read, given those that were sent."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._by_form = _names_by_form(self.names)
        # Senders use the same few names in every event.
        self.meant = lru_cache(_REMEMBERED)(self._meant)
        self._is_near = lru_cache(_REMEMBERED)(_is_near)

    def _meant(self, sent: str) -> str | None:
        """Return the name that is read for what was sent, by spelling or as a synonym."""
        return self._by_form.get(_form(sent)) if len(sent) <= _LONGEST_NAME else None

    def sent_for(self, name: str, fields: Mapping[str, Any]) -> str | None:
        """Return the field that was probably meant to be `name`."""
        others = [sent for sent in _first(fields) if sent not in self.names]
        meant = (sent for sent in others if self.meant(sent) == name)
        near = (sent for sent in others if self._is_near(sent, name))
        return next(meant, None) or next(near, None)

    def misnamed(self, fields: Mapping[str, Any]) -> dict[str, str]:
        """Return what is not read, by the names that would be: fields that the event has under no name of ours."""
        found = {}
        for sent in islice(fields.keys() - self.names, _MOST_MEMBERS):
            if (name := self.meant(sent)) is not None and fields.get(name) is None:
                found[sent] = name
        return {sent: found[sent] for sent in fields if sent in found} if found else found

    def nested(self, names: frozenset[str], fields: Mapping[str, Any]) -> str | None:
        """Return the path, dotted, of the first object inside `fields` that has all of these names."""
        level: Sequence[tuple[str, Mapping[str, Any]]] = [("", fields)]
        for _ in range(_DEEPEST):
            level = [
                (f"{path}.{member}" if path else member, inside)
                for path, outside in level
                for member in _first(outside)
                if isinstance(inside := outside[member], dict) and inside
            ][:_MOST_MEMBERS]
            for path, inside in level:
                if names <= {self.meant(member) for member in _first(inside)}:
                    return path
        return None


def _names_by_form(names: Iterable[str]) -> dict[str, str]:
    by_form = {_form(name): name for name in names}
    for words in map(str.split, _SYNONYMS):
        ours = {by_form[word] for word in words if word in by_form}
        if len(ours) == 1:  # else a synonym could mean either
            by_form = dict.fromkeys(words, ours.pop()) | by_form
    return by_form


def _form(name: str) -> str:
    """Return the letters and digits alone, in lower case: how spellings are compared."""
    return "".join(filter(str.isalnum, name)).casefold()


def _is_near(sent: str, name: str) -> bool:
    return len(sent) <= _LONGEST_NAME and SequenceMatcher(None, _form(sent), _form(name)).ratio() >= _LIKE_ENOUGH


def _first(fields: Mapping[str, Any]) -> list[str]:
    return list(islice(fields, _MOST_MEMBERS))
