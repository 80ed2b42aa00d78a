"""Streaming recordings to a real broker."""

import math
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import NewTopic
from hypothesis import given
from hypothesis import strategies as st

from fleet.kafka import Consumer, TopicPartition, admin_client, bootstrap_servers
from simulator.local_kafka import LocalKafka
from simulator.replay.mapping import read_mapping
from simulator.replay.recording import Recording, read_recording
from simulator.replay.sending import ReplayPlan, first_events, replay, schedule, start_without_future_s
from simulator.sender import Sender


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

    def test_first_events_are_those_that_are_sent_first(self, topic: str) -> None:
        recording, plan = _recording([(0, 5.0), (1, 9.0), (0, 4.0), (1, 8.0)]), ReplayPlan(math.inf, 50.0)
        with Sender(topic, "test", threading.Event()) as sender:
            replay(recording, plan, sender, threading.Event())
        shown = [msgspec.json.decode(event) for event in first_events(recording, plan, 3)]
        assert shown == _read(topic, 4)[:3]

    def test_replay_stops_when_asked_to(self, topic: str) -> None:
        stop = threading.Event()
        stop.set()
        with Sender(topic, "test", stop) as sender:
            assert replay(_recording([(0, 0.0), (0, 1e6)]), ReplayPlan(1.0, 0.0), sender, stop) == 0
