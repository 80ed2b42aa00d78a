"""Reading recordings by a mapping, and streaming them; small recordings of the tests' own, and the real ones."""

import gzip
import math
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import typer
from confluent_kafka.admin import NewTopic
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from commands.replay import replay as replay_command
from fleet.errors import MappingError
from fleet.kafka import Consumer, TopicPartition, admin_client, bootstrap_servers
from simulator.local_kafka import LocalKafka
from simulator.replay import Recording, ReplayPlan, read_recording, replay, schedule, start_without_future_s
from simulator.replay_mapping import own_mappings, read_mapping
from simulator.sender import Sender

MAPPING = """
vehicle_columns = ["car"]
vehicle_prefix = "test-"
[time]
column = "t"
kind = "relative_s"
[fields]
speed = { column = "mph", unit = "mph" }
temperature = { column = "oil_f", unit = "°F" }
fuelLevel = { column = "tank", unit = "fraction" }
night = { column = "lights", values = { on = true, off = false } }
[extra]
columns = ["rpm", "note"]
"""
RECORDING = """\
car,t,mph,oil_f,tank,lights,rpm,note
1.0,5,0,212,0.5,on,900,
1.0,6,10,,0.25,off,,cold
b,100,100,32,,,1500.5,
b,101,fast,32,,dusk,,
,7,1,1,1,on,1,
b,,1,1,1,on,1,
b,102,,,,,800,
b,103,1
b,104,nan,50,1,on,1,
"""


@pytest.fixture
def mapping_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(MAPPING, encoding="utf-8")
    return path


@pytest.fixture
def recording_file(tmp_path: Path) -> Path:
    path = tmp_path / "a recording.csv.gz"
    path.write_bytes(gzip.compress(RECORDING.encode()))
    return path


@pytest.fixture
def topic(kafka: LocalKafka, request: pytest.FixtureRequest) -> str:
    name: str = request.node.name
    admin = admin_client()
    for future in admin.create_topics([NewTopic(name, 1, 1)]).values():
        future.result(20)
    return name


def _read(topic: str, count: int) -> list[dict[str, Any]]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers(), "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    events: list[dict[str, Any]] = []
    deadline = time.monotonic() + 30
    while len(events) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(events), 0.2):
            assert message.error() is None
            event = msgspec.json.decode(message.value())
            assert message.key().decode() == event["vehicleId"]
            events.append(event)
    consumer.close()
    return events


class TestReading:
    def test_recording_is_read_with_units_converted_and_reasons_counted(
        self, mapping_file: Path, recording_file: Path
    ) -> None:
        recording = read_recording(recording_file, read_mapping(str(mapping_file)))
        assert recording.rows_read == 9
        assert recording.vehicle_ids == ["test-1", "test-b"]
        assert recording.time_s.tolist() == [5, 6, 100, 101, 104]
        assert recording.skipped == {
            "no vehicle": 1,
            "no time": 1,
            "no signal": 1,
            "another number of cells than the header": 1,
        }
        assert recording.left_out == {"mph": 2, "lights": 1}
        speeds = [0.0, 16.09344, 160.9344, math.nan, math.nan]
        assert recording.numbers["speed"].tolist() == pytest.approx(speeds, nan_ok=True)
        assert recording.numbers["temperature"].tolist() == pytest.approx([100, math.nan, 0, 0, 10], nan_ok=True)
        assert recording.numbers["fuelLevel"].tolist() == pytest.approx(
            [50.0, 25.0, math.nan, math.nan, 100.0], nan_ok=True
        )
        assert recording.texts["night"] == [True, False, None, None, True]
        assert recording.texts["note"] == [None, "cold", None, None, None]

    def test_recording_can_be_limited_in_vehicles_and_labelled(self, mapping_file: Path, recording_file: Path) -> None:
        recording = read_recording(recording_file, read_mapping(str(mapping_file)), 1, "again")
        assert recording.vehicle_ids == ["test-1-again"]
        assert recording.skipped["beyond the limit of vehicles"] == 3

    def test_recording_without_a_mapped_column_is_refused_by_name(self, mapping_file: Path, tmp_path: Path) -> None:
        (tmp_path / "other.csv").write_text("car,t,kmh\n1,2,3\n")
        with pytest.raises(MappingError, match=r"no column 'mph'.*its columns are car, t, kmh"):
            read_recording(tmp_path / "other.csv", read_mapping(str(mapping_file)))

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b broken", b"car,t\n\xff\xfe,1\n"])
    def test_recording_that_is_no_csv_is_refused(self, mapping_file: Path, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / ("broken.csv.gz" if content.startswith(b"\x1f") else "broken.csv")
        path.write_bytes(content)
        with pytest.raises(MappingError, match=r"broken\.csv"):
            read_recording(path, read_mapping(str(mapping_file)))

    def test_recording_that_is_absent_is_refused(self, mapping_file: Path, tmp_path: Path) -> None:
        with pytest.raises(MappingError, match="cannot be read"):
            read_recording(tmp_path / "absent.csv", read_mapping(str(mapping_file)))


class TestMappings:
    @pytest.mark.parametrize(
        ("name", "spec"),
        [
            ("kit_obd", "vehicle_data"),
            ("kit_obd_channels", "kit_obd"),
            ("nds_blackbox", "vehicle_data"),
            ("nds_blackbox_channels", "nds_blackbox"),
        ],
    )
    def test_own_mappings_can_be_read_by_name(self, name: str, spec: str) -> None:
        assert name in own_mappings()
        mapping = read_mapping(name)
        assert mapping.description
        assert mapping.spec.name == spec
        if name.endswith("_channels"):
            assert set(mapping.fields) == set(mapping.spec.field_names)

    def test_mapping_brings_columns_into_its_specifications_units(self, mapping_file: Path) -> None:
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

    def test_mapping_that_is_absent_names_those_there_are(self) -> None:
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
    def test_mapping_says_what_is_wrong(self, mapping_file: Path, change: tuple[str, str], sentence: str) -> None:
        mapping_file.write_text(MAPPING.replace(*change), encoding="utf-8")
        with pytest.raises(MappingError) as refused:
            read_mapping(str(mapping_file))
        assert sentence in str(refused.value)


def _recording(rows: list[tuple[int, float]]) -> Recording:
    vehicles = sorted({vehicle for vehicle, _ in rows})
    return Recording(
        [f"v{vehicle}" for vehicle in vehicles],
        np.array([vehicles.index(vehicle) for vehicle, _ in rows], np.int64),
        np.array([time_s for _, time_s in rows]),
        {"speed": np.zeros(len(rows))},
        {},
        len(rows),
        Counter(),
        Counter(),
    )


class TestSchedule:
    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50).map(float)), min_size=1, max_size=40), st.booleans()
    )
    def test_schedule_keeps_every_row_and_each_recordings_own_spacing(
        self, rows: list[tuple[int, float]], in_sequence: bool
    ) -> None:
        recording = _recording(rows)
        order, since_s = schedule(recording, ReplayPlan(1.0, 0.0, in_sequence))
        assert sorted(order) == list(range(len(rows)))
        assert since_s[0] == 0
        assert (np.diff(since_s) >= 0).all()
        for vehicle in range(len(recording.vehicle_ids)):
            mine = recording.vehicle[order] == vehicle
            offset = since_s[mine] - recording.time_s[order][mine]
            assert offset == pytest.approx(np.full(len(offset), offset[0]))

    def test_schedule_side_by_side_begins_all_at_once(self) -> None:
        order, since_s = schedule(_recording([(0, 10), (0, 11), (1, 500), (1, 501)]), ReplayPlan(1.0, 0.0))
        assert order.tolist() == [0, 2, 1, 3]
        assert since_s.tolist() == [0, 0, 1, 1]

    def test_schedule_in_sequence_begins_each_after_the_one_before(self) -> None:
        order, since_s = schedule(_recording([(0, 10), (0, 12), (1, 500), (1, 501)]), ReplayPlan(1.0, 0.0, True))
        assert order.tolist() == [0, 1, 2, 3]
        assert since_s.tolist() == [0, 2, 3, 4]


class TestStart:
    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5000).map(float)), min_size=1, max_size=40),
        st.booleans(),
        st.one_of(st.floats(0.1, 1000), st.just(math.inf)),
    )
    def test_no_event_is_sent_before_it_happened(
        self, rows: list[tuple[int, float]], in_sequence: bool, speed_up: float
    ) -> None:
        recording, now_s = _recording(rows), 1_800_000_000.0
        plan = ReplayPlan(speed_up, None, in_sequence)
        _, since_s = schedule(recording, plan)
        starts_s = start_without_future_s(recording, plan, now_s)
        assert (starts_s + since_s <= now_s + since_s / speed_up + 1e-3).all()
        if speed_up >= 1:
            assert starts_s + since_s[-1] == pytest.approx(now_s + since_s[-1] / speed_up, abs=1e-3)
        else:
            assert starts_s == now_s


class TestStreaming:
    def test_replay_sends_what_is_known_and_leaves_out_what_is_not(
        self, topic: str, mapping_file: Path, recording_file: Path
    ) -> None:
        recording = read_recording(recording_file, read_mapping(str(mapping_file)))
        stop = threading.Event()
        with Sender(topic, "test", stop) as sender:
            assert replay(recording, ReplayPlan(math.inf, 1_000.0), sender, stop) == 5
        assert sender.progress().acknowledged == 5
        events = _read(topic, 5)
        by_vehicle = [event for event in events if event["vehicleId"] == "test-1"]
        assert by_vehicle == [
            {
                "vehicleId": "test-1",
                "timestamp": 1_000.0,
                "speed": 0.0,
                "temperature": pytest.approx(100.0),
                "fuelLevel": 50.0,
                "rpm": 900.0,
                "night": True,
            },
            {
                "vehicleId": "test-1",
                "timestamp": 1_001.0,
                "speed": pytest.approx(16.09344),
                "fuelLevel": 25.0,
                "night": False,
                "note": "cold",
            },
        ]
        assert [event["timestamp"] for event in events if event["vehicleId"] == "test-b"] == [1_000, 1_001, 1_004]

    def test_replay_keeps_recorded_times_when_asked_to(
        self, topic: str, mapping_file: Path, recording_file: Path
    ) -> None:
        recording = read_recording(recording_file, read_mapping(str(mapping_file)))
        with Sender(topic, "test", threading.Event()) as sender:
            replay(recording, ReplayPlan(math.inf, None), sender, threading.Event())
        assert sorted(event["timestamp"] for event in _read(topic, 5)) == [5, 6, 100, 101, 104]

    def test_replay_follows_the_pace_but_not_with_the_event_times(self, topic: str) -> None:
        recording = _recording([(0, float(second)) for second in range(11)])
        began_s = time.monotonic()
        with Sender(topic, "test", threading.Event()) as sender:
            replay(recording, ReplayPlan(20.0, 50.0), sender, threading.Event())
        assert time.monotonic() - began_s >= 10 / 20
        assert [event["timestamp"] for event in _read(topic, 11)] == [50.0 + second for second in range(11)]

    def test_replay_stops_when_asked_to(self, topic: str) -> None:
        stop = threading.Event()
        stop.set()
        with Sender(topic, "test", stop) as sender:
            assert replay(_recording([(0, 0.0), (0, 1e6)]), ReplayPlan(1.0, 0.0), sender, stop) == 0

    @pytest.mark.parametrize(
        ("data_set", "rows", "vehicles", "signals"),
        [
            ("kit_obd", 222_666, 77, {"speed", "temperature"}),
            ("nds_blackbox", 23_187, 28, {"speed", "latitude", "longitude"}),
        ],
    )
    def test_real_recordings_are_read_completely(
        self, project_folder: Path, data_set: str, rows: int, vehicles: int, signals: set[str]
    ) -> None:
        path = project_folder.parent / "shared" / "data" / data_set / f"{data_set}_1hz.csv.gz"
        if not path.exists():
            pytest.skip(f"the real recording {data_set} is not on this machine")
        mapping = read_mapping(data_set)
        recording = read_recording(path, mapping)
        assert (recording.rows_read, len(recording), len(recording.vehicle_ids)) == (rows, rows, vehicles)
        assert set(mapping.fields) == signals
        assert not recording.skipped
        assert not recording.left_out
        assert np.nanmax(recording.numbers["speed"]) < 250


class TestCommand:
    @pytest.fixture
    def command(self) -> typer.Typer:
        app = typer.Typer()
        app.command()(replay_command)
        return app

    def test_command_prints_what_was_read_sent_and_skipped(
        self, topic: str, mapping_file: Path, recording_file: Path, command: typer.Typer
    ) -> None:
        options = ["--mapping", str(mapping_file), "--speed-up", "max", "--topic", topic]
        result = CliRunner().invoke(command, [str(recording_file), *options])
        assert result.exit_code == 0, result.output
        assert "Read: 9 rows, 5 events" in result.output
        assert "1 rows skipped (no signal)" in result.output
        assert "2 cells of mph left out" in result.output
        assert "Sent: 5 acknowledged, 0 failed" in result.output
        events = _read(topic, 5)
        assert len(events) == 5
        assert max(event["timestamp"] for event in events) <= time.time()

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (["--speed-up", "0"], "--speed-up is '0'"),
            (["--speed-up", "quick"], "--speed-up is 'quick'"),
            (["--start", "recorded"], "use --start now"),
        ],
    )
    def test_command_refuses_options_that_make_no_sense(
        self, mapping_file: Path, recording_file: Path, command: typer.Typer, options: list[str], sentence: str
    ) -> None:
        result = CliRunner().invoke(command, [str(recording_file), "--mapping", str(mapping_file), *options])
        assert isinstance(result.exception, MappingError)
        assert sentence in str(result.exception)
