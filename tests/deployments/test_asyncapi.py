"""`/asyncapi.json`: valid AsyncAPI 3, and true of what is really written to the topics."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from asyncapi3 import AsyncAPI3

from deployments.web.asyncapi import FEED_PATH, LIVE_FEED_PATH, asyncapi_document
from deployments.web.sockets import FeedQuery, FeedRequest, read_query
from fleet.delivery.live_feed import Selection
from fleet.events.channels import VEHICLE_DATA, read_spec
from fleet.records.dead_letter import DeadLetterHeaders
from fleet.settings import PROJECT_FOLDER, Settings
from tests.deployments.test_channels import ask
from tests.fleet.records.test_wire import EPISODES, SCORED, SENT, SILENCE

DOCUMENT = asyncapi_document(Settings(), VEHICLE_DATA)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def mistakes(name: str, value: Any) -> list[str]:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


@pytest.mark.parametrize("name", ["vehicle_data", "kit_obd", "nds_blackbox"])
def test_asyncapi_is_valid(name: str) -> None:
    document = ask(read_spec(name), "/asyncapi.json")
    AsyncAPI3.model_validate(document)
    for reference in references(document):
        part: Any = document
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]


def test_asyncapi_has_every_topic_and_the_live_feeds() -> None:
    topics = Settings().kafka.topics
    addresses = {name: channel["address"] for name, channel in DOCUMENT["channels"].items()}
    assert addresses == {**topics.model_dump(), "live": LIVE_FEED_PATH, "feed": FEED_PATH}


def test_asyncapi_names_the_signals_of_the_served_specification() -> None:
    schemas = ask(read_spec("kit_obd"), "/asyncapi.json")["components"]["schemas"]
    for name in ("TelemetryEvent", "ScoredRecord"):
        assert "coolant_c" in schemas[name]["properties"]
        assert "battery" not in schemas[name]["properties"]


@pytest.mark.parametrize("value", SENT)
def test_asyncapi_is_true_of_telemetry(value: bytes) -> None:
    assert mistakes("TelemetryEvent", json.loads(value)) == []


@pytest.mark.parametrize("value", SCORED)
def test_asyncapi_is_true_of_scored_records(value: bytes) -> None:
    scored = json.loads(value)
    assert mistakes("ScoredRecord", scored) == []
    for name in set(scored) & set(DOCUMENT["components"]["schemas"]["ScoredRecord"]["required"]):
        assert mistakes("ScoredRecord", {k: v for k, v in scored.items() if k != name})


@pytest.mark.parametrize(("value", "left_out"), [*((value, {"usualPause"}) for value in EPISODES), (SILENCE, set())])
def test_asyncapi_is_true_of_episodes(value: bytes, left_out: set[str]) -> None:
    episode = json.loads(value)
    assert mistakes("Episode", episode) == []
    assert set(episode) == set(DOCUMENT["components"]["schemas"]["Episode"]["properties"]) - left_out


@pytest.mark.parametrize("more", [{}, {"omitted": 70_000}])
def test_asyncapi_is_true_of_dead_letters(more: dict[str, int]) -> None:
    encoded = dict(DeadLetterHeaders("too_large", "70000 bytes", "2:41", **more).encode())
    headers = {name: int(text) if name == "omitted" else text.decode() for name, text in encoded.items()}
    assert mistakes("DeadLetterHeaders", headers) == []
    assert mistakes("DeadLetterHeaders", {**headers, "reason": "unheard_of"})


def test_live_feed_reads_the_query_that_is_documented() -> None:
    query = DOCUMENT["channels"]["live"]["bindings"]["ws"]["query"]["properties"]
    assert tuple(query) == FeedQuery.__struct_encode_fields__
    asked = [(name, "V1" if name == "vehicleId" else "true") for name in query]
    assert read_query(asked) == FeedRequest(Selection("V1", anomalies=True), batch=True)


def test_committed_asyncapi_is_what_the_code_gives() -> None:
    committed = json.loads((PROJECT_FOLDER / "docs" / "asyncapi.json").read_text("utf-8"))
    assert committed == DOCUMENT, "docs/asyncapi.json is out of date: run `python -m reference`"
