import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.events.channels import VEHICLE_DATA
from fleet.events.fields import IDENTITY_FIELDS
from fleet.events.sent_names import SentNames

NAMES = SentNames([*IDENTITY_FIELDS, *VEHICLE_DATA.field_names])


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("vehicle_id", "vehicleId"),
        ("VEHICLE-ID", "vehicleId"),
        ("deviceId", "vehicleId"),
        ("imei", "vehicleId"),
        ("ts", "timestamp"),
        ("lat", "latitude"),
        ("lng", "longitude"),
        ("fuel_level", "fuelLevel"),
        ("Speed", "speed"),
        ("rpm", None),
        ("x" * 10_000, None),
    ],
)
def test_meant_knows_spellings_and_synonyms(sent: str, name: str | None) -> None:
    assert NAMES.meant(sent) == name


def test_meant_follows_the_fleets_own_names() -> None:
    names = SentNames(["vehicleId", "timestamp", "lat", "coolant", "temp"])
    assert names.meant("latitude") == "lat"
    assert names.meant("Coolant") == "coolant"
    assert names.meant("engine_temp") is None, "it could be either of two"


def test_misnamed_tells_only_of_what_the_event_lacks() -> None:
    fields = {"vehicleId": "v", "id": 1, "latitude": None, "lat": 1.0, "lon": 2.0, "longitude": 2.0, "rpm": 3}
    assert NAMES.misnamed(fields) == {"lat": "latitude"}


def test_sent_for_finds_slips_but_no_other_words() -> None:
    assert NAMES.sent_for("vehicleId", {"vehicelId": 1, "vin": 2}) == "vin"
    assert NAMES.sent_for("vehicleId", {"speed": 1, "vehicelId": 1}) == "vehicelId"
    assert NAMES.sent_for("timestamp", {"tyrePressure": 1}) is None


def test_nested_names_the_path_to_the_first_object_that_has_all() -> None:
    fields = {"a": {"vehicleId": 1}, "b": {"c": {"device_id": 1, "ts": 2}}}
    assert NAMES.nested(frozenset({"vehicleId", "timestamp"}), fields) == "b.c"
    assert NAMES.nested(frozenset({"latitude"}), fields) is None


nested = st.recursive(
    st.none(), lambda children: st.dictionaries(st.text(max_size=3), children, max_size=4), max_leaves=40
)


@given(st.dictionaries(st.text(), nested))
def test_names_of_any_object_can_be_looked_at(fields: dict) -> None:
    assert NAMES.misnamed(fields).keys() <= fields.keys()
    NAMES.nested(frozenset({"vehicleId"}), fields)
    NAMES.sent_for("vehicleId", fields)
