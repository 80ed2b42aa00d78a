"""`GET /v1/channels`: what the served model's channel specification says of the events."""

import asyncio

import httpx
import jsonschema
import pytest

from deployments.web.app import build_app
from deployments.web.channels import label_of
from deployments.web.core import GatewayCore
from fleet.detection.features import FeaturePlan
from fleet.events.channels import VEHICLE_DATA, Channel, read_spec
from fleet.settings import Settings
from tests.small_detector import made_up_bundle


async def no_scorer(version, features):
    raise AssertionError("nothing is scored here")


def ask(spec, path):
    """GET a path of a gateway that serves a model of this specification; Kafka is not needed for it."""
    core = GatewayCore(Settings(), made_up_bundle(FeaturePlan.of(spec)), no_scorer, lambda: None)

    async def get():
        transport = httpx.ASGITransport(build_app(core))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return (await client.get(path)).json()

    return asyncio.run(get())


def test_channels_are_those_of_the_served_models_specification():
    answer = ask(read_spec("kit_obd"), "/v1/channels")
    assert answer["spec"] == "kit_obd"
    by_name = {channel["name"]: channel for channel in answer["channels"]}
    assert by_name["coolant_c"] == {
        "name": "coolant_c",
        "label": "Coolant",
        "unit": "°C",
        "range": [-40, 125],
        "role": "judged",
        "safety": True,
    }
    safety = [channel["safety"] for channel in answer["channels"]]
    assert safety == sorted(safety, reverse=True)
    assert {"speed_kmh", "coolant_c"} <= {name for name, channel in by_name.items() if channel["safety"]}


def test_channels_name_fields_of_the_event_and_what_becomes_of_them():
    channels = {channel["name"]: channel for channel in ask(VEHICLE_DATA, "/v1/channels")["channels"]}
    assert tuple(sorted(channels)) == tuple(sorted(VEHICLE_DATA.field_names))  # nothing that is computed from them
    roles = {name: channels[name]["role"] for name in ("temperature", "speedLimit", "acceleration")}
    assert roles == {"temperature": "judged", "speedLimit": "context", "acceleration": "carried"}
    assert channels["latitude"]["range"] == [-90, 90]
    assert channels["weather"]["range"] is None


@pytest.mark.parametrize("name", ["vehicle_data", "kit_obd", "nds_blackbox"])
def test_channels_are_as_the_openapi_document_says(name):
    document = ask(VEHICLE_DATA, "/openapi.json")
    answers = document["paths"]["/v1/channels"]["get"]["responses"]
    schema = {**answers["200"]["content"]["application/json"]["schema"], "components": document["components"]}
    jsonschema.validate(ask(read_spec(name), "/v1/channels"), schema)


@pytest.mark.parametrize(
    ("name", "unit", "words"),
    [
        ("speed_kmh", "km/h", "Speed"),
        ("speed_mph", "mph", "Speed"),
        ("pedal_d_pct", "%", "Pedal d"),
        ("intake_air_c", "°C", "Intake air"),
        ("fuelLevel", "%", "Fuel level"),
        ("accel_x", "g", "Accel x"),
        ("gyro_c", "degrees", "Gyro c"),
        ("C", "°C", "C"),
    ],
)
def test_label_is_the_name_in_words_without_its_unit(name, unit, words):
    assert label_of(Channel(name, unit)) == words
