"""The table of results, and the same as JSON."""

from collections.abc import Sequence

import msgspec

from faults.system import GATEWAY, INGEST, SCORER
from faults.trial import Result

_NAME = 56
_HEAD = (
    f"{'':>3} {'fault':<{_NAME}} {'events/s':>8} {'lost':>8} {'doubled':>8} {'reordered':>9} {'normal after':>12}  "
    "peak memory (ingest/scorer/gateway)"
)


def table(results: Sequence[Result]) -> list[str]:
    """Return the lines of the table; memory is that of the largest ingest, scorer and gateway, in MiB."""
    lines = [_HEAD, "-" * len(_HEAD)]
    for result in results:
        lines.append(_row(result))
        lines += [f"      FAILED: {sentence}" for sentence in result.failures]
        lines += [f"      LATE: wanted within {result.normal_within_s:g} s"] * result.is_late
        lines += [f"      {sentence}" for sentence in result.notes]
    lines.append(f"{sum(result.met_targets for result in results)} of {len(results)} cases met every target")
    return lines


def as_json(results: Sequence[Result]) -> bytes:
    """Return the results as a JSON array."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1)


def _row(result: Result) -> str:
    after = "never" if result.normal_after_s is None else f"{result.normal_after_s:.1f} s"
    memory = "/".join(f"{result.peak_mib.get(role, 0):.0f}" for role in (INGEST, SCORER, GATEWAY))
    lost, doubled, reordered = (_count(n) for n in (result.lost, result.doubled, result.reordered))
    return (
        f"{result.number:>3} {result.name[:_NAME]:<{_NAME}} {result.events_per_second:>8,.0f} {lost:>8} {doubled:>8} "
        f"{reordered:>9} {after:>12}  {memory} MiB"
    )


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
