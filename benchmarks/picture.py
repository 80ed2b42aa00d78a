"""The picture for the README: throughput beside the peers, what an event costs, latency, and growth with the fleet.

Draws what `suite` left for the JSON file; a benchmark that did not run leaves its panel out.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter

ROLES = ("floor", "peer", "ingest", "scorer", "gateway", "ray", "kafka")
COLOURS = dict(zip(ROLES, ("#5b6770", "#9aa5ad", "#1f6feb", "#d97706", "#2da44e", "#8250df", "#c9ced3"), strict=True))
DPI = 150
COLUMNS = 2

Values = Sequence[Mapping[str, Any]]


def draw(results: Mapping[str, Any], file: Path) -> None:
    """Draw the results that are there."""
    panels = [(name, panel) for name, panel in _PANELS.items() if results.get(name)]
    rows = -(-len(panels) // COLUMNS)
    canvas = Canvas(figsize=(5.4 * COLUMNS, 3.2 * rows), layout="constrained")
    for place, (name, panel) in enumerate(panels, 1):
        axes = canvas.add_subplot(rows, COLUMNS, place)
        panel(axes, results[name])
        axes.spines[["top", "right"]].set_visible(False)
    machine = results["machine"]
    canvas.suptitle(f"{machine['cores']} cores, shared with Kafka and the measuring; {machine['date']}", fontsize=9)
    canvas.savefig(file, dpi=DPI)


def _rates(title: str) -> Callable[[Axes, Values], None]:
    def panel(axes: Axes, values: Values) -> None:
        names = [value["contestant"] for value in values]
        rates = [value["events_per_second"] for value in values]
        medians = [rate["median"] for rate in rates]
        spread = [[r["median"] - r["low"] for r in rates], [r["high"] - r["median"] for r in rates]]
        axes.barh(names, medians, xerr=spread, color=COLOURS["ingest"], ecolor="#444", capsize=3)
        axes.invert_yaxis()
        for row, (rate, value) in enumerate(zip(rates, values, strict=True)):
            words = f"  {rate['median']:,.0f}  ×{value['of_the_floor']['median']:.2f}"
            axes.text(rate["high"], row, words, va="center", fontsize=8)
        axes.set_xlim(right=1.4 * max(rate["high"] for rate in rates))
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("events/s, raw → committed")

    return panel


def _latency(axes: Axes, values: Values) -> None:
    rates = sorted({value["rate"] for value in values})
    for system, colour in zip(
        dict.fromkeys(value["system"] for value in values), (COLOURS["ingest"], COLOURS["scorer"]), strict=False
    ):
        own = [value for value in values if value["system"] == system and value["kept_up"]]
        for percentile, style in (("p50", "o-"), ("p99", "o--")):
            late = [value["append_to_screen_ms"][percentile]["median"] for value in own]
            delivery = "at least once" if "at least once" in system else "exactly once"
            axes.plot([value["rate"] for value in own], late, style, color=colour, label=f"{percentile}, {delivery}")
    axes.set_title("append → WebSocket", fontsize=10)
    axes.set_xlabel("events/s")
    axes.set_ylabel("ms")
    axes.set_xscale("log")
    axes.set_xticks(rates, [f"{rate:,}" for rate in rates], minor=False)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, frameon=False)


def _vehicles(axes: Axes, values: Values) -> None:
    names = [EngFormatter()(value["size"]) for value in values]
    below = [0.0] * len(values)
    for role in [role for role in ROLES if role in values[0]["cpu_us_per_event"]]:
        costs = [value["cpu_us_per_event"][role] for value in values]
        axes.bar(names, costs, bottom=below, label=role, color=COLOURS[role], width=0.6)
        below = [low + cost for low, cost in zip(below, costs, strict=True)]
    axes.set_title("cost by fleet size", fontsize=10)
    axes.set_xlabel("vehicles")
    axes.set_ylabel("CPU µs/event")
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


_PANELS: dict[str, Callable[[Axes, Values], None]] = {
    "throughput": _rates("floor and system"),
    "peers": _rates("peers"),
    "latency": _latency,
    "vehicles": _vehicles,
}
