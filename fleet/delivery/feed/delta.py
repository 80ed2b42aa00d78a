"""Events as what changed since the last one of the same vehicle that a subscription was sent, and whole again.

The gateway cuts (`DeltaEncoder`), the client puts together (`DeltaDecoder`); both go by fields of the top level.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

WHOLE_EVERY_S: Final = 30.0
# Clients that are in step are sent the same differences: this many are kept for the next of them.
_SHARED_DIFFERENCES: Final = 16_384
# Without the vehicle's name a difference could not be told whose it is.
_NAME: Final = "vehicleId"
# A sender may call a field `changed`; this one is ours.
_IN_EVERY_EVENT: Final = "source"

members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""Read an event's fields, each as its JSON text."""
_encode = msgspec.json.Encoder().encode


class DeltaEncoder:
    """What one subscription was last sent of each vehicle; at most `most_vehicles`, the oldest are forgotten."""

    def __init__(self, most_vehicles: int) -> None:
        self._most_vehicles = most_vehicles
        self._sent: dict[str, tuple[bytes, float]] = {}  # the event, and when one was sent whole

    def encode(self, vehicle_id: str, body: bytes, now_s: float) -> bytes:
        """Return an event as it is to be sent now: whole on entry and every `WHOLE_EVERY_S`, else its changes."""
        base, whole_at_s = self._sent.get(vehicle_id, _NEVER)
        if base is None or now_s - whole_at_s >= WHOLE_EVERY_S:
            self._make_room(vehicle_id)
            self._sent[vehicle_id] = (body, now_s)
            return body
        self._sent[vehicle_id] = (body, whole_at_s)
        return difference(base, body)

    def forget(self, vehicle_ids: Iterable[str]) -> None:
        """Send these vehicles' next events whole."""
        for vehicle_id in vehicle_ids:
            self._sent.pop(vehicle_id, None)

    def _make_room(self, vehicle_id: str) -> None:
        if vehicle_id not in self._sent and len(self._sent) >= self._most_vehicles:
            del self._sent[next(iter(self._sent))]


_NEVER: Final[tuple[bytes | None, float]] = (None, 0.0)


@lru_cache(_SHARED_DIFFERENCES)
def difference(base: bytes, body: bytes) -> bytes:
    """Return the JSON text of the `Change` from one event of a vehicle to another."""
    before, now = members_of(base), members_of(body)
    changed = {name: text for name, text in now.items() if before.get(name) != text and name != _NAME}
    removed = tuple(name for name in before if name not in now)
    return _encode({_NAME: now[_NAME], "changed": changed, **({"removed": removed} if removed else {})})


class DeltaDecoder:
    """Makes whole events of what a subscription is sent."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def decode(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole event. Raises KeyError where a change comes of a vehicle that never came whole."""
        if _IN_EVERY_EVENT in item:
            event = dict(item)
        else:
            event = {**self._known[item[_NAME]], **item["changed"]}
            for name in item.get("removed", ()):
                event.pop(name, None)
        self._known[event[_NAME]] = event
        return event

    def forget(self, vehicle_id: str) -> None:
        """Let go of a vehicle that has left."""
        self._known.pop(vehicle_id, None)
