import pytest

from recordings.column_names import LongForm, long_form, parsed, time_column, vehicle_column


@pytest.mark.parametrize(
    ("name", "words", "unit"),
    [
        ("speed", "speed", None),
        ("speed_kmh", "speed", "km/h"),
        ("Speed (OBD)(km/h)", "speed", "km/h"),
        ("Speed (OBD)", "speed", None),
        ("GPS Speed (Meters/second)", "gps speed", "m/s"),
        (" Engine Coolant Temperature(°C)", "engine coolant temperature", "°C"),
        ("Fuel Level (From Engine ECU)(%)", "fuel level", "%"),
        ("fuelLevel", "fuel level", None),
        ("engine_temp_c", "engine temp", "°C"),
        ("speed km/h", "speed", "km/h"),
        ("Speed [furlongs]", "speed", "furlongs"),
        ("t_ms", "t", "ms"),
        ("c", "c", None),
        ("", "", None),
    ],
)
def test_a_name_is_its_words_and_its_unit(name, words, unit):
    assert parsed(name) == (words, unit)


def test_time_and_vehicle_are_found_by_their_names():
    assert time_column(["GPS Time", "Device Time", "Longitude"]) == "GPS Time"
    assert time_column(["t", "recorded_at", "x"]) == "recorded_at"
    assert time_column(["uptime", "x"]) is None
    assert vehicle_column(["row", "vehicleId", "trip"]) == "vehicleId"
    assert vehicle_column(["id", "speed"]) is None


@pytest.mark.parametrize(
    ("header", "told", "form"),
    [
        (["SECONDS", "PID", "VALUE", "UNITS"], {}, LongForm("SECONDS", (), "PID", "VALUE", "UNITS")),
        (["device", "time", "signal", "value"], {}, LongForm("time", ("device",), "signal", "value")),
        (["at", "who", "pid", "value"], {"time": "at", "vehicles": ["who"]}, LongForm("at", ("who",), "pid", "value")),
        (["time", "signal", "value", "speed"], {}, None),
        (["time", "value"], {}, None),
        (["time", "sensor", "value"], {"vehicles": ["sensor"]}, None),
        (["time", "sensor", "value"], {"others": ["value"]}, None),
        (["signal", "value"], {}, None),
    ],
)  # fmt: skip
def test_the_long_form_is_told_by_all_names_together(header, told, form):
    assert long_form(header, told.get("time"), told.get("vehicles", ()), told.get("others", ())) == form
