"""The type of a fleet's events, built from its channel specification: what is decoded is what is documented.

`fleet.events.telemetry` decodes with it; OpenAPI, AsyncAPI and the reference pages are generated from it.
"""

from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta

from fleet.events.channels import Channel, ChannelSpec
from fleet.events.fields import TenantId, Timestamp, Truth, VehicleId, wire_name

EventType: TypeAlias = type[msgspec.Struct]
_USES: Final = {
    "judged": "judged",
    "witness": "told to the model",
    "context": "told to the model",
    "carried": "carried through",
}
_READ_BY_FORMULAS: Final = "read for what is computed from it"


def places_of(spec: ChannelSpec) -> list[str]:
    """Name the attributes of the specification's fields: a field may be called what no Python attribute can."""
    return [f"signal_{place}" for place in range(len(spec.fields))]


def event_type(spec: ChannelSpec, *, forbid_unknown_fields: bool = False) -> EventType:
    """Build the type of an event: who and when, the specification's signals, and what is carried beside them."""
    places = places_of(spec)
    signals: list[Any] = [
        (place, Annotated[_json_type(field) | None, _meaning(field, spec)], None)
        for place, field in zip(places, spec.fields, strict=True)
    ]
    identity: list[Any] = [("vehicle_id", VehicleId), ("timestamp", Timestamp)]
    carried: list[Any] = [("tenant_id", TenantId, None)]
    carried += [(field.name, field.type, None) for field in msgspec.structs.fields(Truth)]
    wire_names = dict(zip(places, spec.field_names, strict=True))
    return msgspec.defstruct(
        "TelemetryEvent",
        [*identity, *signals, *carried],
        rename=lambda name: wire_names.get(name) or wire_name(name),
        namespace={"__doc__": "One telemetry event: who, when, and at least one signal. Null is unknown."},
        gc=False,
        forbid_unknown_fields=forbid_unknown_fields,
    )


def point_type(spec: ChannelSpec) -> EventType:
    """Build the type of one point without history: all numbers of the specification."""
    places = {f"number_{place}": field for place, field in enumerate(spec.numbers)}
    fields: list[Any] = [(place, Annotated[float, _meaning(field, spec)]) for place, field in places.items()]
    history = "; `previousSpeed` counts as one event a second earlier" if "previousSpeed" in spec.field_names else ""
    return msgspec.defstruct(
        "Point",
        fields,
        rename={place: field.name for place, field in places.items()},
        namespace={"__doc__": f"One point without history{history}."},
        forbid_unknown_fields=True,
    )


def _json_type(field: Channel) -> Any:
    if field.is_word:
        return str
    if field.kind == "flag":
        return bool
    return float


def _meaning(field: Channel, spec: ChannelSpec) -> Meta:
    """Say a field's unit, its plausible values and what becomes of it; a schema's bounds are those that refuse."""
    is_read = field.use == "carried" and any(field.name in channel.of for channel in spec.channels)
    use = _READ_BY_FORMULAS if is_read else _USES[field.use]
    said = [field.unit, f"plausible {_interval(field.range)}" if field.range else "", use]
    schema: dict[str, Any] = {}
    if field.is_word:
        said.append(f"one of {', '.join(field.codes)}; any other word is unknown")
        schema = {"examples": list(field.codes)}
    if field.limits:
        schema = {"minimum": field.limits[0], "maximum": field.limits[1]}
    return Meta(description="; ".join(filter(None, said)), extra_json_schema=schema or None)


def _interval(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"
