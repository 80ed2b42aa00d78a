"""JSON schemas of what goes over the wire, generated from the types that encode and decode it."""

from collections.abc import Iterable
from typing import Any

import msgspec

from fleet.events.channels import ChannelSpec
from fleet.events.event_type import event_type, point_type
from fleet.records.scored import scored_type


def schemas_of(types: Iterable[Any]) -> dict[str, Any]:
    """Return the schemas of types and of what they refer to, by name."""
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return schemas


def event_schemas(spec: ChannelSpec) -> dict[str, Any]:
    """Return the schemas of what carries the signals of a channel specification."""
    return schemas_of([event_type(spec), point_type(spec), scored_type(spec)])
