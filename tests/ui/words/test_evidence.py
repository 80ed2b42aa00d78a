"""The figure that shows the cause of an alarm, in words."""

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[str], Any]


def evidence(run: Run, fields: str) -> str | None:
    words: str | None = run(f"""
        const {{ evidence }} = await load("words/evidence");
        const {{ readEvent }} = await load("state/records/scored_event");
        return evidence(readEvent(event({fields})));
    """)
    return words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("{anomalyType: 'overspeed', speed: 142.4, speedLimit: 60}", "142 km/h where 60 is allowed"),
        ("{anomalyType: 'overspeed', speed: 142.4}", "142 km/h"),
        ("{anomalyType: 'engine_overheat', temperature: 128}", "Engine at 128 °C"),
        ("{anomalyType: 'engine_overheat'}", None),
        ("{anomalyType: 'fuel_leak', fuelLevel: -5}", "Fuel at −5 %"),
        ("{anomalyType: 'never_heard_of'}", None),
        ("{anomalyType: 'constructor'}", None),
    ],
)
def test_evidence_names_the_figure(run: Run, fields: str, words: str | None) -> None:
    assert evidence(run, fields) == words


@pytest.mark.parametrize(
    ("cause", "fields", "words"),
    [
        (
            "engine_overheat",
            "temperature: 121.4, expected: {temperature_level: [84.2, 90.5, 97.1]}",
            "Engine at 121 °C; 84 to 97 °C was expected",
        ),
        (
            "battery_low",
            "battery: 12, expected: {battery_level: [79.84, 80.5, 81.2]}",
            "Battery at 12.0 %; 79.8 to 81.2 % was expected",
        ),
        (
            "overspeed",
            "speed: 142, speedLimit: 60, expected: {speed_over_limit_level: [0, 0, 0], speed_level: [31, 48, 66]}",
            "142 km/h where 60 is allowed; 31 to 66 km/h was expected",
        ),
        (
            "sensor_bias",
            "temperature: 61, speed: 50, expected: {speed_level: [40, 50, 60], temperature_level: [84, 90, 97]}",
            "Engine at 61 °C; 84 to 97 °C was expected",
        ),
        (
            "oil_pressure_low",
            "oil_pressure: 0.2, expected: {oil_pressure_slow: [-1, 0, 1], oil_pressure_level: [2.113, 2.25, 2.391]}",
            "Oil pressure at 0.2; 2.11 to 2.39 was expected",
        ),
        (
            "battery_low",
            "battery: 12, expected: {battery_level: [100, 100, 100]}",
            "Battery at 12 %; 100 % was expected",
        ),
    ],
)
def test_evidence_says_what_was_expected_in_its_place(run: Run, cause: str, fields: str, words: str) -> None:
    assert evidence(run, f"{{anomalyType: '{cause}', {fields}}}") == words


def test_evidence_does_not_say_what_was_expected_of_a_value_that_is_as_expected(run: Run) -> None:
    within = "temperature: 96, expected: {temperature_level: [84, 90, 97]}"
    assert evidence(run, f"{{anomalyType: 'engine_overheat', {within}}}") == "Engine at 96 °C"
    assert evidence(run, f"{{anomalyType: 'sensor_bias', {within}}}") is None


@pytest.mark.parametrize(
    "expected",
    [
        "null",
        "[]",
        "'x'",
        "7",
        "{temperature_level: 7}",
        "{temperature_level: [1]}",
        "{temperature_level: [null, 1, 'x']}",
    ],
)
def test_evidence_bears_junk(run: Run, expected: str) -> None:
    fields = f"{{anomalyType: 'engine_overheat', temperature: 128, expected: {expected}}}"
    assert evidence(run, fields) == "Engine at 128 °C"
