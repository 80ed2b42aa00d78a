"""Which benchmarks run, in which order, on which systems, and what grows in them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import growth, suite
from benchmarks.figures import Figure
from benchmarks.race import Lap
from benchmarks.running_system import RunningSystem, Shape, _config, _role
from benchmarks.suite import SHORT, Sizes
from benchmarks.throughput import Amount
from benchmarks.workload import Segment
from fleet.settings import read_settings

AT_LEAST_ONCE = Shape(label="relaxed", delivery="at_least_once")


class Stage:
    def __init__(self, *_: object) -> None:
        self.shapes: list[Shape] = []
        self.kafka_pid = 1
        self.say = [].append

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def system(self, shape: Shape) -> Shape:
        self.shapes.append(shape)
        return shape


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The suite with benchmarks that only say what they are given."""
    monkeypatch.setattr(suite, "Stage", Stage)
    for name in ("parts", "peers", "requests", "vehicles", "growth", "profiles", "soak"):
        monkeypatch.setattr(suite, f"_{name}", lambda stage, sizes, name=name: [{"ran": name}])
    for name in ("throughput", "latency"):
        monkeypatch.setattr(
            suite, f"_{name}", lambda stage, sizes, shape, name=name: [{"ran": name, "on": shape.label}]
        )
    said: list[str] = []

    def run_(*names: str, sizes: Sizes = SHORT) -> list[tuple[str, Any]]:
        return list(suite.run(names, Path(), sizes, said.append))

    run_.said = said  # type: ignore[attr-defined]
    return run_


def test_only_what_is_asked_for_runs_and_leaves_its_values(run: Any) -> None:
    assert run("parts", "soak") == [("parts", [{"ran": "parts"}]), ("soak", [{"ran": "soak"}])]
    assert run.said[0] == "\nparts"
    assert run.said[1].startswith("(parts took ")
    assert run("nothing") == []


def test_throughput_and_latency_run_on_every_delivery_and_the_rest_once(run: Any) -> None:
    everything = ("parts", "peers", "throughput", "latency", "requests", "vehicles", "growth", "profiles", "soak")
    ran = run(*everything, sizes=Sizes(other_deliveries=(AT_LEAST_ONCE,)))
    names = [name for name, _ in ran]
    assert {name: names.count(name) for name in everything} == {
        **dict.fromkeys(everything, 1),
        "throughput": 2,
        "latency": 2,
    }
    on = [values[0]["on"] for name, values in ran if name in ("throughput", "latency")]
    assert on == ["system", "system", "relaxed", "relaxed"]  # so that each system starts once


def test_the_short_suite_is_smaller_in_everything() -> None:
    full = Sizes()
    assert SHORT.amount.events < full.amount.events
    assert SHORT.amount.repeats < full.amount.repeats
    assert max(SHORT.latency_rates) < min(full.latency_rates)
    for name in ("part_blocks", "peer_events", "latency_s", "requests_s", "fleets_rate", "soak_s"):
        assert getattr(SHORT, name) < getattr(full, name)


# The systems that are measured


def test_a_system_of_a_shape_has_as_many_of_everything_and_does_not_scale() -> None:
    shape = Shape(label="x", ingest=3, scorers=2, partitions=24, delivery="at_least_once")
    config = _config(Path("models"), shape)
    settings = read_settings(config["applications"][0]["args"])
    assert settings.kafka.partitions == 24
    assert settings.ingest.delivery == "at_least_once"
    assert settings.kafka.application_id == "x"
    assert settings.kafka.topics.telemetry.startswith("x-")
    scaling = {
        section["name"]: section.get("autoscaling_config") for section in config["applications"][0]["deployments"]
    }
    for name, count in (("Ingest", 3), ("Scorer", 2)):
        assert (scaling[name]["min_replicas"], scaling[name]["max_replicas"]) == (count, count)


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("ray::ServeReplica:fleet:Ingest.run", "ingest"),
        ("ray::ServeReplica:fleet:Scorer", "scorer"),
        ("ray::ServeReplica:fleet:Gateway.handle_request", "gateway"),
        ("ray::ServeReplica:other:Something", "ray"),
        ("ray::ServeController", "ray"),
        ("raylet", "ray"),
        ("ray::Ingest", "ray"),
    ],
)
def test_what_a_process_costs_is_booked_by_its_title(title: str, role: str) -> None:
    assert _role(title) == role


@pytest.mark.parametrize(
    ("running", "is_ready"),
    [
        ({"Ingest": 1, "Scorer": 2, "Gateway": 1}, True),
        ({"Ingest": 1, "Scorer": 1, "Gateway": 1}, False),
        ({"Ingest": 1, "Scorer": 2}, False),
        ({}, False),
    ],
)
def test_a_system_is_not_measured_before_all_its_replicas_run(
    monkeypatch: pytest.MonkeyPatch, running: dict[str, int], is_ready: bool
) -> None:
    replicas = {
        name: {"replicas": [{"state": "RUNNING"}] * count + [{"state": "STARTING"}]} for name, count in running.items()
    }
    system: Any = RunningSystem.__new__(RunningSystem)
    system.shape, system.config = Shape(scorers=2), {"http_options": {"port": 1}}
    system._cluster = SimpleNamespace(status=lambda: {"applications": {"fleet": {"deployments": replicas}}})
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: open("/dev/null"))  # noqa: PTH123, SIM115
    assert system._is_ready() is is_ready


# Growth


class Course:
    """Runs laps that take a millisecond an event."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def lap(self, segment: Segment) -> tuple[Lap, None]:
        self.segments.append(segment)
        count, number = len(segment.values), len(self.segments)
        return Lap(
            "system", count, count / 1_000 * number, {"ingest": count * 1e-5 * number}, {"ingest": 100.0 * number}
        ), None


def test_every_vehicle_is_known_before_the_laps_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LEAST_WARM_UP_EVENTS", 60)
    course: Any = Course()
    laps = growth._laps(course, Amount(events=50, repeats=2), vehicles=80)
    assert [len(segment.values) for segment in course.segments] == [80, 50, 50]
    assert len(laps) == 2
    assert set(course.segments[0].keys) >= set(course.segments[1].keys) | set(course.segments[2].keys)
    few: Any = Course()
    growth._laps(few, Amount(events=50, repeats=1), vehicles=10)
    assert [len(segment.values) for segment in few.segments] == [50, 50]
    assert not set(few.segments[0].keys) & set(course.segments[0].keys)


def test_a_point_is_the_figure_of_its_laps() -> None:
    laps = [
        Lap("system", 1_000, seconds, {"ingest": seconds / 10}, {"ingest": 50.0 * seconds}) for seconds in (1, 2, 4)
    ]
    point = growth._point("vehicles", 80, laps)
    assert point.events_per_second == Figure(500.0, 250.0, 1_000.0)
    assert point.cpu_us == {"ingest": pytest.approx(200.0)}
    assert point.peak_mib == {"ingest": 200.0}
    assert growth._line(point) == "  80 vehicles: 500 events/s; CPU µs/event: ingest 200.0"


def test_only_one_thing_grows_at_a_time() -> None:
    for axis, shapes in growth.SHAPES.items():
        for size, shape in shapes.items():
            default = Shape(label=shape.label)
            differing = {
                name for name in ("ingest", "scorers", "partitions") if getattr(shape, name) != getattr(default, name)
            }
            assert len(differing) <= 1
            grown = {"partitions": shape.partitions, "ingest replicas": shape.ingest, "scorer replicas": shape.scorers}
            assert grown[axis] == size
    labels = [shape.label for shapes in growth.SHAPES.values() for shape in shapes.values()]
    assert len(set(labels)) == len(labels)
