"""`/openapi.json` follows the served model's channel specification, and the types on the wire."""

import json

import jsonschema
import pytest

from fleet.events.channels import VEHICLE_DATA, ChannelSpec, read_spec
from fleet.events.lenient import Reading
from fleet.events.telemetry import TelemetryDecoder
from tests.deployments.test_channels import ask

KIT = read_spec("kit_obd")


def body_of(document: dict, path: str) -> dict:
    return document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]


@pytest.mark.parametrize("spec", [VEHICLE_DATA, KIT], ids=lambda spec: spec.name)
def test_openapi_names_the_signals_of_the_served_specification(spec: ChannelSpec) -> None:
    document = ask(spec, "/openapi.json")
    numbers = [field.name for field in spec.numbers]
    assert body_of(document, "/predict")["required"] == numbers
    assert body_of(document, "/predict")["additionalProperties"] is False
    schemas = document["components"]["schemas"]
    for name in ("TelemetryEvent", "ScoredRecord"):
        assert set(spec.field_names) < schemas[name]["properties"].keys()
    assert schemas["TelemetryEvent"]["required"] == ["vehicleId", "timestamp"]


def test_openapi_knows_no_signal_that_is_not_served() -> None:
    schemas = ask(KIT, "/openapi.json")["components"]["schemas"]
    others = set(VEHICLE_DATA.field_names) - set(KIT.field_names)
    assert not others & schemas["TelemetryEvent"]["properties"].keys()
    assert not others & schemas["Point"]["properties"].keys()


def test_openapi_says_units_ranges_and_words() -> None:
    fields = ask(VEHICLE_DATA, "/openapi.json")["components"]["schemas"]["TelemetryEvent"]["properties"]
    assert fields["temperature"]["description"] == "°C; plausible -40 to 130; judged"
    assert (fields["latitude"]["minimum"], fields["latitude"]["maximum"]) == (-90, 90)
    assert fields["weather"]["examples"] == ["clear", "rain", "fog", "storm"]
    assert "carried through" in fields["acceleration"]["description"]


@pytest.mark.parametrize(
    "event",
    [
        b'{"vehicleId":"v","timestamp":1,"coolant_c":90,"anything":{"else":1}}',
        b'{"vehicleId":"v","timestamp":"2025-11-30T20:17:45Z","coolant_c":null,"rpm":900,"tenantId":"t"}',
        b'{"vehicleId":"v","coolant_c":90}',
        b'{"vehicleId":7,"timestamp":1,"coolant_c":90}',
        b'{"vehicleId":"v","timestamp":1,"coolant_c":"hot"}',
    ],
)
def test_openapi_documents_what_the_decoder_takes_as_it_stands(event: bytes) -> None:
    document = ask(KIT, "/openapi.json")
    reference = {"$ref": "#/components/schemas/TelemetryEvent", "components": document["components"]}
    _, rejects = TelemetryDecoder(KIT, Reading(is_lenient=False)).decode_block([event], 10_000)
    mistakes = list(jsonschema.Draft202012Validator(reference).iter_errors(json.loads(event)))
    assert bool(rejects) == bool(mistakes)
