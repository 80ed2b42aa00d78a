"""What a load test must reach: limits from a TOML file, typed, checked once, with sentences that say what is wrong.

Neighbours: `commands/loadtest.py` reads a file, `verdict` judges by it. `thresholds.toml` beside this module is an
example with every section.
"""

import itertools
import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from fleet.errors import SettingsError

_Limit = Annotated[float, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
PERCENTILES: Final = {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}


class Latencies(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Upper limits of latency in milliseconds, counted from when something was due; what is left out is not judged."""

    p50_ms: _Limit | None = None
    p95_ms: _Limit | None = None
    p99_ms: _Limit | None = None


class WayOut(Latencies, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A way out of the system that is read in full."""

    lost: _Count = 0
    duplicated: _Count = 0
    reordered: _Count = 0


class Feed(Latencies, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Many clients of the live feed together."""

    lost: _Count | None = None
    """Events, over all clients."""
    broken: _Count = 0
    """Connections that broke or were refused."""


class Answers(Latencies, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Requests of one kind."""

    failed_share: _Share = 0.0


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the gateway says about the pipeline."""

    lag_max: _Count | None = None
    oldest_unscored_max_s: _Limit | None = None
    lag_at_end: _Count | None = None
    unanswered: _Count | None = None
    """Questions that the gateway did not answer."""


class Generator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far the load test itself may be behind; beyond it the test is void, whatever the system did."""

    lateness_p99_ms: _Limit = 100.0
    reader_busy_share: _Share = 0.9


class Thresholds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The sections of the file; one that is left out is not judged."""

    scored: WayOut | None = None
    websocket: WayOut | None = None
    feed: Feed | None = None
    predict: Answers | None = None
    score: Answers | None = None
    pipeline: Pipeline | None = None
    generator: Generator = Generator()


_WHAT_MEASURES: Final = {
    "scored": "--rate above 0",
    "websocket": "--websocket",
    "feed": "--feed-clients",
    "predict": "--predict-rate",
    "score": "--score-rate",
    "pipeline": "--gateway",
}


def read_thresholds(path: Path) -> Thresholds:
    """Read a file. Raises SettingsError with a sentence that names the file, the place and what to change."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The thresholds {path} cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"Thresholds {path.name}: this is not TOML ({error}).") from None
    if mistake := _unknown_name(found):
        raise SettingsError(f"Thresholds {path.name}: {mistake}.")
    try:
        thresholds = msgspec.convert(found, Thresholds)
    except msgspec.ValidationError as error:
        raise SettingsError(f"Thresholds {path.name}: {_at_its_place(str(error))}.") from None
    if mistake := _falling_percentiles(thresholds):
        raise SettingsError(f"Thresholds {path.name}: {mistake}.")
    return thresholds


def refuse_unmeasured(thresholds: Thresholds, measured: frozenset[str]) -> None:
    """Raise SettingsError for a section whose subject this test does not measure: it would pass unseen."""
    for name, option in _WHAT_MEASURES.items():
        if getattr(thresholds, name) is not None and name not in measured:
            raise SettingsError(
                f"The thresholds have a section [{name}], which this test would not measure: "
                f"add {option}, or leave the section out."
            )


def _unknown_name(found: dict[str, object]) -> str | None:
    sections = {field.name: field for field in msgspec.structs.fields(Thresholds)}
    for name, section in found.items():
        if name not in sections:
            return f"there is no section [{name}]; there are {', '.join(sections)}"
        known = [field.name for field in msgspec.structs.fields(_SECTION_TYPES[name])]
        if isinstance(section, dict) and (unknown := [key for key in section if key not in known]):
            return f"[{name}] has no {unknown[0]}; it has {', '.join(known)}"
    return None


_SECTION_TYPES: Final[dict[str, type[msgspec.Struct]]] = {
    "scored": WayOut,
    "websocket": WayOut,
    "feed": Feed,
    "predict": Answers,
    "score": Answers,
    "pipeline": Pipeline,
    "generator": Generator,
}


def _at_its_place(message: str) -> str:
    """Turn "Expected … - at `$.scored.p99_ms`" into "scored.p99_ms: expected …"."""
    what, _, place = message.partition(" - at `$.")
    return f"{place.rstrip('`')}: {what[0].lower()}{what[1:]}" if place else message


def _falling_percentiles(thresholds: Thresholds) -> str | None:
    for name in _SECTION_TYPES:
        section = getattr(thresholds, name)
        if not isinstance(section, Latencies):
            continue
        given = [(key, limit) for key in PERCENTILES if (limit := getattr(section, key)) is not None]
        for (low, low_ms), (high, high_ms) in itertools.pairwise(given):
            if low_ms > high_ms:
                return f"[{name}] {low} = {low_ms:g} is above {high} = {high_ms:g}, so {low} could never fail alone"
    return None
