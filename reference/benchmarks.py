"""The page of what was measured: made from the JSON files of runs, which are committed beside it.

A file or a benchmark that is not there is left out, and the page says how to make it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from fleet.settings import PROJECT_FOLDER
from reference import markdown
from reference.quality import evaluation_section, faults_section

Values = Sequence[Mapping[str, Any]]

FOLDER: Final = PROJECT_FOLDER / "docs"


class Run(NamedTuple):
    """A file of results: what it is called, how it is made, and the section that is made from it."""

    title: str
    file: str
    command: str
    section: Callable[[Mapping[str, Any]], list[str]]


def benchmarks_page(folder: Path = FOLDER) -> str:
    """Return the page of the runs whose files stand in a folder."""
    found = {run: msgspec.json.decode((folder / run.file).read_bytes()) for run in RUNS if (folder / run.file).exists()}
    lines = [
        "Every table on this page is made from the file of one run.",
        "Machines differ, and the speed of a shared machine changes from hour to hour.",
        "So the ratios within one run say more than its rates.",
        "A figure is the median of repeats, with the lowest and the highest in brackets.",
        "",
        *_machines(found),
    ]
    for run in RUNS:
        lines += [f"## {run.title}", ""]
        if run in found:
            lines += [f"Made by `{run.command}`; [all its numbers]({run.file}).", ""]
            lines += run.section(found[run])
        else:
            lines += [f"No run is published yet. `{run.command}` makes one.", ""]
    return markdown.page("Benchmarks", "the JSON files of runs, in docs/", lines)


def _machines(found: Mapping[Run, Mapping[str, Any]]) -> list[str]:
    if not found:
        return []
    head = ("run", "date", "commit", "cores", "memory", "processor", "Python", "Kafka", "Ray", "TensorFlow")
    rows = []
    for run, results in found.items():
        machine = results["machine"]
        rows.append(
            (
                run.title,
                f"{date.fromisoformat(machine['date']):%-d %B %Y}",
                markdown.code(machine["commit"] or ""),
                str(machine["cores"]),
                f"{machine['memory_gib']:.0f} GiB",
                machine["architecture"],
                *(machine[name] for name in ("python", "kafka", "ray", "tensorflow")),
            )
        )
    return [*markdown.table(head, rows), "Kafka, the load and the measuring share these cores with the system.", ""]


def _bench_section(results: Mapping[str, Any]) -> list[str]:
    lines = ["![Throughput, latency, and cost by fleet size](bench.svg)", ""]
    for name, section in _SECTIONS.items():
        if values := results.get(name):
            lines += section(values)
    return lines


def _throughput(values: Values) -> list[str]:
    return [
        "### Throughput",
        "",
        "Events per second from a full topic, from the raw event to the committed result.",
        "The floor is a hand-written loop that does the same work, without Ray, books or state.",
        "Contestants take turns in the same run, and each verdict is compared with the floor's.",
        "",
        *_contest(values),
        "CPU time of an event, by process, in microseconds:",
        "",
        *_by_role([(value["contestant"], _medians(value["cpu_us_per_event"])) for value in values], ".1f"),
        "Share of a core that each process takes while there are no events:",
        "",
        *_by_role([(value["contestant"], value["idle_share_of_a_core"]) for value in values], ".1%"),
    ]


def _peers(values: Values) -> list[str]:
    return [
        "### Beside other processors",
        "",
        "The same events through what else one might take. Ratios are to the floor of the same run.",
        "",
        *_contest(values),
    ]


def _contest(values: Values) -> list[str]:
    rows = [
        (
            value["contestant"],
            figure(value["events_per_second"], ",.0f"),
            figure(value["of_the_floor"], ".2f"),
            _memory(value["peak_mib"]),
        )
        for value in values
    ]
    return markdown.table(("", "events/s", "of the floor", "peak memory, MiB"), rows)


def _latency(values: Values) -> list[str]:
    rows = [
        (
            value["system"],
            f"{value['rate']:,}",
            *(figure(value["append_to_screen_ms"][name], ",.0f") for name in ("p50", "p95", "p99")),
            figure(value["due_to_screen_ms"]["p99"], ",.0f"),
            "yes" if value["kept_up"] else "no",
        )
        for value in values
    ]
    stages = [
        (value["system"], f"{value['rate']:,}", *(figure(stage, ",.0f") for stage in value["stages_ms"].values()))
        for value in values
    ]
    return [
        "### Latency",
        "",
        "Milliseconds from an event's append to Kafka until its verdict reaches a WebSocket client.",
        "The load does not wait for the system. The last column counts from when an event was due,",
        "so that a late generator or a slow Kafka hides nothing.",
        "",
        *markdown.table(("", "events/s", "p50", "p95", "p99", "due → screen, p99", "kept up"), rows),
        "Where that time goes: the median of each stage, in milliseconds, from the end of the one before.",
        "",
        *markdown.table(("", "events/s", *values[0]["stages_ms"]), stages),
    ]


def _requests(values: Values) -> list[str]:
    rows = [
        (
            value["system"],
            markdown.code(value["path"]),
            f"{value['clients']:,}",
            f"{value['events']:,}",
            figure(value["requests_per_second"], ",.0f"),
            f"{value['requests_per_second']['median'] * value['events']:,.0f}",
            *(figure(late, ",.0f") for late in value["latency_ms"].values()),
        )
        for value in values
    ]
    head = (
        "",
        "path",
        "clients",
        "events each",
        "requests/s",
        "events/s",
        *(f"{p}, ms" for p in values[0]["latency_ms"]),
    )
    return [
        "### Requests",
        "",
        "Clients that ask again as soon as they are answered.",
        "",
        *markdown.table(head, rows),
    ]


def _profiles(values: Values) -> list[str]:
    return ["### Requests under other settings of Serve", "", *_requests(values)[4:]]


def _vehicles(values: Values) -> list[str]:
    return ["### Growth with the fleet", "", "Every vehicle is known before the measurement.", "", *_points(values)]


def _growth(values: Values) -> list[str]:
    return ["### Growth with everything else", "", "Only one thing grows at a time.", "", *_points(values)]


def _points(values: Values) -> list[str]:
    rows = [
        (
            value["axis"],
            f"{value['size']:,}",
            figure(value["events_per_second"], ",.0f"),
            *(f"{value['cpu_us_per_event'].get(role, 0.0):.1f}" for role in ("ingest", "scorer", "gateway")),
            f"{value['peak_mib']['ingest']:,.0f}" if "ingest" in value["peak_mib"] else "",
            *(_percentile(value["append_to_screen_ms"], name) for name in ("p50", "p99")),
        )
        for value in values
    ]
    head = ("grows", "to", "events/s", "ingest, µs/event", "scorer", "gateway", "ingest, MiB", "p50, ms", "p99, ms")
    return markdown.table(head, rows)


def _parts(values: Values) -> list[str]:
    rows = [(value["part"], figure(value["us_per_event"], ".2f")) for value in values]
    return [
        "### Steps of an event's way",
        "",
        "CPU time of one event in each step, alone in a process.",
        "",
        *markdown.table(("step", "µs/event"), rows),
    ]


def _soak(values: Values) -> list[str]:
    rows = [
        (
            f"{value['ended_s'] / 60:.0f}",
            f"{value['shown_per_second']:,.0f}",
            *("" if late is None else f"{late:,.0f}" for late in value["latency_ms"].values()),
            f"{value['lag']:,}",
            *(f"{mib:,.0f}" for mib in value["resident_mib"].values()),
        )
        for value in values
    ]
    head = (
        "minutes",
        "shown/s",
        *(f"{name}, ms" for name in values[0]["latency_ms"]),
        "lag, records",
        *(f"{role}, MiB" for role in values[0]["resident_mib"]),
    )
    return [
        "### A steady load",
        "",
        "Latency and resident memory, in equal stretches of one run. Each event was scored and shown once.",
        "",
        *markdown.table(head, rows),
    ]


def figure(value: Mapping[str, float | None], form: str) -> str:
    """Write a figure as `0.81 (0.78–0.83)`; without brackets where its repeats are alike, empty without repeats."""
    if value["median"] is None:
        return ""
    median, low, high = (format(value[name], form) for name in ("median", "low", "high"))
    return median if low == high else f"{median} ({low}–{high})"


def _percentile(figures: Mapping[str, Any], name: str) -> str:
    return figure(figures[name], ",.0f") if name in figures else ""


def _medians(figures: Mapping[str, Any]) -> dict[str, float]:
    return {role: value["median"] for role, value in figures.items()}


def _memory(peak_mib: Mapping[str, float]) -> str:
    return ", ".join(f"{role} {mib:,.0f}" for role, mib in peak_mib.items())


def _by_role(rows: Sequence[tuple[str, Mapping[str, float]]], form: str) -> list[str]:
    roles = dict.fromkeys(role for _, values in rows for role in values)
    cells = [(name, *(format(values[role], form) if role in values else "" for role in roles)) for name, values in rows]
    return markdown.table(("", *roles), cells)


_SECTIONS: Final[Mapping[str, Callable[[Values], list[str]]]] = {
    "throughput": _throughput,
    "peers": _peers,
    "latency": _latency,
    "requests": _requests,
    "profiles": _profiles,
    "vehicles": _vehicles,
    "growth": _growth,
    "soak": _soak,
    "parts": _parts,
}
RUNS: Final = (
    Run("How fast it is", "bench.json", "fleet bench --json docs/bench.json --picture docs/bench.svg", _bench_section),
    Run("What it survives", "faults.json", "fleet faults --json docs/faults.json", faults_section),
    Run("What it detects", "evaluation.json", "fleet evaluate --json docs/evaluation.json", evaluation_section),
)
