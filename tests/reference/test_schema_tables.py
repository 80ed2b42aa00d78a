"""A schema's fields as a table."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from deployments.web.schemas import schemas_of
from reference.schema_tables import fields_table, inner_objects, type_of


class Part(msgspec.Struct):
    """A part."""

    deepest: "list[Deepest]"


class Deepest(msgspec.Struct):
    """The deepest."""

    flag: bool


class Whole(msgspec.Struct):
    """A whole."""

    speed: Annotated[float, Meta(description="km/h", extra_json_schema={"minimum": 0, "maximum": 1})]
    part: Part
    state: Literal["open", "closed"] | None
    shares: dict[str, float] = {}
    pair: tuple[int, int] | None = None


SCHEMAS = schemas_of([Whole])


def test_fields_table_says_type_meaning_and_when() -> None:
    assert fields_table(SCHEMAS["Whole"], SCHEMAS) == [
        "| field | type | unit, meaning | when |",
        "| --- | --- | --- | --- |",
        "| `speed` | number | km/h; from 0 to 1 | always |",
        "| `part` | Part | A part. | always |",
        "| `state` | `closed`, `open` |  | always; may be null |",
        "| `shares` | object of number |  | may be missing |",
        "| `pair` | array of integer |  | may be missing or null |",
        "",
    ]


def test_inner_objects_are_named_once_and_the_outer_ones_first() -> None:
    assert list(inner_objects(SCHEMAS["Whole"], SCHEMAS)) == ["Part", "Deepest"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": ["number", "string"]}, "number or string"),
        ({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}, "number or string"),
        ({"type": "object"}, "object"),
        ({}, "any"),
    ],
)
def test_type_is_said_in_words(schema: dict, words: str) -> None:
    assert type_of(schema) == words
