"""Specifications of one's own: what is refused and how it is said, odd names, and a whole detector on two channels."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import read_bundle
from fleet.errors import ChannelSpecError
from fleet.events.channels import VEHICLE_DATA, Channel, ChannelSpec, checked, own_specs, plain_spec, read_spec
from fleet.events.fields import VERDICT_FIELDS
from fleet.events.telemetry import TelemetryDecoder
from tests.small_detector import LoadedDetector

TRUCKS = """
name = "trucks"
gap_s = 60

[[channels]]
name = "oil pressure"
unit = "bar"
range = [0, 8]
group = "oil"
cause = "oil_pressure_low"
causes = { frozen = "gauge_stuck" }
features = ["level", "frozen"]
safety = true

[[channels]]
name = "gear"
role = "context"
codes = { low = 0, high = 1 }
"""


def written(folder: Path, text: str) -> str:
    path = folder / "trucks.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_specification_is_read_from_a_file(tmp_path):
    spec = read_spec(written(tmp_path, TRUCKS))
    oil, gear = spec.channels
    assert (spec.name, spec.gap_s, spec.timing) == ("trucks", 60.0, True)
    assert (oil.unit, oil.range, oil.safety, oil.group_name) == ("bar", (0.0, 8.0), True, "oil")
    assert [oil.cause_of(kind) for kind in ("level", "frozen", "lost")] == [
        "oil_pressure_low", "gauge_stuck", "drop_out",
    ]  # fmt: skip
    assert gear.codes == {"low": 0, "high": 1}
    assert spec.judged_fields == ("oil pressure",)
    assert spec.field("gear") is gear
    with pytest.raises(KeyError):
        spec.field("oil")


def test_the_projects_own_specifications_can_be_named():
    assert "vehicle_data" in own_specs()
    for name in own_specs():
        assert FeaturePlan.of(read_spec(name)).groups
    assert read_spec("vehicle_data") == VEHICLE_DATA


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('name = "gear"', 'name = "oil pressure"'), "channel oil pressure stands in it twice"),
        (('name = "gear"', 'name = "timestamp"'), "channel timestamp: the name is empty or taken"),
        (('name = "gear"', 'name = "severity"'), "channel severity: the name is empty or taken"),
        (('name = "gear"', "name = 'ge\"ar'"), 'channel ge"ar: quotes, backslashes'),
        (('name = "gear"', 'name = "ge\\nar"'), "channel ge\\nar: quotes, backslashes"),
        (('name = "gear"', 'name = ""'), r"channel \(without a name\): the name is empty or taken"),
        (("range = [0, 8]", "range = [8, 0]"), r"channel oil pressure: \[8.0, 0.0\] is no interval"),
        (("range = [0, 8]", "limits = [1, 1]"), "channel oil pressure: .* is no interval"),
        (('role = "context"', 'role = "judged"'), "channel gear: words and flags cannot be judged"),
        (('features = ["level", "frozen"]', "features = []"), "no channel is judged"),
        (("gap_s = 60", "gap_s = 0"), "gap_s is 0; give seconds above 0"),
        (("gap_s = 60", "gap_s = nan"), "gap_s is nan"),
        (("gap_s = 60", "no_fix = { x = 0 }"), "no_fix names x, which is no number of the event"),
        (("gap_s = 60", "no_fix = { gear = 0 }"), "no_fix names gear, which is no number of the event"),
        (('features = ["level", "frozen"]', 'formula = "rate"'), "channel oil pressure: rate takes 1 fields in `of`"),
        (
            ('features = ["level", "frozen"]', 'formula = "rate"\nof = ["oil pressur"]'),
            "channel oil pressure: `of` names oil pressur, which is no field",
        ),
        (
            ('features = ["level", "frozen"]', 'formula = "travel_error"\nof = ["gear", "gear", "gear"]'),
            "channel oil pressure: the speed's unit must be one of km/h",
        ),
        (('unit = "bar"', "unit = 5"), r"Expected `str`, got `int` - at `\$.channels\[0\].unit`"),
        (('unit = "bar"', 'units = "bar"'), "unknown field `units`"),
        (('features = ["level", "frozen"]', 'features = ["lvl"]'), "Invalid enum value 'lvl'"),
        (('name = "trucks"', ""), "missing required field `name`"),
        (("gap_s = 60", "gap_s = "), "Invalid value"),
    ],
)
def test_a_mistake_is_a_sentence_that_names_the_file_and_the_channel(tmp_path, change, sentence):
    assert change[0] in TRUCKS
    path = written(tmp_path, TRUCKS.replace(*change))
    with pytest.raises(ChannelSpecError, match=rf"^Channel specification trucks\.toml: .*{sentence}.*\.$"):
        read_spec(path)


@pytest.mark.parametrize("name", ["vehicles_data", "nowhere.toml", "../channels", ""])
def test_a_specification_that_is_not_there_is_said_with_what_there_is(name):
    with pytest.raises(ChannelSpecError, match=r"There is no channel specification .*name one of .*vehicle_data"):
        read_spec(name)


def test_a_specification_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ChannelSpecError, match="There is no channel specification"):
        read_spec(str(path))


def test_no_channel_may_take_a_name_that_the_scored_record_adds():
    for name in sorted(VERDICT_FIELDS):
        with pytest.raises(ValueError, match=f"channel {name}: the name is empty or taken"):
            checked(ChannelSpec("s", (Channel(name),)))


ODD = ("engine oil.temp", "class", "1st", "__init__", "signal_0", "größe", "tenant-id", "Event")


def test_odd_field_names_are_decoded_each_into_its_column():
    spec = plain_spec("odd", ODD, 120.0, ["level"])
    sent = {name: float(number) for number, name in enumerate(ODD, 1)}
    values = [json.dumps({"vehicleId": "v", "timestamp": 1, **sent, **extra}).encode() for extra in ({}, {"more": [1]})]
    block, rejects = TelemetryDecoder(spec).decode_block(values, 10_000)
    assert rejects == []
    np.testing.assert_array_equal(block.signals, [list(sent.values())] * 2)
    assert [json.loads(body + b"}") for body in block.bodies] == [json.loads(value) for value in values]


def test_events_of_a_specification_need_one_of_its_numbers():
    decoder = TelemetryDecoder(plain_spec("two", ["rpm", "oil"], 120.0, ["level"]))
    values = [b'{"vehicleId":"v","timestamp":1,"oil":3}', b'{"vehicleId":"v","timestamp":1,"speed":50}']
    block, [reject] = decoder.decode_block(values, 10_000)
    assert block.index.tolist() == [0]
    assert math.isnan(block.signals[0, 0])
    assert (reject.index, reject.reason) == (1, "missing_field")
    assert "rpm, oil" in reject.detail


def test_limits_refuse_and_ranges_do_not():
    spec = ChannelSpec("s", (Channel("x", range=(0, 1)), Channel("y", limits=(-5.0, 5.0), features=())))
    values = [b'{"vehicleId":"v","timestamp":1,"x":99}', b'{"vehicleId":"v","timestamp":1,"y":6}']
    block, [reject] = TelemetryDecoder(checked(spec)).decode_block(values, 10_000)
    assert block.index.tolist() == [0]
    assert reject.reason == "impossible_position"
    assert reject.detail == "y is 6: send a number between -5 and 5."


@pytest.mark.slow
def test_a_detector_of_ones_own_signals_scores_them_and_names_the_channel(tmp_path):
    from fleet.detection.model.network import Network
    from fleet.detection.windows import VehicleWindows
    from training.fitting import FitSettings, fit_detector
    from training.train import write_detector

    spec = ChannelSpec(
        "boiler",
        (Channel("water.flow", features=("level", "frozen")), Channel("steam press", features=("level",))),
        timing=False,
    )
    plan = FeaturePlan.of(checked(spec))

    def rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        flow = rng.normal(20, 3, 500)
        signals = np.stack([flow, 2 * flow + rng.normal(0, 0.3, 500)], axis=1)
        trips = np.repeat(np.arange(5), 100)
        ids = [str(trip) for trip in trips]
        return VehicleWindows(plan).push(ids, np.arange(500.0), signals).features, trips

    settings = FitSettings(epochs=4, hidden_units=4, false_alarm_rate=0.002)
    fitted = fit_detector(plan, rows(1), rows(2), settings, lambda _line: None)
    write_detector(tmp_path, plan, fitted, settings, {})
    bundle = read_bundle(tmp_path)
    assert bundle.plan == plan
    detector = LoadedDetector(Network.load(bundle), bundle)

    def event(vehicle: str, second: int, flow: float, pressure: float) -> bytes:
        fields = {"water.flow": flow, "steam press": pressure}
        return json.dumps({"vehicleId": vehicle, "timestamp": 1e9 + second, **fields}).encode()

    ordinary = [event("v", second, 20 + second % 5, 40 + 2 * (second % 5) + 0.1) for second in range(10)]
    contradiction, absurd = event("v", 10, 20, 50), event("v", 11, 1e6, 42)
    verdicts = detector.verdicts([*ordinary, contradiction, absurd])
    assert not verdicts.is_anomaly[:10].any()
    assert verdicts.is_anomaly[10:].all(), "each value is ordinary, both together are not; and one that is not"
    assert verdicts.causes[10] in {"water.flow", "steam press"}
    assert verdicts.causes[11] == "water.flow"
    assert next(iter(verdicts.contributions[11])) == "water.flow_level"
