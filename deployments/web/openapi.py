"""The OpenAPI document: FastAPI's routes, with bodies from the types that are encoded and decoded.

What it says of events follows the served model's channel specification, so it is built when somebody asks.
"""

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from deployments.web.answers import ANSWERS, Problem, SignIn, refer
from deployments.web.schemas import event_schemas, schemas_of
from fleet.events.channels import ChannelSpec
from fleet.records.action import ActionRequest
from fleet.records.episode import ListedEpisode
from fleet.records.sender import SenderReport

PROBLEM: Final[dict[str, Any]] = {
    "description": "Why not, and what to change",
    "content": {"application/problem+json": {"schema": schemas_of([Problem])["Problem"]}},
}


def answers(answer: type, *problems: int) -> dict[int | str, dict[str, Any]]:
    """Describe what a route answers: a type of `deployments.web.answers`, or a problem of these statuses."""
    content = {"application/json": {"schema": refer(answer.__name__)}}
    return {200: {"description": str(answer.__doc__), "content": content}, **dict.fromkeys(problems, PROBLEM)}


def documented(app: FastAPI, served: Callable[[], ChannelSpec], most_events: int) -> Callable[[], dict[str, Any]]:
    """Return what gives the document of `app` for the specification that is served at the moment."""
    made: dict[str, Any] = {}
    of_spec: ChannelSpec | None = None

    def document() -> dict[str, Any]:
        nonlocal made, of_spec
        if of_spec is not (spec := served()):
            made, of_spec = openapi_document(app, spec, most_events), spec
        return made

    return document


def openapi_document(app: FastAPI, spec: ChannelSpec, most_events: int) -> dict[str, Any]:
    """Build the document of an application that serves a model of this specification."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas = {**event_schemas(spec), **schemas_of([ListedEpisode, SenderReport, ActionRequest, *ANSWERS])}
    events = {"type": "array", "maxItems": most_events, "items": refer("TelemetryEvent")}
    bodies = {
        "/v1/session": schemas_of([SignIn])["SignIn"],
        "/v1/episodes/{episodeId}/actions": schemas["ActionRequest"],
        "/predict": schemas["Point"],
        "/v1/score": {"type": "object", "required": ["events"], "properties": {"events": events}},
    }
    for path, schema in bodies.items():
        content = {"application/json": {"schema": schema}}
        document["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
    document["components"] = {"schemas": schemas}
    return document
