"""A recording's rows in the order in which they go through the windows: by vehicle and by time, in histories.

Rows go through the windows by vehicle and in order of time, whatever the file's order. A vehicle that was silent for
longer than `gap_s` begins a new history: 20 of its usual intervals, two minutes at least. Rows of one vehicle with the
same time (a recorder with coarse times) are spread evenly up to the next time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.detection.detector import Detector, EventBlock
from fleet.detection.episodes import EpisodeRules
from fleet.detection.features import FeaturePlan
from fleet.events.channels import ChannelSpec
from recordings import summary
from training.backtesting.recordings import Recordings

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

BLOCK_ROWS: Final = 16_384
_LEAST_GAP_S: Final = 120.0
_GAP_INTERVALS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A recording's R rows in the order in which they go through the windows."""

    order: Indices
    """intp[R]: their places in the file."""
    vehicle: Indices
    """intp[R]: by vehicle, then by time."""
    time_s: Floats
    """float64[R], strictly increasing within a vehicle."""
    history: Indices
    """intp[R]: the number of its vehicle's history, over all vehicles."""


def usual_interval_s(recordings: Recordings) -> float:
    """Return the median step from row to row within vehicles; 1 where there is none."""
    return summary.usual_interval_s(recordings.vehicle, recordings.time_s) or 1.0


def gap_after_s(interval_s: float) -> float:
    """Return the silence after which a new history begins, for rows that usually follow at `interval_s`."""
    return max(_LEAST_GAP_S, _GAP_INTERVALS * interval_s)


def prepare(recordings: Recordings, gap_s: float) -> Prepared:
    """Order the rows of a recording by vehicle and time, and tell histories apart."""
    order = np.lexsort((recordings.time_s, recordings.vehicle))
    vehicle = recordings.vehicle[order]
    time_s = _without_ties(vehicle, recordings.time_s[order])
    begins = np.append(True, (np.diff(vehicle) != 0) | (np.diff(time_s) > gap_s))
    return Prepared(order, vehicle, time_s, np.cumsum(begins[: len(order)]) - 1)


def _without_ties(vehicle: Indices, time_s: Floats) -> Floats:
    """Spread rows of one vehicle and time evenly up to its next time, or as far as to the one before."""
    fresh = np.append(True, (np.diff(vehicle) != 0) | (np.diff(time_s) > 0))[: len(time_s)]
    if fresh.all():
        return time_s
    first = np.flatnonzero(fresh)
    count = np.diff(np.append(first, len(time_s)))
    step_s = np.diff(time_s[first])
    usable = (np.diff(vehicle[first]) == 0) & (step_s > 0)
    usual_s = float(np.median(step_s[usable])) if usable.any() else 1.0
    room_s = np.append(np.where(usable, np.minimum(step_s, usual_s), usual_s), usual_s)
    place = np.arange(len(time_s)) - np.repeat(first, count)
    return time_s + place * np.repeat(room_s / count, count)


def windowed(plan: FeaturePlan, prepared: Prepared, values: Floats) -> Features:
    """Return the features float32[R, K] of the rows of `prepared`, values float64[R, S] in the file's order."""
    names = [str(number) for number in range(int(prepared.vehicle.max()) + 1)]
    detector = detector_of(plan, len(names))
    return np.concatenate([detector.enter(block).features for block in event_blocks(prepared, values, names)])


def detector_of(plan: FeaturePlan, vehicles: int, rules: EpisodeRules | None = None) -> Detector:
    """Return a detector that remembers every vehicle of a recording to its end."""
    # Vehicles come one after the other here, so their times lie far apart: nobody is idle.
    return Detector(plan, rules, idle_s=float("inf"), max_vehicles=max(vehicles, BLOCK_ROWS))


def event_blocks(prepared: Prepared, values: Floats, names: Sequence[str]) -> Iterator[EventBlock]:
    """Yield the rows of `prepared`, values float64[R, S] in the file's order, as blocks of events."""
    for start in range(0, len(prepared.order), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        ids = [names[number] for number in prepared.vehicle[part].tolist()]
        order = prepared.order[part]
        yield EventBlock.recorded(ids, prepared.time_s[part], values[order], order.astype(np.int64))


def spec_columns(spec: ChannelSpec, recordings: Recordings) -> Floats:
    """Return the recording's columns as the specification's fields float64[R, S]; without a column it is unknown."""
    place = {name: column for column, name in enumerate(recordings.channels)}
    columns = np.full((len(recordings), len(spec.fields)), np.nan)
    for number, name in enumerate(spec.field_names):
        if name in place:
            columns[:, number] = recordings.values[:, place[name]]
    return columns
