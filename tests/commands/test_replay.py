"""`fleet replay` as a user calls it; recordings in the dialects of widespread loggers, with values of our own."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner, Result

from commands.main import commands
from fleet.errors import FleetError
from fleet.kafka import Consumer, TopicPartition, admin_client, bootstrap_servers
from simulator.local_kafka import LocalKafka

MAPPING = """
vehicle_columns = ["car"]
[time]
column = "t"
kind = "relative_s"
[fields]
speed = { column = "mph", unit = "mph" }
"""
RECORDING = "car,t,mph\na,5,10\na,6,fast\nb,7,20\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.toml").write_text(MAPPING)
    path = tmp_path / "recording.csv"
    path.write_text(RECORDING)
    return path


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(commands, ["replay", *map(str, arguments)])


def shown(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.output.splitlines() if line.startswith("{")]


def test_replay_prints_what_was_read_sent_and_skipped(kafka: LocalKafka, file: Path) -> None:
    topic = "test-replay"
    admin = admin_client()
    [created] = admin.create_topics([NewTopic(topic, 1, 1)]).values()
    created.result(20)
    result = run(file, "--mapping", file.with_name("own.toml"), "--speed-up", "max", "--topic", topic)
    assert result.exit_code == 0, result.output
    assert "recording.csv: commas, UTF-8; 2 vehicles, 2 rows; mph in mph → speed" in result.output
    assert "Read: 3 rows, 2 events, 1 rows skipped (no signal)" in result.output
    assert "Sent: 2 acknowledged, 0 failed" in result.output
    events = sent(topic, 2)
    assert {event["vehicleId"]: event["speed"] for event in events} == {
        "a": pytest.approx(16.09344),
        "b": pytest.approx(32.18688),
    }
    assert max(event["timestamp"] for event in events) <= time.time()


def sent(topic: str, count: int) -> list[dict[str, Any]]:
    consumer = Consumer({"bootstrap.servers": bootstrap_servers(), "group.id": "reader"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [json.loads(message.value() or b"") for message in consumer.consume(count, 30)]
    finally:
        consumer.close()


def test_dry_run_shows_the_first_events_and_sends_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")  # nobody is there, and nobody is asked
    result = run(file, "--mapping", file.with_name("own.toml"), "--dry-run")
    assert result.exit_code == 0, result.output
    assert [(event["vehicleId"], event["speed"]) for event in shown(result)] == [
        ("a", pytest.approx(16.09344)),
        ("b", pytest.approx(32.18688)),
    ]
    assert "Nothing was sent: these are the first 2 of 2 events." in result.output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--speed-up", "0"], "--speed-up is '0'"),
        (["--speed-up", "quick"], "--speed-up is 'quick'"),
        (["--start", "recorded"], "use --start now"),
    ],
)
def test_replay_refuses_options_that_make_no_sense(file: Path, options: list[str], sentence: str) -> None:
    result = run(file, "--mapping", file.with_name("own.toml"), *options)
    assert isinstance(result.exception, FleetError)
    assert sentence in str(result.exception)


def test_replay_refuses_a_file_that_gives_no_event(file: Path) -> None:
    file.write_text("time,speed\nsoon,1\n")
    result = run(file)
    assert isinstance(result.exception, FleetError)
    assert "gives an event" in str(result.exception)


PHONE = """\
GPS Time, Device Time, Longitude, Latitude,GPS Speed (Meters/second), Engine Coolant Temperature(°C),Fuel Level (From Engine ECU)(%),Speed (OBD)(km/h)
Mon Nov 09 10:26:00 GMT+01:00 2026,09-Nov-2026 10:26:00.463,-60.5,-30.25,12.00,84.0,-,43
GPS Time, Device Time, Longitude, Latitude,GPS Speed (Meters/second), Engine Coolant Temperature(°C),Fuel Level (From Engine ECU)(%),Speed (OBD)(km/h)
Mon Nov 09 10:26:01 GMT+01:00 2026,09-Nov-2026 10:26:01.886,-60.25,-30.5,12.33,-,61.2,44
"""  # noqa: E501
SCANNER = """\
"SECONDS";"PID";"VALUE";"UNITS"
"30.100";"Vehicle speed";"40";"km/h"
"30.310";"Engine coolant temperature";"83";"℃"
"30.730";"Control module voltage";"13.9";"V"
"31.100";"Vehicle speed";"41";"km/h"
"""
MOMENT = 1_794_216_360
"""2026-11-09 10:26:00 in a zone an hour ahead."""


@pytest.mark.parametrize(
    ("content", "options", "events"),
    [
        (
            PHONE,
            [],
            [
                ("recording", MOMENT, {"longitude": -60.5, "latitude": -30.25, "temperature": 84.0, "speed": 43.0}),
                ("recording", MOMENT + 1, {"longitude": -60.25, "latitude": -30.5, "fuelLevel": 61.2, "speed": 44.0}),
            ],
        ),
        (
            "vehicle_id,recorded_at,speed_kph,fuel_pct,engine_temp_c\nTRK-1,2026-11-09T10:26:00+01:00,50,70,86\n",
            [],
            [("TRK-1", MOMENT, {"speed": 50.0, "fuelLevel": 70.0, "temperature": 86.0})],
        ),
        (
            "time,vehicle,speed,coolant\n1794216360026,van-1,30,85\n",
            [],
            [("van-1", MOMENT + 0.026, {"speed": 30.0, "temperature": 85.0})],
        ),
        (
            "time;vehicle;speed;lat\n1794216360;van-1;30,5;-31,410\n",
            [],
            [("van-1", MOMENT, {"speed": 30.5, "latitude": -31.41})],
        ),
        (
            'time,vehicle,speed,lat\n1794216360,van-1,"1,000.5","-31.41"\n',
            [],
            [("van-1", MOMENT, {"speed": 1000.5, "latitude": -31.41})],
        ),
        ("time,speed\n09/11/2026 09:26:00,30\n", ["--day-first"], [("recording", MOMENT, {"speed": 30.0})]),
        ("time,speed\n11/09/2026 09:26:00,30\n", ["--month-first"], [("recording", MOMENT, {"speed": 30.0})]),
    ],
)
def test_dialects_of_loggers_are_read_without_a_mapping(
    file: Path, content: str, options: list[str], events: list[tuple[str, float, dict[str, float]]]
) -> None:
    file.write_bytes(gzip.compress(content.encode()))
    result = run(file, "--dry-run", "--start", "recorded", *options)
    assert result.exit_code == 0, result.output
    wanted = [{"vehicleId": vehicle, "timestamp": time_s, **signals} for vehicle, time_s, signals in events]
    assert shown(result) == wanted


def test_long_form_is_read_without_a_mapping(file: Path) -> None:
    file.write_text(SCANNER)
    result = run(file, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "Vehicle speed in km/h → speed" in result.output
    assert "not mapped: Control module voltage" in result.output
    first, second = shown(result)
    assert (first["speed"], first["temperature"], second["speed"], second["temperature"]) == (40, 83, 41, 83)
    assert second["timestamp"] - first["timestamp"] == pytest.approx(0.37)


def test_dates_that_may_begin_with_day_or_month_are_refused(file: Path) -> None:
    file.write_text("time,speed\n09/11/2026 09:26:00,30\n")
    result = run(file, "--dry-run")
    assert isinstance(result.exception, FleetError)
    assert "--day-first or --month-first" in str(result.exception)
