"""A vehicle's fields in the details: by the served model's channels, or as the built-in events have them."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]

CHANNELS = """[
  {name: "coolant_c", label: "Coolant", unit: "°C", range: [-40, 125], role: "judged", safety: true},
  {name: "accel_x", label: "Accel x", unit: "g", range: [-1, 1], role: "judged", safety: false},
  {name: "doors", label: "Doors", unit: "", range: null, role: "context", safety: false},
]"""


def fields_of(run: Run, event: str, channels: str = CHANNELS) -> tuple[list[list[Any]], list[list[Any]]]:
    signals, others = run(f"""
        const {{ signals, others }} = await load("views/details/fields");
        const {{ readEvent }} = await load("state/records/scored_event");
        const {{ readChannels }} = await load("state/records/channels");
        const [reading, channels] = [readEvent({event}), readChannels({channels})];
        return [signals(reading, channels), others(reading, channels)];
    """)
    return signals, others


def test_fields_have_the_specifications_names_units_and_order_and_mark_what_is_implausible(run: Run) -> None:
    event = '{vehicleId: "V1", timestamp: 0, accel_x: -0.125, coolant_c: 140, doors: true, rpm: 900}'
    signals, others = fields_of(run, event)
    assert [row[0] for row in signals] == ["Event time", "Coolant", "Accel x", "Doors"]
    assert signals[1] == ["Coolant", "140.0 °C, outside −40 to 125", True]
    assert signals[2] == ["Accel x", "−0.125 g", False]
    assert signals[3] == ["Doors", "Yes"]
    assert others == [["rpm", "900"]]


def test_a_field_that_the_event_lacks_is_unknown(run: Run) -> None:
    signals, _ = fields_of(run, '{vehicleId: "V1", timestamp: 0, accel_x: null}')
    assert [row[1] for row in signals[1:]] == ["–", "–", "–"]


def test_without_channels_fields_are_those_of_the_built_in_events(run: Run) -> None:
    signals, others = fields_of(run, "event({temperature: 90, coolant_c: 140})", "null")
    named = {row[0]: row[1] for row in signals}
    assert named["Speed"] == "50.0 km/h"
    assert named["Engine"] == "90.0 °C"
    assert others == [["coolant_c", "140"]]


def test_latitude_and_longitude_are_one_position(run: Run) -> None:
    channels = (
        '[{name: "latitude", unit: "degrees"}, {name: "longitude", unit: "degrees"}, {name: "speed", unit: "mph"}]'
    )
    signals, others = fields_of(run, "event()", channels)
    assert [row[:2] for row in signals[1:]] == [["speed", "50.0 mph"], ["Position", "31.40000° S, 64.20000° W"]]
    assert others == []
