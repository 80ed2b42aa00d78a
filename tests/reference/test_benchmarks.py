"""The page of the benchmarks, made from a JSON file as the benchmarks' own report writes it."""

import msgspec
import pytest

from benchmarks import report
from benchmarks.figures import Figure, Part
from benchmarks.growth import Point
from benchmarks.latency import LatencyResult
from benchmarks.race import Lap
from benchmarks.requests import PREDICT, SCORE, RequestResult
from benchmarks.soak import Stretch
from benchmarks.throughput import Standing
from commands.machine import measured_on
from reference.benchmarks import benchmarks_page, figure

PERCENTILES = {50: Figure(40.0, 39.0, 41.0), 95: Figure(60.0, 58.0, 61.0), 99: Figure(70.0, 70.0, 70.0)}


def standing(name: str, seconds: tuple[float, ...]) -> Standing:
    laps = [Lap(name, 120_000, s, {"ingest": 1.2, "kafka": 0.6}, {"ingest": 579.4}) for s in seconds]
    return Standing(name, laps, {"ingest": 0.021, "kafka": 0.053})


def latency(system: str, rate: int, dropped: int = 0) -> LatencyResult:
    stages = {"read": Figure(17.0, 16.0, 18.0), "scored": Figure(9.0, 9.0, 9.0), "shown": Figure(15.0, 14.0, 16.0)}
    return LatencyResult(system, rate, 6 * rate, PERCENTILES, PERCENTILES, stages, 1.0, dropped, {}, {})


def point(axis: str, size: int, late: dict[int, Figure] | None = None) -> Point:
    cost = {"ingest": 12.0, "scorer": 8.0, "gateway": 3.0}
    return Point(axis, size, Figure(51_200.0, 50_000.0, 52_000.0), cost, {"ingest": 579.0}, late)


RESULTS = {
    "machine": measured_on(),
    "throughput": report.throughput_values([standing("floor", (2.0, 2.0)), standing("system", (2.5, 4.0))]),
    "peers": report.throughput_values([standing("floor", (2.0,)), standing("Quix Streams", (8.0,))]),
    "latency": report.latency_values([latency("system", 10_000), latency("system", 25_000, dropped=7)]),
    "requests": report.requests_values(
        [RequestResult("system", PREDICT, Figure(1_485.0, 1_400.0, 1_500.0), PERCENTILES, {})]
    ),
    "profiles": report.requests_values(
        [RequestResult("serve-defaults", SCORE, Figure(83.0, 80.0, 85.0), PERCENTILES, {})]
    ),
    "vehicles": report.growth_values([point("vehicles", 1_000_000, PERCENTILES)]),
    "growth": report.growth_values([point("partitions", 24)]),
    "soak": report.soak_values(
        [Stretch(240.0, 9_998.0, {"p50": 40.0, "p99": None}, 12, {"ingest": 301.0}, {"ingest": 0.4})]
    ),
    "parts": report.parts_values([Part("decode", Figure(2.5, 2.25, 2.75))]),
}


@pytest.fixture
def page(tmp_path):
    (tmp_path / "bench.json").write_bytes(msgspec.json.encode(RESULTS))
    return benchmarks_page(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        "| system | 39,000 (30,000–48,000) | 0.65 (0.50–0.80) | ingest 579 |",
        "| system | 10.0 | 5.0 |",
        "| system | 2.1% | 5.3% |",
        "| Quix Streams | 15,000 | 0.25 | ingest 579 |",
        "| system | 10,000 | 40 (39–41) | 60 (58–61) | 70 | 70 | yes |",
        "| system | 25,000 | 40 (39–41) | 60 (58–61) | 70 | 70 | no |",
        "| system | 10,000 | 17 (16–18) | 9 | 15 (14–16) |",
        "| system | `/predict` | 32 | 1 | 1,485 (1,400–1,500) | 1,485 | 40 (39–41) | 60 (58–61) | 70 |",
        "| serve-defaults | `/v1/score` | 8 | 1,000 | 83 (80–85) | 83,000 | 40 (39–41) | 60 (58–61) | 70 |",
        "| vehicles | 1,000,000 | 51,200 (50,000–52,000) | 12.0 | 8.0 | 3.0 | 579 | 40 (39–41) | 70 |",
        "| partitions | 24 | 51,200 (50,000–52,000) | 12.0 | 8.0 | 3.0 | 579 |",
        "| 4 | 9,998 | 40 | 12 | 301 |",
        "| decode | 2.50 (2.25–2.75) |",
    ],
)
def test_page_has_every_measurement(page, row):
    assert f"\n{row}\n" in page


def test_machine_date_and_versions_stand_in_one_place(page):
    machine = RESULTS["machine"]
    [row] = [line for line in page.splitlines() if line.startswith("| How fast it is |")]
    for name in ("python", "kafka", "ray", "tensorflow", "architecture"):
        assert f"| {machine[name]} |" in row
        assert page.count(f"| {machine[name]} |") == 1
    assert f"| {machine['cores']} |" in row
    assert machine["date"][:4] in row


def test_benchmark_that_did_not_run_has_no_section(tmp_path):
    (tmp_path / "bench.json").write_bytes(msgspec.json.encode({name: RESULTS[name] for name in ("machine", "parts")}))
    headings = [line for line in benchmarks_page(tmp_path).splitlines() if line.startswith("### ")]
    assert headings == ["### Steps of an event's way"]


def test_page_without_runs_says_how_to_make_them(tmp_path):
    page = benchmarks_page(tmp_path)
    for name in ("bench", "faults", "evaluat"):
        assert f"No run is published yet. `fleet {name}" in page
    assert "| run |" not in page


def test_figure_without_repeats_is_empty():
    nothing = msgspec.json.decode(msgspec.json.encode(Figure.of([])._asdict()))
    assert figure(nothing, ",.0f") == ""
