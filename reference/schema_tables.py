"""Tables of the fields of a JSON schema: field, type, meaning with unit, and when the field is there."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from reference import markdown

Schema: TypeAlias = Mapping[str, Any]
Schemas: TypeAlias = Mapping[str, Schema]


def fields_table(schema: Schema, schemas: Schemas) -> list[str]:
    """Return the table of an object's fields; `schemas` are what it refers to, by name."""
    required = schema.get("required", ())
    rows = [
        (
            markdown.code(name),
            type_of(field),
            _meaning(field, schemas),
            _when(field, name in required),
        )
        for name, field in schema["properties"].items()
    ]
    return markdown.table(("field", "type", "unit, meaning", "when"), rows)


def inner_objects(schema: Schema, schemas: Schemas) -> Iterator[str]:
    """Name the objects that a schema's fields refer to, each once, the outer ones first."""
    found = dict.fromkeys(_references(list(schema.get("properties", {}).values())))
    for name in found:
        yield name
        yield from (inner for inner in inner_objects(schemas[name], schemas) if inner not in found)


def type_of(schema: Schema) -> str:
    """Say a schema's type in words."""
    if "$ref" in schema:
        return _name_of(schema["$ref"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    if "anyOf" in schema:
        return " or ".join(type_of(option) for option in schema["anyOf"] if option.get("type") != "null")
    if schema.get("type") == "array":
        return f"array of {type_of(schema.get('items') or schema['prefixItems'][0])}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_of(values)}" if isinstance(values, Mapping) else "object"
    kinds = schema.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


def _meaning(field: Schema, schemas: Schemas) -> str:
    said = field.get("description") or (schemas[_name_of(field["$ref"])].get("description") if "$ref" in field else "")
    bounds = f"from {field['minimum']:g} to {field['maximum']:g}" if {"minimum", "maximum"} <= field.keys() else ""
    return "; ".join(filter(None, (said, bounds)))


def _when(field: Schema, required: bool) -> str:
    may_be_null = any(option.get("type") == "null" for option in field.get("anyOf", ()))
    if not required:
        return "may be missing or null" if may_be_null else "may be missing"
    return "always; may be null" if may_be_null else "always"


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield _name_of(part["$ref"])
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _name_of(reference: str) -> str:
    return reference.rpartition("/")[2]
