"""One page that shows how good a detector is: figures, tables and plots in a single HTML file without outside links.

Neighbours: `fleet evaluate` and `fleet backtest` fill a `Report` from arrays that `training.metrics` measured, and
write the page beside their figures. Nothing is measured here except what a plot needs (its curves), and nothing is
shown that the report does not hold: a backtest without labels has no curves and no delays.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pages.drawing import ACCENT, ALARM, INK, MUTED, STYLE, inline_svg
from pages.page import page
from training.metrics import average_precision, event_recall, median_delay_s, precision_recall_curve, roc_auc, roc_curve

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_ORDINARY: Final = "#8a97ab"
_FAULT_GROUND: Final = "#fbe9e7"
# The detector is drawn in the accent; baselines in quieter colours, each with its own dashes for those who see none.
_BASELINE_LOOKS: Final = (
    {"color": "#b0772b", "linestyle": (0, (6, 2))},
    {"color": "#4f8a6d", "linestyle": (0, (3, 1.5))},
    {"color": "#8a6bb0", "linestyle": (0, (1, 1.2))},
    {"color": "#6b7480", "linestyle": (0, (6, 2, 1, 2))},
)
_RATE_COLOURS: Final = (ACCENT, "#b0772b", "#4f8a6d", "#8a6bb0", "#6b7480")
_STYLE: Final = {
    **STYLE,
    "axes.unicode_minus": True,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.size": 3,
    "svg.hashsalt": "fleet",  # the same report gives the same page
}
_PLAIN: Final = FuncFormatter(lambda value, _: f"{value:g}")
_PERCENT: Final = FuncFormatter(lambda share, _: f"{100 * share:g} %")
_CURVE_POINTS: Final = 400
_SIGNAL_BUCKETS: Final = 500
_DISTRIBUTION_BINS: Final = 80
# Scores below this share of the largest are drawn as one: all that matters lies close to the threshold.
_NARROWEST: Final = 1e-12
_LOWEST_RATE: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Table:
    """A table of ready text; the first column names the row."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """What detectors said about the same R rows."""

    scores: Mapping[str, Floats]
    """float64[R] by detector; the first is the one that the page is about, the others are baselines."""
    threshold: float
    """Of the first detector."""
    faulty: Flags | None = None
    """bool[R]; None without labels: then there are no curves."""
    ignore: Flags | None = None
    """bool[R]: rows that count neither way."""


@dataclass(frozen=True, slots=True)
class RealisedRates:
    """False alarm rates that came out for those that were aimed at, on one set of vehicles."""

    name: str
    nominal: Floats
    realised: Floats


@dataclass(frozen=True, slots=True)
class EpisodeView:
    """An episode with what led to it; n rows of one vehicle in order of time, some before it and some behind."""

    title: str
    """Which vehicle, and when."""
    cause: str | None
    truth: str | None
    """The labelled fault; None where there is none or nothing is labelled."""
    time_s: Floats
    signals: Mapping[str, Floats]
    """float64[n] by name and unit, NaN = unknown; the first four are drawn."""
    score: Floats
    threshold: float
    opened_s: float
    closed_s: float
    faulty: Flags | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What the page shows; whatever is empty is left out."""

    title: str
    subtitle: str
    figures: tuple[tuple[str, str], ...] = ()
    """The few that matter most: what and how much."""
    tables: tuple[Table, ...] = ()
    rows: ScoredRows | None = None
    delays_s: Mapping[str, Floats] = field(default_factory=dict)
    """Seconds to detection of every stretch by fault, inf = not found."""
    rates: tuple[RealisedRates, ...] = ()
    episodes: tuple[EpisodeView, ...] = ()


def write_report(report: Report, path: Path) -> None:
    """Write the page; its folder must exist."""
    path.write_text(render(report), encoding="utf-8")


def render(report: Report) -> str:
    """Return the page as HTML."""
    with mpl.rc_context(_STYLE):
        sections = [_figures(report.figures), *map(_table, report.tables)]
        if report.rows is not None:
            sections.append(_distribution(report.rows))
            if report.rows.faulty is not None and _both_kinds(report.rows.faulty, report.rows.ignore):
                sections.append(_curves(report.rows, report.rows.faulty))
        if report.delays_s:
            sections.append(_delays(report.delays_s))
        if report.rates:
            sections.append(_rates(report.rates))
        if report.episodes:
            sections.append(_episodes(report.episodes))
    body = "\n".join(section for section in sections if section)
    return page(report.title, report.subtitle, body, _CSS)


# --- Words and figures --------------------------------------------------------------------------------------------


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    if not figures:
        return ""
    items = "".join(f"<div><dt>{html.escape(what)}</dt><dd>{html.escape(much)}</dd></div>" for what, much in figures)
    return f'<dl class="figures">{items}</dl>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.header)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{html.escape(table.note)}</p>' if table.note else ""
    return (
        f'<section><h2>{html.escape(table.title)}</h2>{note}<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _section(title: str, note: str, *plots: str) -> str:
    kind = "plots two" if len(plots) > 1 else "plots"
    return (
        f'<section><h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>'
        f'<div class="{kind}">{"".join(plots)}</div></section>'
    )


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


# --- Rows ---------------------------------------------------------------------------------------------------------


def _distribution(rows: ScoredRows) -> str:
    name, score = next(iter(rows.scores.items()))
    kept = np.ones(len(score), bool) if rows.ignore is None else ~rows.ignore
    if not kept.any():
        return ""
    figure, axes = _figure(9.6, 2.9)
    faulty = np.zeros(len(score), bool) if rows.faulty is None else rows.faulty
    edges = _score_edges(score[kept], rows.threshold)
    parts = [("ordinary rows", score[kept & ~faulty], _ORDINARY), ("faulty rows", score[kept & faulty], ALARM)]
    for label, part, colour in parts:
        if len(part):
            share = np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0] / len(part)
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.22)
            axes.stairs(share, edges, color=colour, linewidth=1.3, label=f"{label} ({len(part):,})")
    if 0 < rows.threshold < np.inf:
        _mark_threshold(axes, rows.threshold)
    axes.set(xscale="log", yscale="log", xlabel=f"score of {name}", ylabel="share of rows")
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 1.16), ncols=2)
    note = "Both axes are logarithmic; each kind of row adds up to one. What lies right of the threshold is an alarm."
    return _section("Scores", note, inline_svg(figure, f"Distribution of the scores of {name}"))


def _mark_threshold(axes: Axes, threshold: float) -> None:
    axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (4, 2)))
    where = ("data", "axes fraction")
    axes.annotate("threshold", (threshold, 1), (4, -2), xycoords=where, textcoords="offset points", va="top")


def _score_edges(score: Floats, threshold: float) -> Floats:
    """Return the borders of bins, evenly spaced by ratio; zeros and what is not finite go to the outer bins."""
    usable = score[np.isfinite(score) & (score > 0)]
    low, high = (np.quantile(usable, (0.0005, 1.0))) if len(usable) else (0.1, 1.0)
    if 0 < threshold < np.inf:
        low, high = min(low, threshold / 2), max(high, threshold * 2)
    low = max(low, high * _NARROWEST)
    return np.geomspace(low, high * 1.001, _DISTRIBUTION_BINS + 1)


def _curves(rows: ScoredRows, faulty: Flags) -> str:
    roc, roc_axes = _figure(4.7, 3.9)
    recall, recall_axes = _figure(4.7, 3.9)
    for number, (name, score) in enumerate(rows.scores.items()):
        look = _look(number)
        false, true = roc_curve(score, faulty, rows.ignore)
        reached, precision = precision_recall_curve(score, faulty, rows.ignore)
        first = int(np.searchsorted(false, _LOWEST_RATE, side="right")) - 1
        false, true = np.maximum(false[first:], _LOWEST_RATE), true[first:]
        chosen = _evenly(np.log(false))
        area = f"{name}  {roc_auc(score, faulty, rows.ignore):.3f}"
        roc_axes.plot(false[chosen], true[chosen], label=area, **look)
        chosen = _evenly(reached)
        area = f"{name}  {average_precision(score, faulty, rows.ignore):.3f}"
        recall_axes.plot(reached[chosen], precision[chosen], label=area, **look)
    roc_axes.set(xscale="log", xlim=(_LOWEST_RATE, 1), ylim=(0, 1.01), xlabel="false positive rate", ylabel="recall")
    roc_axes.xaxis.set_major_formatter(_PERCENT)
    recall_axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="recall", ylabel="precision")
    for axes, what in ((roc_axes, "ROC AUC"), (recall_axes, "average precision")):
        _legend_above(axes, what)
    note = (
        "Left: recall against the false positive rate, which is logarithmic, since only its left end is of use. Right: "
        "precision against recall. All detectors see the same rows; the figure beside each name is its area."
    )
    descriptions = ("Recall against false positive rate", "Precision against recall")
    return _section(
        "Detector and baselines", note, inline_svg(roc, descriptions[0]), inline_svg(recall, descriptions[1])
    )


def _both_kinds(faulty: Flags, ignore: Flags | None) -> bool:
    kept = faulty if ignore is None else faulty[~ignore]
    return bool(kept.any()) and not kept.all()


def _legend_above(axes: Axes, title: str) -> None:
    """Put the legend over the plot, where it hides no curve."""
    legend = axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, title=title, alignment="left")
    legend.get_title().set_color(MUTED)


def _look(number: int) -> dict[str, Any]:
    if number == 0:
        return {"color": ACCENT, "linewidth": 2.2, "zorder": 3}
    return dict(_BASELINE_LOOKS[(number - 1) % len(_BASELINE_LOOKS)])


def _evenly(rising: Floats) -> npt.NDArray[np.intp]:
    """Return the places of some hundred points spread evenly over a rising coordinate, both ends included."""
    if len(rising) <= _CURVE_POINTS:
        return np.arange(len(rising))
    wanted = np.linspace(rising[0], rising[-1], _CURVE_POINTS)
    # The last of equal ones: on a vertical piece that is its top.
    places = np.searchsorted(rising, wanted, side="right") - 1
    return np.unique(np.concatenate(([0], places, [len(rising) - 1])))


# --- Faults and rates ---------------------------------------------------------------------------------------------


def _delays(delays_s: Mapping[str, Floats]) -> str:
    delays_s = {fault: delays for fault, delays in delays_s.items() if len(delays)}
    faults = sorted(delays_s, key=lambda fault: -_or_inf(median_delay_s(delays_s[fault])))
    figure, axes = _figure(9.6, 0.9 + 0.3 * len(faults))
    rng = np.random.default_rng(0)
    for place, fault in enumerate(faults):
        found = delays_s[fault][np.isfinite(delays_s[fault])]
        scatter = place + rng.uniform(-0.22, 0.22, len(found))
        axes.plot(found, scatter, "o", color=ACCENT, alpha=0.28, markersize=3.5, markeredgewidth=0)
        words = f"{len(found)} of {len(delays_s[fault])} found ({100 * event_recall(delays_s[fault]):.0f} %)"
        if len(found):
            axes.plot([np.median(found)] * 2, [place - 0.33, place + 0.33], color=INK, linewidth=1.8)
            words += f", median {_seconds(float(np.median(found)))}"
        axes.annotate(words, (1.015, place), xycoords=("axes fraction", "data"), va="center", color=MUTED)
    axes.set_yticks(range(len(faults)), [fault.replace("_", " ") for fault in faults], color=INK)
    axes.set(ylim=(-0.6, len(faults) - 0.4), xlabel="seconds from onset to detection")
    finite = np.concatenate([[0.0], *(d[np.isfinite(d)] for d in delays_s.values())])
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.set_xlim(-0.15, max(2.0, finite.max() * 1.3))
    axes.xaxis.set_major_formatter(_PLAIN)
    axes.grid(axis="y", visible=False)
    note = "One dot for each fault that was found, a bar at their median. The axis is logarithmic beyond one second."
    return _section("Delay of detection", note, inline_svg(figure, "Delay of detection by fault"))


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:,.0f} s"


def _or_inf(value: float) -> float:
    return float("inf") if np.isnan(value) else value


def _rates(rates: Sequence[RealisedRates]) -> str:
    figure, axes = _figure(6.8, 3.5)
    everything = np.concatenate([part for rate in rates for part in (rate.nominal, rate.realised)])
    positive = everything[np.isfinite(everything) & (everything > 0)]
    low, high = (positive.min() / 2, min(1.0, positive.max() * 2)) if len(positive) else (_LOWEST_RATE, 1.0)
    ends = np.array([low, high])
    axes.fill_between(ends, ends / 2, ends * 2, color="#eef2f8", linewidth=0, label="within a factor of two")
    axes.plot(ends, ends, color="#c9ced7", linewidth=1)
    for number, rate in enumerate(rates):
        colour = _RATE_COLOURS[number % len(_RATE_COLOURS)]
        realised = np.maximum(rate.realised, low)
        axes.plot(rate.nominal, realised, "o-", color=colour, markersize=4, label=rate.name)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
    axes.set(xlabel="false alarm rate aimed at", ylabel="false alarm rate realised")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_PERCENT)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    note = "Rows without a fault that were alarms. On the line the threshold keeps what calibration promised."
    return _section("False alarms: promised and realised", note, inline_svg(figure, "Realised against nominal rate"))


# --- Episodes -----------------------------------------------------------------------------------------------------


def _episodes(episodes: Sequence[EpisodeView]) -> str:
    cards = "".join(
        f'<article><h3>{html.escape(episode.title)}</h3><p class="note">{_verdict(episode)}</p>'
        f"{inline_svg(_episode_figure(episode), f'Signals and score of {episode.title}')}</article>"
        for episode in episodes
    )
    note = (
        "Signals above, score below, seconds from the episode's opening. The blue bar is the episode, the red ground a "
        "labelled fault, the dashed line the threshold."
    )
    return f'<section><h2>Episodes</h2><p class="note">{note}</p><div class="plots two">{cards}</div></section>'


def _verdict(episode: EpisodeView) -> str:
    cause = html.escape((episode.cause or "unknown").replace("_", " "))
    told = f'named cause <b class="cause">{cause}</b>'
    if episode.truth is not None:
        told += f" · labelled {html.escape(episode.truth.replace('_', ' '))}"
    return told


def _episode_figure(episode: EpisodeView) -> Figure:
    signals = list(episode.signals.items())[:4]
    figure = Figure(figsize=(4.7, 0.75 + 0.85 * (len(signals) + 1)), layout="constrained")
    panels = figure.subplots(len(signals) + 1, 1, sharex=True, squeeze=False)[:, 0]
    since_s = episode.time_s - episode.opened_s
    for axes, (name, values) in zip(panels, signals, strict=False):
        axes.plot(*_envelope(since_s, values), color=INK, linewidth=1)
        _name_panel(axes, name)
        axes.margins(y=0.12)
    _score_panel(panels[-1], since_s, episode)
    for axes in panels:
        _mark_episode(axes, since_s, episode)
        axes.locator_params(axis="y", nbins=3)
    panels[-1].set_xlabel("seconds from opening")
    panels[-1].set_xlim(since_s[0], max(since_s[-1], since_s[0] + 1e-9))
    return figure


def _score_panel(axes: Axes, since_s: Floats, episode: EpisodeView) -> None:
    score = np.where(np.isfinite(episode.score), episode.score, np.nan)
    axes.plot(*_envelope(since_s, score), color=ACCENT, linewidth=1.2)
    axes.axhline(episode.threshold, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
    _name_panel(axes, "score")
    axes.margins(y=0.12)


def _name_panel(axes: Axes, name: str) -> None:
    axes.annotate(name, (0, 1), (0, 2), xycoords="axes fraction", textcoords="offset points", color=MUTED, fontsize=8)


def _mark_episode(axes: Axes, since_s: Floats, episode: EpisodeView) -> None:
    if episode.faulty is not None:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], episode.faulty.astype(int), [0]))))
        for first, end in edges.reshape(-1, 2):
            axes.axvspan(since_s[first], since_s[end - 1], color=_FAULT_GROUND, linewidth=0, zorder=0)
    end_s = min(episode.closed_s - episode.opened_s, since_s[-1])
    axes.axvspan(0, end_s, ymin=0, ymax=0.035, color=ACCENT, linewidth=0)


def _envelope(time_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return at most a thousand points: of long series the lowest and the highest of each of 500 pieces."""
    if len(values) <= 2 * _SIGNAL_BUCKETS:
        return time_s, values
    ends = np.linspace(0, len(values), _SIGNAL_BUCKETS + 1).astype(np.intp)[:-1]
    low = np.fmin.reduceat(values, ends)
    high = np.fmax.reduceat(values, ends)
    return np.repeat(time_s[ends], 2), np.column_stack((low, high)).ravel()


_CSS: Final = """
h3 { font-size: 14px; margin: 0; }
.subtitle { margin: 0 0 24px; max-width: 76ch; }
.note { margin: 0 0 12px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px; margin: 0 0 20px;
  background: var(--line); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.figures div { background: #fff; padding: 12px 16px; }
.figures dt { color: var(--muted); font-size: 12px; }
.figures dd { margin: 2px 0 0; font-size: 21px; font-weight: 600; font-variant-numeric: tabular-nums; }
.plots.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px 28px; }
article .note { margin-bottom: 6px; }
.cause { color: var(--accent); font-weight: 600; }
@media (max-width: 760px) {
  .plots.two { grid-template-columns: 1fr; }
  .plots:not(.two) { overflow-x: auto; }
  .plots:not(.two) figure { min-width: 640px; }
}
"""
