"""Puts standings into words: a table for the terminal, and plain values for the JSON file."""

from collections.abc import Sequence
from typing import Any

from benchmarks.figures import Figure
from benchmarks.throughput import Standing

_HEAD = f"{'':<26} {'events/s':>28} {'of the floor':>22} {'µs/event':>9}   CPU µs/event by process; peak memory"


def throughput_table(standings: Sequence[Standing]) -> list[str]:
    """Return the lines of a table; the first standing is the reference of the ratios."""
    lines = [_HEAD, "-" * len(_HEAD)]
    for standing in standings:
        rate, ratio = _rate(standing), _ratio(standing, standings[0])
        cost = "  ".join(f"{role} {figure.median:.1f}" for role, figure in _cpu_us(standing).items())
        memory = ", ".join(f"{role} {mib:,.0f} MiB" for role, mib in _peak_mib(standing).items())
        lines += [
            f"{standing.name:<26} {rate.text(',.0f'):>28} {ratio.text():>22} {1e6 / rate.median:>9.1f}   {cost}",
            f"{'':<26} peak {memory}",
            f"{'':<26} idle {_idle(standing)}; {standing.differing:,} verdicts unlike the floor's",
        ]
    return lines


def throughput_values(standings: Sequence[Standing]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [
        {
            "contestant": standing.name,
            "events": standing.laps[0].events,
            "repeats": len(standing.laps),
            "events_per_second": _rate(standing)._asdict(),
            "of_the_floor": _ratio(standing, standings[0])._asdict(),
            "cpu_us_per_event": {role: figure._asdict() for role, figure in _cpu_us(standing).items()},
            "peak_mib": _peak_mib(standing),
            "idle_share_of_a_core": standing.idle,
            "verdicts_unlike_the_floor": standing.differing,
        }
        for standing in standings
    ]


def _rate(standing: Standing) -> Figure:
    return Figure.of(lap.events_per_second for lap in standing.laps)


def _ratio(standing: Standing, reference: Standing) -> Figure:
    ours, theirs = ([lap.events_per_second for lap in one.laps] for one in (standing, reference))
    return Figure.ratio(ours, theirs)


def _cpu_us(standing: Standing) -> dict[str, Figure]:
    per_lap = [lap.cpu_us() for lap in standing.laps]
    return {role: Figure.of(costs[role] for costs in per_lap) for role in per_lap[0]}


def _peak_mib(standing: Standing) -> dict[str, float]:
    return dict(standing.laps[-1].peak_mib)


def _idle(standing: Standing) -> str:
    return ", ".join(f"{role} {share:.1%}" for role, share in standing.idle.items())
