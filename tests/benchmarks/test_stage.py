"""What benchmarks stand on: topics, the loader, the open loop, and a quiet terminal."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from benchmarks import stage
from benchmarks.open_loop import OpenLoop, Sent, open_loop
from benchmarks.running_system import Shape
from benchmarks.silence import silent_stderr
from benchmarks.stage import BOOTSTRAP_VARIABLE, Stage
from benchmarks.workload import Loader, Segment, keep_given_times, make_topics, stamp_when_appended
from fleet.errors import KafkaUnavailableError, LocalServiceError
from fleet.kafka import OffsetRange, client_config, read_ranges
from fleet.settings import KafkaSettings
from simulator.local_kafka import LocalKafka

AT_MS = 1_780_000_000_000
SEGMENT = Segment(["v1", "v2", "v3"], [b"one", b"two", b"three"], [AT_MS, AT_MS + 1, AT_MS + 2])


def visible(topic: str, ends: dict[int, int]) -> list[tuple[bytes, int]]:
    runs = read_ranges(KafkaSettings(), topic, {p: OffsetRange(0, end) for p, end in ends.items()}, "test-stage")
    return [(message.value(), message.timestamp()[1]) for _, run in runs for message in run]


def committed_reader_sees(topic: str) -> bool:
    """Whether a read_committed reader is given anything within a moment."""
    config = {**client_config(), "group.id": topic, "isolation.level": "read_committed"}
    consumer = Consumer(config)
    consumer.assign([TopicPartition(topic, 0, 0)])
    deadline_s = time.monotonic() + 1.0
    messages: list[Any] = []
    while not messages and time.monotonic() < deadline_s:
        messages = consumer.consume(10, 0.1)
    consumer.close()
    return bool(messages)


def test_a_segment_is_visible_in_one_moment_and_keeps_its_times(kafka: LocalKafka) -> None:
    make_topics(["stage-segment"], 1)
    loader = Loader("stage-segment")
    assert loader.write(SEGMENT) == {0: OffsetRange(0, 3)}
    assert not committed_reader_sees("stage-segment")
    loader.commit()
    assert visible("stage-segment", {0: 3}) == list(zip(SEGMENT.values, SEGMENT.appended_at_ms, strict=True))
    assert loader.write(SEGMENT) == {0: OffsetRange(4, 7)}  # behind the first one's marker
    loader.commit()


def test_a_topic_stamps_and_keeps_times_as_it_is_told(kafka: LocalKafka) -> None:
    make_topics(["stage-times"], 1)
    loader = Loader("stage-times")

    def stamps() -> set[int]:
        [end] = [held.next for held in loader.write(SEGMENT).values()]
        loader.commit()
        return {at_ms for _, at_ms in visible("stage-times", {0: end})[-3:]}

    stamp_when_appended("stage-times")
    deadline_s = time.monotonic() + 30
    while stamps() & set(SEGMENT.appended_at_ms):
        assert time.monotonic() < deadline_s
    keep_given_times("stage-times")
    while stamps() != set(SEGMENT.appended_at_ms):
        assert time.monotonic() < deadline_s


def test_a_topic_that_is_there_or_is_not_there_is_named(kafka: LocalKafka) -> None:
    make_topics(["stage-twice"], 1)
    with pytest.raises(KafkaUnavailableError, match=r"Creating a topic: .*exists"):
        make_topics(["stage-twice"], 1)
    with pytest.raises(KafkaUnavailableError, match="Altering stage-nowhere"):
        stamp_when_appended("stage-nowhere")


# The open loop


def test_the_open_loop_sends_its_rate_and_says_how_late_it_was(kafka: LocalKafka) -> None:
    make_topics(["stage-loop"], 1)
    began_s = time.time()
    with open_loop("stage-loop", 100, 1.0, round_=0) as load:
        sent = load.finished(1.0)
    assert sent.acknowledged == 100
    assert sent.first_due_s >= began_s
    assert 0.0 <= sent.late_p99_ms < 60_000.0
    assert len(visible("stage-loop", {0: 100})) == 100
    assert not load.process.is_running()


class Pipe:
    """The other end of a generator: says something, nothing, or has gone."""

    def __init__(self, says: Any = None, is_there: bool = True) -> None:
        self._says, self._is_there = says, is_there

    def poll(self, _timeout_s: float) -> bool:
        return self._is_there

    def recv(self) -> Any:
        if self._says is None:
            raise EOFError
        return self._says


def test_a_generator_that_ended_without_a_word_or_says_nothing_is_an_error() -> None:
    process: Any = SimpleNamespace()
    pipes: list[Any] = [Pipe(), Pipe(Sent(1, 0.0, 0.0), is_there=False)]
    for pipe in pipes:
        with pytest.raises(LocalServiceError, match="The load generator did not end well"):
            OpenLoop(pipe, process).finished(0.0)
    told: Any = Pipe(Sent(7, 0.0, 0.0))
    assert OpenLoop(told, process).finished(0.0).acknowledged == 7


# The stage


class System:
    """In the place of a running system: notes when it is started and ended."""

    events: list[str]

    def __init__(self, _models: Path, shape: Shape, _say: object) -> None:
        self.shape = shape
        self.telemetry, self.scored = f"{shape.label}-telemetry", f"{shape.label}-scored"

    def __enter__(self) -> "System":
        self.events.append(f"start {self.shape.label}")
        return self

    def __exit__(self, *_: object) -> None:
        self.events.append(f"end {self.shape.label}")


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Any:
    System.events = []
    made: list[tuple[list[str], int]] = []
    monkeypatch.setattr(stage, "RunningSystem", System)
    monkeypatch.setattr(stage, "make_topics", lambda names, partitions: made.append((list(names), partitions)))
    on: Any = Stage(Path(), lambda _: None)
    on.made = made
    return on


def test_a_system_runs_on_until_another_shape_is_asked_for(standing: Any) -> None:
    one = standing.system(Shape())
    assert standing.system(Shape()) is one
    other = standing.system(Shape(label="other", partitions=24))
    assert other is not one
    assert System.events == ["start system", "end system", "start other"]
    assert standing.made == [
        (["system-scored", "system-telemetry"], 6),
        (["other-scored", "other-telemetry"], 24),
    ]


def test_topics_are_made_once_however_often_a_system_starts(standing: Any) -> None:
    for shape in (Shape(), Shape(label="other"), Shape()):
        standing.system(shape)
    assert len(standing.made) == 2


def test_the_environment_names_the_stages_kafka_and_then_what_it_named_before(monkeypatch: pytest.MonkeyPatch) -> None:
    broker: Any = SimpleNamespace(bootstrap_servers="127.0.0.1:7")
    monkeypatch.setenv(BOOTSTRAP_VARIABLE, "before:1")
    with stage._named_by_the_environment(broker):
        assert os.environ[BOOTSTRAP_VARIABLE] == "127.0.0.1:7"
    assert os.environ[BOOTSTRAP_VARIABLE] == "before:1"
    monkeypatch.delenv(BOOTSTRAP_VARIABLE)
    with stage._named_by_the_environment(broker):
        pass
    assert BOOTSTRAP_VARIABLE not in os.environ


def test_a_silent_process_says_nothing_but_its_exceptions(capfd: pytest.CaptureFixture[str]) -> None:
    def greet() -> None:
        os.write(2, b"a library's greeting\n")
        raise ValueError("still raised")

    with pytest.raises(ValueError, match="still raised"), silent_stderr():
        greet()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
