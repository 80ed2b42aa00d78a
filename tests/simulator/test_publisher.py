"""Pacing, encoding and sending of simulated vehicles; the sending against the real broker."""

import math
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from commands.simulate import simulate
from fleet.events.telemetry import TelemetryDecoder
from fleet.kafka import Consumer, TopicPartition, admin_client
from simulator.city import City
from simulator.local_kafka import LocalKafka, free_port
from simulator.pacing import SteadyClock, due_slices, phases
from simulator.publisher import (
    FIELDS,
    FleetPlan,
    encode_rows,
    publish_in_one_process,
    publish_in_processes,
    wire_columns,
)
from simulator.sender import Progress, ProgressReport, Sender
from simulator.senders import HabitMix, Senders
from simulator.vehicles import SimulatedFleet

PARTITIONS = 3
ORIGIN = (
    "vehicleId,timestamp,latitude,longitude,speed,previousSpeed,acceleration,temperature,battery,fuelLevel,weather,"
    "roadType,speedLimit,night,trafficLevel,anomaly,anomalyType"
)


@pytest.fixture
def topic(kafka: LocalKafka, request: pytest.FixtureRequest) -> str:
    from confluent_kafka.admin import NewTopic

    name = request.node.name.replace("[", "-").replace("]", "")
    admin = admin_client()
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1)]).values():
        future.result(20)
    return name


def _read(topic: str, count: int) -> list[Any]:
    """Read `count` messages, and see that no more follow."""
    consumer = Consumer({"bootstrap.servers": _servers(), "group.id": "reader", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    messages, ended, deadline = [], set(), time.monotonic() + 30
    while len(ended) < PARTITIONS and time.monotonic() < deadline:
        for message in consumer.consume(1_000, 0.2):
            if message.error():
                ended.add(message.partition())
            else:
                messages.append(message)
    consumer.close()
    assert len(messages) == count
    return messages


def _servers() -> str:
    from fleet.kafka import bootstrap_servers

    return bootstrap_servers()


def _nothing(_: object) -> None:
    """Take a report that the test does not need."""


class TestEncoding:
    def test_message_is_the_origin_systems_field_by_field_in_its_order(self) -> None:
        state = SimulatedFleet(7, 0, 50, City.generate(), start_s=1_764_533_865.0).step(1.0)
        state["latitude"][3] = state["speed"][4] = np.nan
        columns = [list(state[name]) if isinstance(state[name], list) else state[name].tolist() for name in FIELDS]  # type: ignore[literal-required]
        values = encode_rows(columns)
        fields = msgspec.json.decode(values[0])
        assert ",".join(fields) == ORIGIN
        assert b": " not in values[0]
        for name, column in zip(FIELDS, columns, strict=True):
            known = [None if value != value else value for value in column]  # NaN is null on the wire
            assert [msgspec.json.decode(value)[name] for value in values] == known

    def test_message_is_read_as_telemetry(self) -> None:
        state = SimulatedFleet(7, 0, 1, City.generate(), start_s=1_764_533_865.0).step(1.0)
        columns = [list(state[name]) if isinstance(state[name], list) else state[name].tolist() for name in FIELDS]  # type: ignore[literal-required]
        block, rejects = TelemetryDecoder().decode_block(encode_rows(columns), 4_096)
        assert rejects == []
        assert block.vehicle_ids == ["V000000"]
        assert block.timestamp_s.tolist() == state["timestamp"].tolist()
        assert state["speed"][0] in block.signals[0]

    def test_senders_that_omit_keys_write_no_null_and_the_others_do(self) -> None:
        vehicles = SimulatedFleet(7, 0, 60, City.generate(), start_s=1_764_533_865.0)
        state = vehicles.step(1.0)
        state["speed"][:] = np.nan
        due_s = np.full(60, vehicles.time_s)
        for mix, omits in ((HabitMix.only("missing_keys"), True), (HabitMix.none(), False)):
            senders = Senders(7, 0, 60, mix)
            reports = senders.take(state, due_s, vehicles.time_s)
            values = encode_rows(wire_columns(reports, vehicles.vehicle_ids, senders.omits_keys))
            assert all((b'"speed":null' in value) is not omits for value in values)
            shapes = {",".join(msgspec.json.decode(value)) for value in values}
            assert (ORIGIN in shapes) is not omits
            assert len(shapes) == (8 if omits else 1)
            block, rejects = TelemetryDecoder().decode_block(values, 4_096)
            assert len(block.vehicle_ids) + len(rejects) == len(reports.vehicle)


class TestPhases:
    @given(st.integers(0, 1_000_000), st.integers(1, 500))
    def test_phases_depend_on_the_vehicle_alone(self, first: int, count: int) -> None:
        assert np.array_equal(phases(first, count), phases(first, count + 7)[:count])
        assert np.array_equal(phases(first, count)[-1:], phases(first + count - 1, 1))

    @pytest.mark.parametrize("first", [0, 1_000_000])
    def test_phases_spread_evenly(self, first: int) -> None:
        counts, _ = np.histogram(phases(first, 1_000), bins=20, range=(0, 1))
        assert counts.min() >= 45
        assert counts.max() <= 55

    @given(st.integers(1, 5_000), st.integers(1, 64), st.integers(0, 1_000))
    def test_plan_split_covers_every_vehicle_once(self, vehicles: int, parts: int, first: int) -> None:
        plans = FleetPlan(vehicles, "t", first).split(parts)
        covered = [index for plan in plans for index in range(plan.first, plan.first + plan.vehicles)]
        assert covered == list(range(first, first + vehicles))


class _SimulatedTime:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now_s, self.is_stopped = 100.0, False

    def is_set(self) -> bool:
        return self.is_stopped

    def wait(self, timeout_s: float, /) -> bool:
        self.now_s += timeout_s
        return self.is_stopped


class TestPacing:
    @given(st.lists(st.floats(100, 110), max_size=60))
    def test_due_slices_send_every_row_once_in_order_and_never_early(self, due: list[float]) -> None:
        due_s, clock = np.array(sorted(due)), _SimulatedTime()
        sent: list[int] = []
        for rows in due_slices(due_s, lambda: clock.now_s, clock):
            assert (due_s[rows] <= clock.now_s).all()
            assert (clock.now_s - due_s[rows] <= 0.0051).all()
            sent += range(rows.start, rows.stop)
        assert sent == list(range(len(due)))

    def test_due_slices_are_bounded_and_stop_when_asked(self) -> None:
        clock = _SimulatedTime()
        slices = due_slices(np.full(2_500, -math.inf), lambda: clock.now_s, clock)
        assert next(slices) == slice(0, 1_000)
        clock.is_stopped = True
        assert list(slices) == []

    def test_steady_clock_ignores_a_clock_set_back_and_follows_one_set_forward(self) -> None:
        wall, monotonic = [1_000.0], [5.0]
        clock = SteadyClock(lambda: wall[0], lambda: monotonic[0])
        wall[0], monotonic[0] = 400.0, 6.0
        assert clock.now_s() == 1_001.0
        wall[0], monotonic[0] = 9_000.0, 7.0
        assert clock.now_s() == 9_000.0


class TestPublishing:
    def test_publisher_sends_each_vehicle_at_its_moment_and_in_order(self, topic: str) -> None:
        began_s = time.time()
        plan = FleetPlan(vehicles=40, topic=topic, first=60, rate_hz=10, duration_s=1.0)
        final = publish_in_one_process(plan, threading.Event(), _nothing)
        assert final == Progress(400 - final.lost, 400 - final.lost, lost=final.lost)
        assert final.lost <= 5
        messages = _read(topic, final.acknowledged)
        assert time.time() - began_s >= 1.0
        by_vehicle: dict[str, list[float]] = {}
        for message in messages:
            event = msgspec.json.decode(message.value())
            assert message.key().decode() == event["vehicleId"]
            by_vehicle.setdefault(event["vehicleId"], []).append(event["timestamp"])
            lag_ms = message.timestamp()[1] - event["timestamp"] * 1000
            assert -2 <= lag_ms < 5_000  # sent when it happened (a busy machine may be late, never early)
        assert sorted(by_vehicle) == [f"V{index:06d}" for index in range(60, 100)]
        for stamps in by_vehicle.values():
            periods = np.diff(stamps) / 0.1  # 1, or more where a message was lost
            assert periods == pytest.approx(np.round(periods), abs=1e-5)
            assert periods.min() > 0.9
        share = np.array([stamps[0] for stamps in by_vehicle.values()])
        assert np.ptp(share) > 0.09  # all over the period of 0.1 s, not in one burst

    def test_publisher_processes_share_one_fleet(self, topic: str) -> None:
        plan = FleetPlan(vehicles=31, topic=topic, rate_hz=5, duration_s=1.0, is_paced=False)
        final = publish_in_processes(plan.split(2), threading.Event(), _nothing)
        assert final == Progress(155 - final.lost, 155 - final.lost, lost=final.lost)
        counts = Counter(message.key().decode() for message in _read(topic, final.acknowledged))
        assert set(counts) == {f"V{index:06d}" for index in range(31)}
        assert max(counts.values()) == 5

    def test_publisher_without_pace_sends_the_past_that_ends_now(self, topic: str) -> None:
        plan = FleetPlan(vehicles=10, topic=topic, duration_s=600.0, is_paced=False, fault_rate=0.0)
        began_s = time.time()
        final = publish_in_one_process(plan, threading.Event(), _nothing)
        events = [msgspec.json.decode(message.value()) for message in _read(topic, final.acknowledged)]
        assert final.acknowledged + final.lost == 6_000
        assert final.lost > 0
        stamps = [event["timestamp"] for event in events]
        assert max(stamps) <= time.time()
        assert min(stamps) == pytest.approx(began_s - 600.0, abs=5.0)
        assert max(stamps) == pytest.approx(began_s, abs=5.0)

    def test_publisher_without_losses_sends_every_event(self, topic: str) -> None:
        plan = FleetPlan(20, topic, duration_s=300.0, is_paced=False, is_lossless=True)
        final = publish_in_one_process(plan, threading.Event(), _nothing)
        assert final == Progress(6_000, 6_000)

    def test_publisher_sends_faults_as_they_are(self, topic: str) -> None:
        faults = ("clock_skew", "drop_out", "message_loss")
        plan = FleetPlan(20, topic, duration_s=900.0, is_paced=False, fault_rate=0.2, faults=faults)
        final = publish_in_one_process(plan, threading.Event(), _nothing)
        events = [msgspec.json.decode(message.value()) for message in _read(topic, final.acknowledged)]
        assert final.acknowledged + final.lost == 18_000
        assert final.lost > 200
        by_type: dict[str | None, list[dict[str, Any]]] = {}
        for event in events:
            by_type.setdefault(event["anomalyType"], []).append(event)
        assert set(by_type) == {None, *faults}
        phase = {event["vehicleId"]: event["timestamp"] % 1 for event in by_type[None]}
        late = [(event["timestamp"] - phase[event["vehicleId"]]) % 1 for event in by_type["clock_skew"]]
        assert any(0.01 < share < 0.99 for share in late)  # off the vehicle's own moment of the second
        signals = ("speed", "temperature", "battery", "fuelLevel")
        assert all(any(event[name] is None for name in signals) for event in by_type["drop_out"])
        levels = {event["trafficLevel"] for event in events}
        assert levels <= {None, 1, 2, 3, 4, 5}
        assert not any(isinstance(level, float) for level in levels)

    def test_publisher_sends_what_arrives_and_counts_what_is_on_its_way_at_the_end(self, topic: str) -> None:
        plan = FleetPlan(20, topic, duration_s=900.0, is_paced=False, habits=HabitMix.only("batched"))
        final = publish_in_one_process(plan, threading.Event(), _nothing)
        events = [msgspec.json.decode(message.value()) for message in _read(topic, final.acknowledged)]
        assert final.acknowledged + final.lost == 18_000
        assert final.lost > 200
        by_vehicle: dict[str, list[float]] = {}
        for event in events:
            by_vehicle.setdefault(event["vehicleId"], []).append(event["timestamp"])
        assert len(by_vehicle) == 20

    def test_publisher_sends_records_without_a_key_where_that_is_the_habit(self, topic: str) -> None:
        plan = FleetPlan(20, topic, duration_s=10.0, is_paced=False, habits=HabitMix.only("keyless"))
        final = publish_in_one_process(plan, threading.Event(), _nothing)
        messages = _read(topic, final.acknowledged)
        assert {message.key() for message in messages} == {None}
        assert len({msgspec.json.decode(message.value())["vehicleId"] for message in messages}) == 20

    def test_publisher_refuses_and_counts_what_kafka_does_not_take(self, topic: str) -> None:
        stop = threading.Event()
        with Sender(topic, "test", stop, **{"message.max.bytes": 2_000}) as sender:
            sender.send(["a", "b"], [b"x" * 10_000, b"{}"])
        progress = sender.progress()
        assert (progress.acknowledged, progress.failed, progress.waiting) == (1, 1, 0)
        assert "size" in progress.last_failure.lower()

    def test_sender_counts_a_delivery_that_failed(self, kafka: LocalKafka) -> None:
        quickly = {"topic.metadata.propagation.max.ms": 200}
        with Sender("no-such-topic", "test", threading.Event(), **quickly) as sender:
            sender.send(["a"], [b"{}"])
        progress = sender.progress()
        assert (progress.handed_over, progress.acknowledged, progress.failed) == (1, 0, 1)
        assert progress.last_failure

    def test_sender_waits_while_its_queue_is_full_and_gives_up_when_stopped(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")  # nobody listens
        stop, beats = threading.Event(), []

        def heartbeat(_: Sender) -> None:
            beats.append(1)
            if len(beats) == 3:
                stop.set()

        sender = Sender("t", "test", stop, heartbeat, **{"queue.buffering.max.messages": 5})
        sender.send(["k"] * 9, [b"v"] * 9)
        assert sender.progress() == Progress(handed_over=5, waiting=5)

    def test_publisher_skips_what_fell_behind_instead_of_bursting(
        self, topic: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class JumpingClock(SteadyClock):
            """The machine sleeps for 100 s after a while."""

            looks = 0

            def now_s(self) -> float:
                self.looks += 1
                return super().now_s() + (100.0 if self.looks > 50 else 0.0)

        monkeypatch.setattr("simulator.publisher.SteadyClock", JumpingClock)
        plan = FleetPlan(vehicles=4, topic=topic, rate_hz=10, duration_s=101.0)
        final = publish_in_one_process(plan, threading.Event(), _nothing)
        assert final.skipped % 4 == 0
        assert final.skipped > 3_600
        assert final.skipped + final.lost + final.acknowledged == 4 * 10 * 101
        stamps = sorted(
            {msgspec.json.decode(message.value())["timestamp"] for message in _read(topic, final.acknowledged)}
        )
        assert max(np.diff(stamps)) > 90


class TestProgressReport:
    def _report(self) -> tuple[Callable[[float, Progress], None], list[str]]:
        said: list[str] = []
        now = [0.0]
        report = ProgressReport(said.append, "host:9092", 5.0, lambda: now[0])

        def update(at_s: float, progress: Progress) -> None:
            now[0] = at_s
            report.update(progress)

        return update, said

    def test_report_says_a_line_every_few_seconds(self) -> None:
        update, said = self._report()
        for second in range(1, 11):
            update(float(second), Progress(second * 1_000, second * 1_000))
        assert said == [
            "1,000 events/s; 5,000 acknowledged, 0 failed",
            "1,000 events/s; 10,000 acknowledged, 0 failed",
        ]

    def test_report_says_once_that_kafka_is_away_and_once_that_it_is_back(self) -> None:
        update, said = self._report()
        update(5.0, Progress(100, 0, 0, 100))
        update(10.0, Progress(200, 0, 0, 200))
        update(15.0, Progress(300, 300))
        assert [line for line in said if line.startswith("Kafka")] == [
            "Kafka at host:9092 acknowledges nothing; 100 events wait and sending goes on",
            "Kafka at host:9092 acknowledges again",
        ]

    def test_report_names_failures_and_what_was_skipped(self) -> None:
        update, said = self._report()
        update(5.0, Progress(10, 5, 5, 0, 7, "too large"))
        assert "5 failed (the last: too large)" in said[0]
        assert "7 skipped" in said[0]
        update(10.0, Progress(20, 20, lost=3))
        assert "3 lost" in said[1]


@pytest.mark.parametrize("processes", [1, 2])
def test_simulate_command_ends_cleanly_on_a_signal(topic: str, processes: int, project_folder: Path) -> None:
    program = "import typer; from commands.simulate import simulate; typer.run(simulate)"
    options = ["--vehicles", "20", "--rate-hz", "20", "--topic", topic, "--processes", str(processes)]
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, *options], stdout=subprocess.PIPE, text=True, cwd=project_folder
    ) as process:
        try:
            assert process.stdout is not None
            assert "20 vehicles at 20 Hz" in process.stdout.readline()
            _wait_for_first_event(topic)
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGTERM if processes == 1 else signal.SIGINT)
            output = process.stdout.read()
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert "Ended: " in output
    assert "0 failed" in output
    _, left_behind = psutil.wait_procs(children, timeout=10)  # multiprocessing's own helper goes a moment later
    assert not left_behind


def test_simulate_command_names_an_unknown_fault() -> None:
    result = CliRunner().invoke(_app(), ["--faults", "overspeed, gremlins"])
    assert result.exit_code == 2
    assert "gremlins is no type of fault" in " ".join(result.output.replace("│", " ").split())


def test_simulate_command_names_an_unknown_habit() -> None:
    result = CliRunner().invoke(_app(), ["--habit", "procrastination"])
    assert result.exit_code == 2
    assert "procrastination is no habit; choose from" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "mix"),
    [
        ([], HabitMix()),
        (["--no-habits"], HabitMix.none()),
        (["--habit", "every_10_s"], HabitMix.only("every_10_s")),
    ],
)
def test_simulate_command_gives_the_senders_habits(
    options: list[str], mix: HabitMix, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[FleetPlan] = []

    def note(plan: FleetPlan, *_: object) -> Progress:
        plans.append(plan)
        return Progress()

    monkeypatch.setattr("commands.simulate.publish_in_one_process", note)
    assert CliRunner().invoke(_app(), options).exit_code == 0
    assert [plan.habits for plan in plans] == [mix]


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(simulate)
    return app


def _wait_for_first_event(topic: str) -> None:
    consumer = Consumer({"bootstrap.servers": _servers(), "group.id": "reader"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    [message] = consumer.consume(1, 30)
    assert message.error() is None
    consumer.close()
