"""One page that shows a load test: verdict, figures, limits and plots in a single HTML file without outside links.

Neighbours: `plots` draws, `commands/loadtest.py` asks for the page. Nothing is shown that was not measured.
"""

import html
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from loadtest import plots
from loadtest.client_plan import PATHS, Findings
from loadtest.report import describe, number
from loadtest.run import Outcome
from loadtest.verdict import Check, State, Verdict, why_too_slow
from pages.page import page

_BANNERS: Final = {
    State.PASSED: ("passed", "Passed: every limit was kept."),
    State.FAILED: ("failed", "Failed: see the limits that were not kept."),
    State.GENERATOR_TOO_SLOW: (
        "void",
        "Generator too slow: the load test itself was the bottleneck. What has to do with time was not judged.",
    ),
}


class Row(NamedTuple):
    """A row of ready text; its first cell names it."""

    cells: Sequence[str]
    look: str = ""


def write_page(outcome: Outcome, verdict: Verdict | None, command: str, file: Path) -> None:
    """Write the page; its folder must exist. `command` is how the test was started."""
    file.write_text(render(outcome, verdict, command), encoding="utf-8")


def render(outcome: Outcome, verdict: Verdict | None, command: str) -> str:
    """Return the page as HTML."""
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(outcome.start_s))
    body = "\n".join(_parts(outcome, verdict))
    return page(f"Load test {outcome.load.run}", f"{began}  ·  {command}", body, _CSS)


def _parts(outcome: Outcome, verdict: Verdict | None) -> Iterator[str]:
    yield _banner(outcome, verdict)
    if verdict is not None:
        yield _table("Limits", ("what", "measured", "at most", "", ""), list(map(_limit, verdict.checks)))
    yield _table(
        "Latency from when it was due, in ms", ("", "count", "p50", "p95", "p99", "largest"), _latencies(outcome)
    )
    yield _table("Losses", ("", "lost", "duplicated", "reordered", "failed"), _losses(outcome))
    for title, note, drawing in plots.drawings(outcome):
        yield (
            f'<section><h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>'
            f'<div class="wide">{drawing}</div></section>'
        )
    lines = html.escape("\n".join(describe(outcome, verdict)))
    yield f"<section><h2>In words</h2><pre>{lines}</pre></section>"


def _banner(outcome: Outcome, verdict: Verdict | None) -> str:
    slowness = verdict.slowness if verdict else why_too_slow(outcome)
    if verdict is not None:
        look, words = _BANNERS[verdict.state]
    elif slowness:
        look, words = "void", "Generator too slow: the load test itself was the bottleneck."
    elif outcome.is_clean:
        look, words = "passed", "Every event came out once and in order. No thresholds were given."
    else:
        look, words = "failed", "Events were lost, doubled or reordered."
    reasons = "".join(f"<br>{html.escape(reason)}" for reason in slowness)
    return f'<p class="banner {look}">{html.escape(words)}{reasons}</p>'


def _limit(check: Check) -> Row:
    cells = (check.name, number(check.measured), number(check.limit), check.unit, check.state.value)
    return Row(cells, "failed" if check.state is State.FAILED else "")


def _latencies(outcome: Outcome) -> Iterator[Row]:
    for reader in outcome.readers:
        books = reader.arrivals
        yield Row((reader.name, f"{books.unique:,}", *map(number, books.latency_ms(50, 95, 99, 100))))
    if (findings := outcome.findings) is None:
        return
    for name, measured in findings.requests.items():
        values = map(number, measured.percentiles_ms(50, 95, 99, 100))
        yield Row((f"POST {PATHS[name]}", f"{len(measured.offsets_s):,}", *values))
    if findings.feed_received:
        name, frames = f"{len(findings.feed_received):,} feed clients, frames", f"{len(findings.feed.offsets_s):,}"
        yield Row((name, frames, *map(number, findings.feed.percentiles_ms(50, 95, 99, 100))))


def _losses(outcome: Outcome) -> Iterator[Row]:
    progress = outcome.produced.progress
    if outcome.load.events:
        never = f"{progress.skipped:,}"
        yield Row(("due, but never sent by the generator", never, "", "", ""))
        yield Row(("sent, but not acknowledged by Kafka", f"{progress.failed + progress.waiting:,}", "", "", ""))
    for reader in outcome.readers:
        counts = (outcome.lost(reader), reader.arrivals.duplicates, reader.arrivals.reordered)
        yield Row((reader.name, *(f"{count:,}" for count in counts), ""), "failed" if any(counts) else "")
    if outcome.findings is not None:
        yield from _client_losses(outcome, outcome.findings)


def _client_losses(outcome: Outcome, findings: Findings) -> Iterator[Row]:
    for name, measured in findings.requests.items():
        look = "failed" if measured.failed else ""
        yield Row((f"POST {PATHS[name]}", "", "", "", f"{measured.failed:,}"), look)
    if findings.feed_received:
        lost = outcome.feed_lost()
        name = f"{len(findings.feed_received):,} feed clients together"
        look = "failed" if lost or findings.feed.failed else ""
        yield Row((name, "" if lost is None else f"{lost:,}", "", "", f"{findings.feed.failed:,}"), look)


def _table(title: str, header: Sequence[str], rows: Iterator[Row] | Sequence[Row]) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    lines = "".join(
        f'<tr class="{row.look}"><th scope="row">{html.escape(row.cells[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row.cells[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<section><h2>{html.escape(title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></section>"
    )


_CSS: Final = """
.subtitle { margin: 0 0 20px; overflow-wrap: anywhere; }
.note { margin: 0 0 10px; }
.banner { border-radius: 8px; padding: 12px 18px; margin: 0 0 20px; font-weight: 600; color: #fff; }
.banner.passed { background: #2e7350; }
.banner.failed { background: var(--alarm); }
.banner.void { background: #8a5a14; }
tr.failed > * { color: var(--alarm); font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; margin: 8px 0 0; }
@media (max-width: 760px) { figure { min-width: 640px; } }
"""
