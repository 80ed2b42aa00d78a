"""The report of the benchmarks: the same figures in words, in values and in the picture, the bad ones included."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from matplotlib import image

from benchmarks import picture, report
from benchmarks.figures import Figure, Part
from benchmarks.growth import Point
from benchmarks.latency import LatencyResult
from benchmarks.race import Lap
from benchmarks.requests import SCORE, RequestResult
from benchmarks.soak import Stretch
from benchmarks.throughput import Standing


def figure(median: float) -> Figure:
    return Figure(median, 0.9 * median, 1.1 * median)


def standing(name: str, *seconds: float, differing: int = 0) -> Standing:
    laps = [Lap(name, 10_000, s, {"ingest": 0.1 * s, "kafka": 0.05 * s}, {"ingest": 100.0 + s}) for s in seconds]
    return Standing(name, laps, {"ingest": 0.015}, differing)


FLOOR, SYSTEM = standing("floor", 1.0, 2.0, 1.0), standing("system", 2.0, 2.0, 4.0, differing=3)


def test_throughput_is_told_as_rate_and_as_share_of_the_floor_lap_by_lap() -> None:
    floor, system = report.throughput_values([FLOOR, SYSTEM])
    assert floor["of_the_floor"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert system["events_per_second"] == {"median": 5_000.0, "low": 2_500.0, "high": 5_000.0}
    assert system["of_the_floor"] == {"median": 0.5, "low": 0.25, "high": 1.0}
    assert system["cpu_us_per_event"]["ingest"] == {"median": 20.0, "low": 20.0, "high": 40.0}
    assert system["peak_mib"] == {"ingest": 104.0}
    assert (system["events"], system["repeats"]) == (10_000, 3)
    assert (floor["verdicts_unlike_the_floor"], system["verdicts_unlike_the_floor"]) == (0, 3)


def test_the_table_says_how_many_verdicts_differ_and_what_idling_costs() -> None:
    lines = "\n".join(report.throughput_table([FLOOR, SYSTEM]))
    assert "5,000 (2,500–5,000)" in lines
    assert "0.50 (0.25–1.00)" in lines
    assert "idle ingest 1.5%; 3 verdicts unlike the floor's" in lines
    assert "peak ingest 104 MiB" in lines
    assert "200.0   ingest 20.0  kafka 10.0" in lines


LATE = LatencyResult(
    system="system",
    rate=1_000,
    events=6_000,
    from_append_ms={50: figure(20.0), 95: figure(40.0), 99: figure(60.0)},
    from_due_ms={50: figure(21.0), 95: figure(41.0), 99: figure(70.0)},
    stages_ms={"read": figure(5.0), "scored": figure(9.0), "shown": figure(6.0)},
    generator_late_p99_ms=4.0,
    not_shown=0,
    cpu_us={"ingest": 30.0},
    peak_mib={"ingest": 400.0},
)
TOO_FAST = replace(LATE, rate=25_000, not_shown=12)


def test_latency_is_told_from_append_and_from_due_with_the_generators_own_lateness() -> None:
    lines = "\n".join(report.latency_table([LATE]))
    for words in ("20 (18–22)", "60 (54–66)", "70 (63–77)", "generator late by 4 ms (p99)", "read after 5 (4–6)"):
        assert words in lines
    assert "did not keep up" not in lines


def test_a_rate_that_was_too_much_is_told_in_words_and_values() -> None:
    assert "did not keep up: 12 of 6,000 events were not shown" in report.latency_table([TOO_FAST])[-1]
    kept, too_fast = report.latency_values([LATE, TOO_FAST])
    assert (kept["kept_up"], too_fast["kept_up"]) == (True, False)
    assert (kept["not_shown"], too_fast["not_shown"]) == (0, 12)
    assert kept["append_to_screen_ms"]["p99"]["median"] == 60.0
    assert kept["due_to_screen_ms"]["p99"]["median"] == 70.0
    assert kept["generator_late_p99_ms"] == 4.0


ASKED = RequestResult("system", SCORE, figure(20.0), {50: figure(300.0), 99: figure(500.0)}, {"gateway": 12_000.0})


def test_requests_are_told_with_the_events_that_they_hold() -> None:
    row, cost = report.requests_table([ASKED])[2:]
    assert "20 (18–22)" in row
    assert "20,000 (18,000–22,000)" in row
    assert "gateway 12,000" in cost
    [value] = report.requests_values([ASKED])
    assert (value["path"], value["clients"], value["events"]) == ("/v1/score", 8, 1_000)
    assert value["latency_ms"]["p99"]["median"] == 500.0


POINT = Point("vehicles", 10_000, figure(20_000.0), {"ingest": 25.0, "kafka": 3.0}, {"ingest": 500.0, "gateway": 300.0})


def test_growth_is_told_by_size_with_latency_where_it_was_measured() -> None:
    late = replace(POINT, append_to_screen_ms={50: figure(20.0)})
    plain, measured = report.growth_table([POINT, late])[2:]
    assert "10,000" in plain
    assert "500/0/300 MiB" in plain
    assert plain.endswith("MiB")
    assert measured.endswith("; p50 20 ms")
    values = report.growth_values([POINT, late])
    assert values[0]["append_to_screen_ms"] == {}
    assert values[1]["append_to_screen_ms"] == {"p50": {"median": 20.0, "low": 18.0, "high": 22.0}}


STRETCH = Stretch(90.0, 9_999.0, {"p50": 20.0, "p95": 30.0, "p99": None}, 1_234, {"ingest": 400.0}, {"ingest": 0.55})


def test_a_soaks_stretch_is_told_with_what_is_not_known() -> None:
    row = report.soak_table([STRETCH])[2]
    assert row.split()[:7] == ["1.5", "9,999", "20", "/", "30", "/", "-"]
    assert "1,234" in row
    assert row.endswith("400 (55%)")
    assert report.soak_values([STRETCH])[0]["latency_ms"]["p99"] is None


PARTS = [Part("decode", figure(2.0)), Part("encode", figure(4.0))]


def test_parts_are_told_in_order() -> None:
    assert [line.split()[:2] for line in report.parts_table(PARTS)[1:]] == [["decode", "2.00"], ["encode", "4.00"]]
    assert report.parts_values(PARTS)[1] == {"part": "encode", "us_per_event": figure(4.0)._asdict()}


def results(**changes: Any) -> dict[str, Any]:
    """As the JSON file holds them: through JSON, so that nothing is there that a file could not hold."""
    held = {
        "machine": {"cores": 2, "date": "2026-11-30"},
        "throughput": report.throughput_values([FLOOR, SYSTEM]),
        "peers": report.throughput_values([FLOOR, SYSTEM]),
        "latency": report.latency_values([LATE, TOO_FAST, replace(LATE, system="system, at least once")]),
        "vehicles": report.growth_values([POINT, replace(POINT, size=100_000)]),
        **changes,
    }
    return msgspec.json.decode(msgspec.json.encode(held))  # type: ignore[no-any-return]


def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: dict[str, Any]) -> list[Any]:
    """Draw, and return the panels."""
    panels: list[Any] = []

    class Canvas(picture.Canvas):
        def savefig(self, *arguments: Any, **options: Any) -> None:
            panels.extend(self.axes)
            super().savefig(*arguments, **options)

    monkeypatch.setattr(picture, "Canvas", Canvas)
    picture.draw(held, tmp_path / "bench.png")
    assert image.imread(tmp_path / "bench.png").size > 0
    return panels


def test_the_picture_has_a_panel_for_each_benchmark_that_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    titles = [axes.get_title() for axes in drawn(tmp_path, monkeypatch, results())]
    assert titles == ["floor and system", "peers", "append → WebSocket", "cost by fleet size"]


def test_the_picture_leaves_out_what_did_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = results(peers=[], latency=[])
    del held["vehicles"]
    assert [axes.get_title() for axes in drawn(tmp_path, monkeypatch, held)] == ["floor and system"]


def test_the_picture_draws_the_medians_and_their_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = drawn(tmp_path, monkeypatch, results())[0]
    assert [bar.get_width() for bar in rates.patches] == [10_000.0, 5_000.0]
    assert [text.get_text().split() for text in rates.texts] == [["10,000", "×1.00"], ["5,000", "×0.50"]]


def test_the_picture_draws_no_latency_of_a_rate_that_was_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latency = drawn(tmp_path, monkeypatch, results())[2]
    lines = {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in latency.lines}
    assert lines["p50, exactly once"] == [(1_000, 20.0)]
    assert lines["p99, exactly once"] == [(1_000, 60.0)]
    assert lines["p99, at least once"] == [(1_000, 60.0)]


def test_the_picture_stacks_what_each_role_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleets = drawn(tmp_path, monkeypatch, results())[3]
    assert [(bar.get_y(), bar.get_height()) for bar in fleets.patches] == [(0.0, 25.0)] * 2 + [(25.0, 3.0)] * 2
