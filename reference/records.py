"""The pages of what goes over the wire: topics, REST and the live feed, from the types that write and read it."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final, cast

from deployments.web.access.rules import FEED_PATH
from deployments.web.app import build_app
from deployments.web.asyncapi import FEED, LIVE_FEED, LIVE_FEED_PATH, TOPICS, Topic, asyncapi_document
from deployments.web.core import GatewayCore
from deployments.web.openapi import openapi_document
from fleet.delivery.feed.messages import CLIENT_MESSAGES, RETRIED_CLOSES, SERVER_MESSAGES, CloseCode
from fleet.events.channels import VEHICLE_DATA
from fleet.records.dead_letter import REASONS
from fleet.settings import Settings
from reference import markdown
from reference.schema_tables import Schemas, fields_table, inner_objects, type_of

_SETTINGS: Final = Settings()
_SIGNALS: Final = (
    "The signals are those of the built-in channel specification, `vehicle_data`.",
    "Another specification brings its own: the documents of a running system name those that it serves.",
    "",
)


def asyncapi_text() -> str:
    """Return the AsyncAPI document of a system with default settings and the built-in specification."""
    return json.dumps(asyncapi_document(_SETTINGS, VEHICLE_DATA), ensure_ascii=False, indent=2) + "\n"


def topics_page() -> str:
    """Return the page of the topics."""
    document = asyncapi_document(_SETTINGS, VEHICLE_DATA)
    lines = [
        "All topics have the same number of partitions. A record stands in the partition number of its source.",
        "The names are the defaults of `kafka.topics`.",
        "The same as AsyncAPI stands in [asyncapi.json](../asyncapi.json).",
        "A running system shows its own at `/asyncapi.json`.",
        "",
        *_SIGNALS,
    ]
    for topic in TOPICS:
        lines += _topic(topic, document)
    return markdown.page("Topics", "the types in fleet/records/ and fleet/events/", lines)


def rest_page() -> str:
    """Return the page of the REST interface."""
    # The routes are described without a gateway behind them: nobody calls their handlers.
    gateway = cast(GatewayCore, SimpleNamespace(settings=_SETTINGS, view=None, gate=None, audit=None))
    document = openapi_document(build_app(gateway), VEHICLE_DATA, _SETTINGS.gateway.max_request_events)
    schemas: Schemas = document["components"]["schemas"]
    lines = [
        "A running system shows these paths at `/docs`, and the same as OpenAPI at `/openapi.json`.",
        "Errors are [problems](#errors): `application/problem+json`, with a `detail` that says what to change.",
        "A parameter that a path does not list is refused. `HEAD` is answered wherever `GET` is.",
        "",
        *_SIGNALS,
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += _operation(f"{method.upper()} {path}", operation, schemas)
    problem = document["paths"]["/predict"]["post"]["responses"]["422"]["content"]["application/problem+json"]["schema"]
    lines += ["## Errors", "", problem["description"], "", *fields_table(problem, schemas), "## Objects", ""]
    for name, schema in schemas.items():
        lines += [f"### {name}", "", schema["description"], "", *fields_table(schema, schemas)]
    return markdown.page("REST", "the types in deployments/web/answers.py and fleet/", lines)


def websocket_page() -> str:
    """Return the page of the live feed."""
    live = asyncapi_document(_SETTINGS, VEHICLE_DATA)["channels"]["live"]
    query = live["bindings"]["ws"]["query"]
    rows = [
        (markdown.code(name), type_of(field), json.dumps(field["default"]), field["description"])
        for name, field in query["properties"].items()
    ]
    lines = [
        f"`ws://HOST:8000{LIVE_FEED_PATH}`",
        "",
        LIVE_FEED,
        "An event is a [scored record](topics.md#vehicle-telemetry-scored).",
        "",
        "## Query",
        "",
        *markdown.table(("parameter", "type", "default", "meaning"), rows),
        "```",
        f"{LIVE_FEED_PATH}?vehicleId=8K0TIH",
        f"{LIVE_FEED_PATH}?anomalies=true&batch=true",
        "```",
        "",
        "[Live delivery](../concepts/live-delivery.md) says what a slow client loses, and why.",
        "",
        *_feed(),
    ]
    sources = "deployments/web/asyncapi.py, deployments/web/sockets.py and fleet/delivery/feed/messages.py"
    return markdown.page("WebSocket", sources, lines)


def _feed() -> Iterator[str]:
    """Yield the section of the protocol `fleet.v2`."""
    yield from ("## fleet.v2", "", f"`ws://HOST:8000{FEED_PATH}`", "", FEED, "")
    yield from ("[Follow the live feed](../guides/live-feed.md) shows how it is used.", "")
    schemas: Schemas = asyncapi_document(_SETTINGS, VEHICLE_DATA)["components"]["schemas"]
    for side, kinds in (("A client says", CLIENT_MESSAGES), ("The gateway says", SERVER_MESSAGES)):
        yield from (f"### {side}", "")
        told: set[str] = set()
        for kind in kinds:
            yield from _message(kind.__name__, schemas, told)
    yield from ("**Change**", "", *_message_fields("Change", schemas))
    yield from ("### Closes", "")
    rows = [(str(code.value), code.meaning, "yes" if code in RETRIED_CLOSES else "no") for code in CloseCode]
    yield from markdown.table(("code", "meaning", "connect again"), rows)


def _message(name: str, schemas: Schemas, told: set[str]) -> Iterator[str]:
    """Yield a message's fields, and those of its inner objects that were not told yet."""
    tag = schemas[name]["properties"]["type"]["enum"][0]
    yield from (f"**`{tag}`**", "", *_message_fields(name, schemas))
    for inner in inner_objects(schemas[name], schemas):
        if inner not in told:
            told.add(inner)
            yield from (f"**{inner}**", "", schemas[inner]["description"], "", *fields_table(schemas[inner], schemas))


def _message_fields(name: str, schemas: Schemas) -> list[str]:
    said = {field: schema for field, schema in schemas[name]["properties"].items() if field != "type"}
    table = fields_table({**schemas[name], "properties": said}, schemas) if said else []
    return [schemas[name]["description"], "", *table]


def _topic(topic: Topic, document: dict[str, Any]) -> Iterator[str]:
    schemas: Schemas = document["components"]["schemas"]
    channel = document["channels"][topic.channel]
    cleanup = channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"][0]
    yield from (f"## {channel['address']}", "", topic.description, "")
    yield from (f"- Key: {topic.key}.", f"- Cleanup: `{cleanup}`.", "")
    yield from ("**Headers**", "", *fields_table(schemas[topic.headers.__name__], schemas))
    if "$ref" not in topic.payload:
        yield from (f"**Value**: {topic.payload['description']}.", "")
    else:
        value = schemas[type_of(topic.payload)]
        yield from ("**Value**", "", value["description"], "", *fields_table(value, schemas))
        for name in inner_objects(value, schemas):
            yield from (f"**{name}**", "", schemas[name]["description"], "", *fields_table(schemas[name], schemas))
    if topic.channel == "dlq":
        rows = [(markdown.code(reason), meaning) for reason, meaning in REASONS.items()]
        yield from ("**Reasons**", "", *markdown.table(("reason", "meaning"), rows))


def _operation(title: str, operation: dict[str, Any], schemas: Schemas) -> Iterator[str]:
    yield from (f"## {title}", "", f"{operation['summary']}.", "")
    parameters = operation.get("parameters", ())
    rows = [
        (
            markdown.code(parameter["name"]),
            parameter["in"],
            type_of(parameter["schema"]),
            "required" if parameter["required"] else json.dumps(parameter["schema"].get("default")),
            parameter.get("description", ""),
        )
        for parameter in parameters
    ]
    if rows:
        yield from markdown.table(("parameter", "in", "type", "default", "meaning"), rows)
    if "requestBody" in operation:
        yield from _body(operation["requestBody"]["content"]["application/json"]["schema"], schemas)
    answer, *problems = operation["responses"].items()
    name = type_of(answer[1]["content"]["application/json"]["schema"])
    yield f"- {answer[0]}: [{name}](#{name.lower()})"
    if problems:
        yield f"- {', '.join(status for status, _ in problems)}: a [problem](#errors)"
    yield ""


def _body(schema: dict[str, Any], schemas: Schemas) -> Iterator[str]:
    yield from ("**Body**", "")
    if "description" in schema:
        yield from (schema["description"], "")
    yield from fields_table(schema, schemas)
