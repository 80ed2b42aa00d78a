"""How good scores, alarms and episodes are against labels. NumPy only; no model, no file, no threshold of its own.

Neighbours: `training.evaluate` (simulated fleets) and the backtest (recordings) hand in arrays, `training.report`
draws the curves. Three kinds of measures:

- of rows: `roc_auc`, `average_precision`, `recall_at_rate`, `false_alarm_rate`. Each takes an `ignore` mask of rows
  that count neither way (`rows_to_ignore`: the first seconds of a fault, the window length after its end).
- of ranges: `vus_pr`, which forgives alarms close to a labelled range by itself and takes no mask.
- of stretches: a fault is found or not (`detection_delays`), an episode is excused by a fault or false.

Nothing is point-adjusted: with it random scores look excellent (Kim et al., "Towards a rigorous evaluation of
time-series anomaly detection", AAAI 2022).
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.columns import Columns

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]

ORDINARY: Final = -1
# After a fault, a vehicle is ordinary again, and its past still holds the fault.
AFTER_S: Final = (60.0, 300.0)
"""The fault number of a row without a fault."""


# --- Rows ---------------------------------------------------------------------------------------------------------


def roc_auc(score: Floats, positive: Flags, ignore: Flags | None = None) -> float:
    """Return the probability that a positive scores higher than a negative, ties counting half; NaN without either.

    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    score, positive = _kept(score, positive, ignore)
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(size) - (size - 1) / 2
    positives = np.count_nonzero(positive)
    negatives = len(positive) - positives
    if not positives or not negatives:
        return float("nan")
    above = rank[group[positive]].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def average_precision(score: Floats, positive: Flags, ignore: Flags | None = None) -> float:
    """Return the mean, over the recalls reached by ever lower thresholds, of the precision there; NaN if none exist.

    >>> round(average_precision(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])), 4)
    0.8333
    """
    recall, precision = precision_recall_curve(score, positive, ignore)
    return float((np.diff(recall, prepend=0.0) * precision).sum()) if len(recall) else float("nan")


def recall_at_rate(score: Floats, positive: Flags, rate: float, ignore: Flags | None = None) -> float:
    """Return the largest recall whose false positive rate is at most `rate` (0.01 = 1 %); NaN without positives.

    Equal scores are alarms together or not at all: the threshold is the lowest one that still holds the rate.

    >>> recall_at_rate(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]), 0.01)
    0.5
    """
    score, positive = _kept(score, positive, ignore)
    negatives = np.sort(score[~positive])
    allowed = int(np.floor(rate * len(negatives) + 1e-9))
    if not positive.any():
        return float("nan")
    if allowed >= len(negatives):
        return 1.0
    return float((score[positive] > negatives[len(negatives) - 1 - allowed]).mean())


def false_alarm_rate(alarm: Flags, faulty: Flags, ignore: Flags | None = None) -> float:
    """Return the share of alarms among ordinary rows that are not ignored; NaN where there are none."""
    counted = ~faulty if ignore is None else ~faulty & ~ignore
    return _share(alarm[counted])


def wilson_interval(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return what share is to be expected after `hits` of `count`, with 95 % confidence (Wilson, JASA, 1927)."""
    share, square = hits / count, z**2 / count
    centre, reach = share + square / 2, z * np.sqrt(share * (1 - share) / count + square / count / 4)
    return float((centre - reach) / (1 + square)), float((centre + reach) / (1 + square))


def share_after(stretches: "Stretches", vehicle: Indices, time_s: Floats, alarm: Flags) -> float:
    """Return the share of the ordinary rows bool[R] one to five minutes after a fault's end that alarm."""
    _, since_end_s = _since_latest(stretches, vehicle, time_s)
    return _share(alarm[(since_end_s > AFTER_S[0]) & (since_end_s <= AFTER_S[1])])


def roc_curve(score: Floats, positive: Flags, ignore: Flags | None = None) -> tuple[Floats, Floats]:
    """Return the false and the true positive rates float64[T + 1] of ever lower thresholds, beginning at (0, 0).

    Both are empty where either kind of row is missing.
    """
    found, alarms = _found_by_threshold(*_kept(score, positive, ignore))
    if not len(found) or not found[-1] or found[-1] == alarms[-1]:
        return np.empty(0), np.empty(0)
    false = alarms - found
    return np.append(0.0, false / false[-1]), np.append(0.0, found / found[-1])


def precision_recall_curve(score: Floats, positive: Flags, ignore: Flags | None = None) -> tuple[Floats, Floats]:
    """Return the recalls and precisions float64[T] of ever lower thresholds; empty without positives."""
    found, alarms = _found_by_threshold(*_kept(score, positive, ignore))
    if not len(found) or not found[-1]:
        return np.empty(0), np.empty(0)
    return found / found[-1], found / alarms


def _kept(score: Floats, positive: Flags, ignore: Flags | None) -> tuple[Floats, Flags]:
    if np.isnan(score).any():
        raise ValueError("scores must be numbers: there is a NaN among them")
    return (score, positive) if ignore is None else (score[~ignore], positive[~ignore])


def _found_by_threshold(score: Floats, positive: Flags) -> tuple[Indices, Indices]:
    """Return for each distinct score, falling, the positives and the rows that score at least as much."""
    order = np.argsort(-score, kind="stable")
    last_of_tie = np.flatnonzero(np.append(score[order][1:] != score[order][:-1], True)[: len(order)])
    return np.cumsum(positive[order], dtype=np.intp)[last_of_tie], last_of_tie + 1


# --- Ranges -------------------------------------------------------------------------------------------------------


def vus_pr(
    score: Floats, positive: Flags, series: Indices | None = None, window: int = 100, thresholds: int = 250
) -> float:
    """Return the volume under the surface of range-aware precision and recall, over buffers and thresholds.

    Paparrizos, Boniol, Palpanas, Tsay, Elmore, Franklin: "Volume under the surface: a new accuracy evaluation measure
    for time-series anomaly detection", PVLDB 15(11), 2022; in the form that the authors' own code computes (`vus` on
    PyPI, `RangeAUC_volume_opt`), so that figures compare with published ones. `_area` says what a buffer adds.

    The volume is the mean area over the window + 1 buffers. Thresholds are scores at `thresholds` evenly spaced ranks.
    Cost: O(rows log thresholds + window × (ranges × window + thresholds)).

    Args:
        score: float64[R].
        positive: bool[R].
        series: intp[R], which vehicle or trip; rows of one must be adjacent and in order of time. Buffers end at its
            borders. None: all rows are one series.
        window: the widest buffer, in rows; half of it lies before a range, half behind.
        thresholds: how many thresholds, at least two: the highest and the lowest score.

    Returns:
        0 to 1; NaN where no row is positive.

    Raises:
        ValueError: A score is NaN, or there are fewer than two thresholds.

    """
    if thresholds < 2:
        raise ValueError(f"The volume needs at least two thresholds; {thresholds} was given.")
    if not positive.any():
        return float("nan")
    score, positive = _kept(score, positive, None)
    series = np.zeros(len(score), np.intp) if series is None else series
    level = _threshold_levels(score, thresholds)
    ranges = _Ranges(positive, series, level, window)
    alarms = np.cumsum(np.bincount(level, minlength=thresholds))
    core = np.cumsum(np.bincount(level[positive], minlength=thresholds))
    return float(np.mean([_area(ranges, buffer, alarms, core) for buffer in range(window + 1)]))


def _area(ranges: "_Ranges", buffer: int, alarms: Indices, core: Indices) -> float:
    """Return the area under the curve of precision and recall for a buffer of w rows.

    - a row at d ≤ w // 2 rows before or after a labelled range has the soft label sqrt(1 - d / w), several ranges'
      contributions adding up to at most 1; rows within ranges have 1;
    - of the rows that score at least the threshold, TP is the sum of soft labels, precision is TP / rows;
    - recall is min(TP / (P + B / 2), 1) × the share of ranges with at least one alarm, where P counts labelled
      rows, B is the soft label of the buffer rows among the alarms, and ranges whose buffers overlap are one.
      (The paper's formula (9) has the whole buffers' label in B; the authors' code only the alarmed part.)
    - the area under the curve is the sum of precision × gained recall, as in average precision.

    Args:
        ranges: asked for buffers that never shrink.
        buffer: the buffer's width in rows.
        alarms: intp[thresholds], rows that score at least the threshold.
        core: intp[thresholds], those of them that lie within ranges.

    """
    thresholds = len(alarms)
    soft = np.cumsum(np.bincount(ranges.near_level, ranges.soft_labels(buffer), minlength=thresholds))
    recall = np.minimum((core + soft) / (core[-1] + soft / 2), 1.0) * ranges.share_met(buffer // 2, thresholds)
    return float((np.diff(recall, prepend=0.0) * (core + soft) / alarms).sum())


def _threshold_levels(score: Floats, thresholds: int) -> Indices:
    """Return for each row the number of the first, that is highest, threshold that its score reaches."""
    falling = -np.sort(-score)
    chosen = falling[np.linspace(0, len(score) - 1, thresholds).astype(np.intp)]
    return np.searchsorted(-chosen, -score, side="left")


class _Ranges:
    """The labelled ranges with the rows around them; asked for buffers that never shrink."""

    def __init__(self, positive: Flags, series: Indices, level: Indices, window: int) -> None:
        border = np.append(True, series[1:] != series[:-1])
        before = np.append(False, positive[:-1]) & ~border
        self._first = np.flatnonzero(positive & ~before)
        goes_on = np.append(positive[1:] & ~border[1:], False)
        self._last = np.flatnonzero(positive & ~goes_on)
        starts = np.flatnonzero(border)
        of = np.searchsorted(starts, self._first, side="right") - 1
        self._series_first, self._series_last = starts[of], np.append(starts[1:], len(positive))[of] - 1
        self._level = level
        ends = np.column_stack((self._first, self._last + 1)).ravel()
        self._best = np.minimum.reduceat(np.append(level, 0), ends)[::2]
        self._reach = 0
        self._collect_near(positive, window // 2)

    def _collect_near(self, positive: Flags, reach: int) -> None:
        """Collect the unlabelled rows within `reach` rows of a range, once for each range and side, nearest first."""
        rows, distances = [], []
        for distance in range(1, reach + 1):
            left, right = self._first - distance, self._last + distance
            at = np.concatenate((left[left >= self._series_first], right[right <= self._series_last]))
            at = at[~positive[at]]
            rows.append(at)
            distances.append(np.full(len(at), distance))
        near = np.concatenate(rows) if rows else np.empty(0, np.intp)
        self._distance = np.concatenate(distances) if rows else np.empty(0, np.intp)
        distinct, self._slot = np.unique(near, return_inverse=True)
        self.near_level: Indices = self._level[distinct]

    def soft_labels(self, buffer: int) -> Floats:
        """Return the soft labels of the near rows, float64 as long as `near_level`."""
        within = int(np.searchsorted(self._distance, buffer // 2, side="right"))
        part = np.sqrt(1 - self._distance[:within] / max(buffer, 1))
        return np.minimum(np.bincount(self._slot[:within], part, minlength=len(self.near_level)), 1.0)

    def share_met(self, reach: int, thresholds: int) -> Floats:
        """Return for each threshold the share of ranges, buffers included, that hold an alarm."""
        while self._reach < reach:
            self._reach += 1
            left = np.maximum(self._first - self._reach, self._series_first)
            right = np.minimum(self._last + self._reach, self._series_last)
            self._best = np.minimum(self._best, np.minimum(self._level[left], self._level[right]))
        apart = self._last[:-1] + reach < self._first[1:] - reach
        other_series = self._series_first[1:] != self._series_first[:-1]
        united = np.flatnonzero(np.append(True, apart | other_series))
        best = np.minimum.reduceat(self._best, united)
        return np.cumsum(np.bincount(best, minlength=thresholds)) / len(united)


# --- Stretches and episodes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stretches(Columns):
    """S faults, each a run of a vehicle's rows with the same fault, in order of vehicle and time."""

    vehicle: Indices
    fault: Indices
    """intp[S]: the number of its kind, 0 or more."""
    begins_s: Floats
    """The time of its first row."""
    ends_s: Floats
    """The time of its last row."""

    def __len__(self) -> int:
        """Return S."""
        return len(self.vehicle)


def find_stretches(fault: Indices, vehicle: Indices, time_s: Floats) -> Stretches:
    """Return the stretches of rows in any order; `fault` intp[R] is `ORDINARY` or the number of the fault's kind.

    Labels of one kind, bool[R], are `label.astype(np.intp) - 1`.
    """
    order = np.lexsort((time_s, vehicle))
    fault, vehicle, time_s = fault[order], vehicle[order], time_s[order]
    changes = (fault[1:] != fault[:-1]) | (vehicle[1:] != vehicle[:-1])
    first = np.flatnonzero(np.append(True, changes)[: len(order)])
    last = np.flatnonzero(np.append(changes, True)[: len(order)])
    faulty = fault[first] != ORDINARY
    first, last = first[faulty], last[faulty]
    return Stretches(vehicle[first], fault[first], time_s[first], time_s[last])


def detection_delays(stretches: Stretches, alarm_vehicle: Indices, alarm_s: Floats) -> Floats:
    """Return float64[S]: seconds from each onset to the first alarm from the onset to the end; inf where none is.

    Alarms are rows or openings of episodes: A vehicles and A times, in any order.
    """
    count = len(stretches)
    vehicle = np.concatenate((stretches.vehicle, alarm_vehicle))
    time_s = np.concatenate((stretches.begins_s, alarm_s))
    is_alarm = np.arange(len(vehicle)) >= count
    order = np.lexsort((is_alarm, time_s, vehicle))
    beyond = len(order)
    at = np.where(is_alarm[order], np.arange(beyond), beyond)
    following = np.minimum.accumulate(at[::-1])[::-1]
    place = np.empty(beyond, np.intp)
    place[order] = np.arange(beyond)
    following = following[place[:count]]
    found = np.flatnonzero(following < beyond)
    alarm = order[following[found]]
    met = (vehicle[alarm] == stretches.vehicle[found]) & (time_s[alarm] <= stretches.ends_s[found])
    delays = np.full(count, np.inf)
    delays[found[met]] = time_s[alarm[met]] - stretches.begins_s[found[met]]
    return delays


def event_recall(delays: Floats) -> float:
    """Return the share of stretches that were found, from their delays; NaN where there are none."""
    return _share(np.isfinite(delays))


def median_delay_s(delays: Floats) -> float:
    """Return the median delay of the stretches that were found; NaN where none was."""
    found = delays[np.isfinite(delays)]
    return float(np.median(found)) if len(found) else float("nan")


def excused(stretches: Stretches, vehicle: Indices, time_s: Floats, grace_s: float = 0.0) -> Flags:
    """Return bool[N]: the moment lies in a stretch of that vehicle, or within `grace_s` seconds after its end."""
    since_begin_s, since_end_s = _since_latest(stretches, vehicle, time_s)
    return np.isfinite(since_begin_s) & (since_end_s <= grace_s)


def rows_to_ignore(
    stretches: Stretches, vehicle: Indices, time_s: Floats, onset_grace_s: float, after_end_s: float
) -> Flags:
    """Return bool[R]: rows of which no honest detector can know, and which row measures should leave out.

    These are the rows less than `onset_grace_s` seconds after an onset, and ordinary rows at most `after_end_s`
    seconds after an end, whose windows still hold faulty events.
    """
    since_begin_s, since_end_s = _since_latest(stretches, vehicle, time_s)
    inside = np.isfinite(since_begin_s) & (since_end_s <= 0)
    return (inside & (since_begin_s < onset_grace_s)) | ((since_end_s > 0) & (since_end_s <= after_end_s))


def ordinary_hours(vehicle: Indices, time_s: Floats, faulty: Flags, longest_gap_s: float = 120.0) -> float:
    """Return the vehicle-hours between consecutive ordinary rows; a gap longer than `longest_gap_s` is no driving."""
    order = np.lexsort((time_s, vehicle))
    step_s = np.diff(time_s[order])
    driven = (vehicle[order][1:] == vehicle[order][:-1]) & ~faulty[order][1:] & ~faulty[order][:-1]
    return float(step_s[driven & (step_s <= longest_gap_s)].sum() / 3600)


def false_episodes_per_hour(
    stretches: Stretches, opened_vehicle: Indices, opened_s: Floats, hours: float, grace_s: float = 0.0
) -> float:
    """Return the episodes opened outside of faults, and of `grace_s` seconds behind them, by vehicle-hour.

    `hours` are vehicle-hours, usually `ordinary_hours`; NaN where they are none.
    """
    false = np.count_nonzero(~excused(stretches, opened_vehicle, opened_s, grace_s))
    return false / hours if hours > 0 else float("nan")


def _since_latest(stretches: Stretches, vehicle: Indices, time_s: Floats) -> tuple[Floats, Floats]:
    """Return for each moment the seconds since the vehicle's latest onset and since the latest end of those begun.

    Both are inf where no stretch of the vehicle has begun; the second is at most 0 inside a stretch.
    """
    count = len(stretches)
    everyone = np.concatenate((stretches.vehicle, vehicle))
    when_s = np.concatenate((stretches.begins_s, time_s))
    is_moment = np.arange(len(everyone)) >= count
    order = np.lexsort((is_moment, when_s, everyone))
    begun = np.maximum.accumulate(np.where(is_moment[order], -1, order))
    latest = np.empty(len(order), np.intp)
    latest[order] = begun
    latest = latest[count:]
    known = latest >= 0
    known[known] = stretches.vehicle[latest[known]] == vehicle[known]
    since_begin_s, since_end_s = np.full((2, len(vehicle)), np.inf)
    since_begin_s[known] = time_s[known] - stretches.begins_s[latest[known]]
    since_end_s[known] = time_s[known] - _latest_ends_s(stretches)[latest[known]]
    return since_begin_s, since_end_s


def _latest_ends_s(stretches: Stretches) -> Floats:
    """Return for each stretch the latest end of it and of the same vehicle's earlier ones, which may overlap it."""
    ends_s, rank = np.unique(stretches.ends_s, return_inverse=True)
    _, vehicle = np.unique(stretches.vehicle, return_inverse=True)
    highest = np.maximum.accumulate(vehicle * len(ends_s) + rank)
    return ends_s[highest % len(ends_s)] if len(ends_s) else ends_s


def _share(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
