"""How columns become fields: the project's own mappings, and what is wrong with others."""

from pathlib import Path

import pytest

from fleet.errors import MappingError
from simulator.replay.mapping import own_mappings, read_mapping
from simulator.replay.recording import read_recording
from tests.simulator.replay.conftest import MAPPING


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("kit_obd", "vehicle_data"),
        ("kit_obd_channels", "kit_obd"),
        ("nds_blackbox", "vehicle_data"),
        ("nds_blackbox_channels", "nds_blackbox"),
    ],
)
def test_own_mappings_can_be_read_by_name(name: str, spec: str) -> None:
    assert name in own_mappings()
    mapping = read_mapping(name)
    assert mapping.description
    assert mapping.spec.name == spec
    if name.endswith("_channels"):
        assert set(mapping.fields) == set(mapping.spec.field_names)


def test_mapping_brings_columns_into_its_specifications_units(mapping_file: Path) -> None:
    (mapping_file.parent / "truck.toml").write_text(
        'name = "truck"\n[[channels]]\nname = "v"\nunit = "m/s"\n[[channels]]\nname = "oil"\nunit = "K"\n'
        '[[channels]]\nname = "gear"\nunit = "number"\nrole = "context"\n'
        '[[channels]]\nname = "state"\nrole = "context"\ncodes = { idle = 0, work = 1 }\n'
    )
    mapping_file.write_text(
        'spec = "truck.toml"\nvehicle_columns = ["car"]\n[time]\ncolumn = "t"\nkind = "relative_s"\n[fields]\n'
        'v = { column = "a", unit = "km/h" }\noil = { column = "b", unit = "°F" }\n'
        'gear = { column = "c", unit = "number" }\nstate = { column = "d", values = { on = "work" } }\n'
    )
    (mapping_file.parent / "truck.csv").write_text("car,t,a,b,c,d\n1,0,36,212,3,on\n")
    recording = read_recording(mapping_file.parent / "truck.csv", read_mapping(str(mapping_file)))
    values = {name: column.tolist() for name, column in recording.numbers.items()}
    assert values == {"v": [pytest.approx(10)], "oil": [pytest.approx(373.15)], "gear": [3]}
    assert recording.texts["state"] == ["work"]


def test_mapping_that_is_absent_names_those_there_are() -> None:
    with pytest.raises(MappingError, match="kit_obd, kit_obd_channels, nds_blackbox"):
        read_mapping("no_such")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('unit = "mph"', 'unit = "furlongs"'), "fields.speed.unit must be one of km/h, mph, m/s, knots"),
        (("speed =", "velocity ="), "fields.velocity is no field of vehicle_data"),
        (('"rpm"', '"severity"'), "extra column severity has the name of a field of the contract"),
        (('["car"]', "[]"), "vehicle_columns is empty"),
        (('"relative_s"', '"minutes"'), "time.kind"),
        (("[time]", "weekday = 1\n[time]"), "weekday"),
        (("on = true", 'on = "yes"'), "fields.night.values must translate"),
        (("on = true", "on = 1"), "own.toml"),
        (("vehicle_prefix", 'spec = "no_such"\nvehicle_prefix'), "no channel specification 'no_such'"),
        (("[extra]", "[extra"), "own.toml"),
    ],
)
def test_mapping_says_what_is_wrong(mapping_file: Path, change: tuple[str, str], sentence: str) -> None:
    mapping_file.write_text(MAPPING.replace(*change), encoding="utf-8")
    with pytest.raises(MappingError) as refused:
        read_mapping(str(mapping_file))
    assert sentence in str(refused.value)
