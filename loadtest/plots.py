"""The plots of a load test's page: rates, percentiles over time, lag, replicas, losses, its own lateness.

Neighbours: `timeline` cuts time into pieces, `page` places the drawings.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from loadtest import timeline
from loadtest.client_plan import PATHS
from loadtest.lateness import BIN_S, Lateness
from loadtest.readers import Reader
from loadtest.run import Outcome
from pages.drawing import ACCENT, ALARM, MUTED, STYLE, inline_svg

Float64s: TypeAlias = NDArray[np.float64]
Drawing: TypeAlias = tuple[str, str, str]
"""Title, note, and the figure as HTML."""

_COLOURS: Final = (ACCENT, "#b0772b", "#4f8a6d", "#8a6bb0", "#6b7480")
_PERCENT_LOOKS: Final[tuple[dict[str, Any], ...]] = (
    {"color": "#8a97ab"},
    {"color": "#b0772b"},
    {"color": ACCENT, "linewidth": 1.8},
)
_STYLE: Final = {**STYLE, "svg.hashsalt": "loadtest"}  # the same test gives the same page
_COMMAS: Final = FuncFormatter(lambda value, _: f"{value:,.0f}" if value == int(value) else f"{value:g}")
_WIDTH: Final = 9.6


def drawings(outcome: Outcome) -> Iterator[Drawing]:
    """Yield the plots that there is something to show in."""
    with mpl.rc_context(_STYLE):
        edges = timeline.edges_s(outcome.load.seconds)
        if outcome.load.events:
            yield _rates(outcome, edges)
        yield from _latencies(outcome, edges)
        if outcome.pipeline is not None and outcome.pipeline.states:
            yield _lag(outcome)
            yield _replicas(outcome)
        if outcome.readers and outcome.load.events:
            yield _losses(outcome, edges)
        yield _lateness(outcome)


def _axes(height: float, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    _dress(axes, ylabel)
    return figure, axes


def _dress(axes: Axes, ylabel: str) -> None:
    axes.set(xlabel="seconds from the start", ylabel=ylabel)
    axes.yaxis.set_major_formatter(_COMMAS)


def _legend(axes: Axes) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=5)


def _due_s(outcome: Outcome) -> Float64s:
    return outcome.load.profile.due_s(np.arange(outcome.load.events))


def _rates(outcome: Outcome, edges: Float64s) -> Drawing:
    figure, axes = _axes(2.9, "events/s")
    due_s = _due_s(outcome)
    fine_s = np.linspace(0, outcome.load.seconds, 800)
    axes.plot(fine_s, outcome.load.profile.rate_at(fine_s), color=MUTED, linestyle=(0, (4, 2)), label="due")
    for number, reader in enumerate(outcome.readers):
        latency_s = reader.arrivals.latencies_ms.astype(np.float64) / 1000
        arrived_s = (due_s + latency_s)[~np.isnan(latency_s)]
        longer = _prolonged(edges, arrived_s)
        axes.stairs(
            timeline.rates(arrived_s, longer), longer, color=_COLOURS[number], label=f"out of the {reader.name}"
        )
    axes.set_ylim(bottom=0)
    _legend(axes)
    note = "Dashed: what was due, fixed before the test began. The lines: first arrivals."
    return "Rate", note, inline_svg(figure, "Events per second over time")


def _prolonged(edges: Float64s, times_s: Float64s) -> Float64s:
    """Go on with pieces of the same length to the last time."""
    piece_s, last_s = edges[1] - edges[0], times_s.max(initial=0.0)
    more = np.arange(edges[-1] + piece_s, min(last_s, 3 * edges[-1]) + piece_s, piece_s)
    return np.concatenate([edges, more])


def _latencies(outcome: Outcome, edges: Float64s) -> Iterator[Drawing]:
    for title, (offsets_s, latencies_ms) in _measured(outcome).items():
        percentiles = timeline.percentiles(offsets_s, latencies_ms, edges)
        figure, axes = _axes(2.4, "ms")
        for percent, look, values in zip(timeline.PERCENTS, _PERCENT_LOOKS, percentiles, strict=True):
            axes.stairs(values, edges, baseline=None, label=f"p{percent:g}", **look)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(_COMMAS)
        axes.yaxis.set_minor_formatter(NullFormatter())
        _legend(axes)
        note = "From when each was due to its arrival, by when it was due. The axis is logarithmic."
        yield f"Latency: {title}", note, inline_svg(figure, f"Percentiles of latency over time, {title}")


def _measured(outcome: Outcome) -> Mapping[str, tuple[Float64s, Float64s]]:
    found: dict[str, tuple[Float64s, Float64s]] = {}
    if outcome.readers:
        due_s = _due_s(outcome)
        for reader in outcome.readers:
            found[reader.name] = (due_s, reader.arrivals.latencies_ms.astype(np.float64))
    if (findings := outcome.findings) is not None:
        for name, measured in findings.requests.items():
            found[f"POST {PATHS[name]}"] = (
                measured.offsets_s,
                measured.latencies_ms,
            )
        if findings.feed_received:
            title = f"{len(findings.feed_received):,} feed clients, the oldest event of each frame"
            found[title] = (findings.feed.offsets_s, findings.feed.latencies_ms)
    return {title: values for title, values in found.items() if len(values[0])}


def _lag(outcome: Outcome) -> Drawing:
    series = outcome.pipeline
    assert series is not None
    times_s = np.array(series.times_s) - outcome.start_s
    lags = np.array([np.nan if state.lag is None else state.lag for state in series.states], np.float64)
    ages = [state.oldest_unscored_seconds for state in series.states]
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(times_s, lags, color=ACCENT, marker=".", markersize=3)
    below.plot(times_s, np.array([np.nan if age is None else age for age in ages], np.float64), color=ALARM)
    _dress(above, "lag, records")
    above.set_xlabel("")
    _dress(below, "oldest waiting, s")
    above.set_ylim(bottom=0)
    below.set_ylim(bottom=0)
    note = "Asked of the gateway once a second; a gap is a question that it did not answer."
    return "Lag", note, inline_svg(figure, "Consumer lag and the age of the oldest unscored event over time")


def _replicas(outcome: Outcome) -> Drawing:
    series = outcome.pipeline
    assert series is not None
    times_s = np.array(series.times_s) - outcome.start_s
    figure, axes = _axes(2.0, "running replicas")
    names = sorted({name for state in series.states for name in state.replicas})
    for number, name in enumerate(names):
        # Lines that lie upon each other are told apart by their dashes.
        counts = [state.replicas.get(name, 0) for state in series.states]
        dashes = (0, (6, number)) if number else "-"
        axes.step(times_s, counts, where="post", color=_COLOURS[number % 5], linestyle=dashes, label=name)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if names:
        _legend(axes)
    return "Replicas", "Running replicas by deployment.", inline_svg(figure, "Running replicas over time")


def _losses(outcome: Outcome, edges: Float64s) -> Drawing:
    figure, axes = _axes(2.0, "events that did not arrive")
    for number, reader in enumerate(outcome.readers):
        axes.stairs(_missing(outcome, reader, edges), edges, color=_COLOURS[number], label=reader.name)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(axes)
    note = "By when they were due; those that the generator never sent, or Kafka never acknowledged, among them."
    return "Losses", note, inline_svg(figure, "Events that did not arrive, over time")


def _missing(outcome: Outcome, reader: Reader, edges: Float64s) -> Float64s:
    missing = np.isnan(reader.arrivals.latencies_ms)
    counts: Float64s = np.histogram(_due_s(outcome)[missing], edges)[0].astype(np.float64)
    return counts


def _lateness(outcome: Outcome) -> Drawing:
    figure, axes = _axes(2.2, "ms behind")
    clients = outcome.findings.lateness if outcome.findings else None
    kinds = {"producers": outcome.produced.lateness, "clients": clients}
    for number, (name, lateness) in enumerate(kinds.items()):
        if lateness is not None and lateness.sent.any():
            _draw_lateness(axes, lateness, name, _COLOURS[number])
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        _legend(axes)
    note = (
        "How far the load test itself was behind its own due times: its worst in each tenth of a second. Red ground: "
        "Kafka's push-back held it up, which is the system's."
    )
    return "The generator itself", note, inline_svg(figure, "Lateness of the load test itself, over time")


def _draw_lateness(axes: Axes, lateness: Lateness, name: str, colour: str) -> None:
    times_s = np.arange(len(lateness.worst_s)) * BIN_S
    own_ms = np.where(lateness.held_up | (lateness.sent == 0), np.nan, lateness.worst_s * 1000)
    axes.plot(times_s, own_ms, color=colour, linewidth=1, label=name)
    for begin, end in _stretches(lateness.held_up):
        axes.axvspan(begin * BIN_S, end * BIN_S, color="#fbe9e7", linewidth=0, zorder=0)


def _stretches(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return begin and end of each run of true flags: int64[N, 2]."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return edges.reshape(-1, 2)
