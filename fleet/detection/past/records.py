"""What is remembered of a vehicle, and what is to be computed of it, as records.

The fields of the remembered records are the columns of a state's snapshot: changing them changes
`fleet.records.state.FORMAT`.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fleet.detection.features import FeaturePlan

RECENT: Final = 64
"""So many latest events are known again when they are sent once more."""
MOVES, STANDS = 0, 1
FITTED: Final = 255

CLOCK: Final = np.dtype(
    [
        ("latest_s", "f8"),  # time of the latest event that entered the history
        ("events", "f8"),  # of the history
        ("state", "f8"),  # MOVES or STANDS, by the latest known speed
        ("interval_mean", "f8"),  # how unusual the latest intervals were
        ("lag_s", "f8"),  # how long after its own time an event is usually appended; NaN = unknown
        ("ahead_s", "f8"),  # by how much the clock is ahead of the log for good
        ("astray_run", "f8"),  # events in a row that follow each other at another time than the history's
        ("astray_s", "f8"),  # time of the last of them
        ("astray_appended_s", "f8"),
        ("right_lag_s", "f8"),  # the usual lag before the clock went wrong; NaN while it is right
        ("off_s", "f8"),  # by how much it is wrong; ahead is negative
        ("off_events", "f8"),  # events since it is
        ("ratio_log", "f8"),  # mean log of travelled distance to speed times time
        ("ratio_spread", "f8"),
        ("ratio_samples", "f8"),
        ("speed_ratio", "f8"),  # what a speed is multiplied by; 0 = not settled yet
        ("jump_north_m", "f8"),  # how far the position has jumped, until it comes back
        ("jump_east_m", "f8"),
        ("jump_events", "f8"),
        ("rate_held_s", "f8"),  # for how long the value whose rate is looked at had not changed
        ("position_grid", "f8"),  # index into POSITION_GRIDS: all positions are multiples
        ("asleep", "f8"),  # events in a row at which it stood and next to nothing changed
        ("recent", "f8"),  # place of the next fingerprint
        ("received", "f8"),  # events, whatever became of them
        ("repeats", "f8"),  # of these, sent before
        ("late", "f8"),  # likewise, measured before others that came before them
        ("late_row", "f8"),  # 1 + the row of the past before its latest long silence; 0 = none
        ("late_of", "f8"),  # of such a past: 1 + its vehicle's row
        ("late_until_s", "f8"),  # likewise: when the silence ended
        ("late_last_s", "f8"),  # likewise: time of the latest event that came late
    ],
    align=True,
)
"""What is remembered of a vehicle's times and of its ways."""
RHYTHM: Final = np.dtype(
    [
        ("log_interval", "f8"),  # mean log of the seconds from event to event
        ("spread", "f8"),  # mean distance from it
        ("intervals", "f8"),
    ],
    align=True,
)
"""How often a vehicle reports, in one state."""
MEMORY: Final = np.dtype(
    [
        ("known", "f4"),  # values since the level's history began
        ("previous", "f8"),  # the last one that was believed
        ("mean5", "f4"),  # exponential means over so many seconds
        ("mean30", "f4"),
        ("mean120", "f4"),
        ("mean480", "f4"),
        ("usual", "f4"),  # where the level usually is; what is far from it moves it little
        ("away_s", "f4"),  # for how long the level is not there
        ("back", "f4"),  # values in a row that are
        ("turn2", "f4"),  # mean square of the change from step to step
        ("step", "f4"),  # from the value before to this one
        ("stepped", "f4"),  # the largest step, fading
        ("peak", "f4"),  # the largest value, fading
        ("settled", "f4"),  # values in a row at which a shifted level stayed
        ("doubt", "f4"),  # a value that is too far from the one before to be believed yet
        ("doubts", "f4"),  # such values in a row
        ("leap", "f4"),  # how far the first of them was
        ("changes", "f4"),  # from value to value
        ("least_step", "f4"),  # the smallest of late
        ("grid", "f4"),  # index into GRIDS: all values are multiples
        ("repeats", "f4"),  # values that were the same as the one before
        ("run", "f4", 2),  # values in a row that did not change, by state
        ("change_rate", "f4", 2),  # share of values that change, by state
        ("values", "f4", 2),  # that the rate is known from
        ("frozen", "f4"),  # how surprising the run is, in nats
        ("absent", "f4", 2),  # events in a row without a value, by state
        ("seen_rate", "f4", 2),  # share of events that have one, by state
        ("events", "f4", 2),
        ("lost", "f4"),  # how surprising the absence is, in nats
        ("silent_s", "f4"),  # time without a value
    ],
    align=True,
)
"""What is remembered of one channel of a vehicle."""

FIELD: Final = np.dtype(
    [
        ("lowest", "f8"),  # a sender that has only ever sent this does not have the signal; NaN: it has
        ("highest", "f8"),  # likewise
    ],
    align=True,
)
CHANNEL: Final = np.dtype(
    [
        ("formula", "i8"),  # index into FORMULAS
        ("first", "i8"),  # columns of the signals that it is made of
        ("second", "i8"),
        ("third", "i8"),
        ("memory", "i8"),  # index into a vehicle's memories; -1 where nothing is remembered
        ("metres_per_second", "f8"),  # one unit of its formula's speed
        ("resolution", "f8"),  # the smallest difference that means something; 0 where none was given
    ],
    align=True,
)
FEATURE: Final = np.dtype(
    [
        ("kind", "i8"),  # index into KINDS
        ("channel", "i8"),  # -1 for the event's time
        ("memory", "i8"),  # its channel's
        ("code", "f8"),  # the word that it tells
        ("least_known_s", "f8"),  # of values that the channel must have had, at one a second
        ("span_s", "f8"),  # of the longer mean that it looks at
        ("fewest", "f8"),  # values that this mean spans at least
        ("lowest", "f8"),  # the range of its channel; NaN = none
        ("highest", "f8"),
    ],
    align=True,
)
SPANS_S: Final = (5.0, 30.0, 120.0, 480.0)
# A mean spans so many values at least, however seldom a vehicle reports.
FEWEST_SPANNED: Final = (2.0, 4.0, 8.0, 16.0)
# A difference of means says nothing before the longer one has seen a part of what it spans: seconds, of which span.
_LEAST_KNOWN: Final = {
    "fast": (3.0, 0), "medium": (10.0, 1), "slow": (30.0, 2), "drift": (160.0, 3), "mean5": (30.0, 1),
    "mean30": (30.0, 1), "rough": (30.0, 1),
}  # fmt: skip


class KernelPlan(NamedTuple):
    """What is to be computed: FIELD[S], CHANNEL[C] and FEATURE[K].

    After a silence of `gap_s`, and of several of a sender's usual intervals, levels begin anew. `motion` is the column
    of the speed that says whether a vehicle stands, in steps of `standstill`; -1 where there is none. What was measured
    longer ago than `late_horizon_s` is scored by its levels alone.
    """

    gap_s: float
    motion: int
    standstill: float
    late_horizon_s: float
    fields: Any
    channels: Any
    features: Any

    @classmethod
    def of(cls, plan: FeaturePlan, late_horizon_s: float) -> "KernelPlan":
        """Lay a feature plan out as records."""
        memory_of = np.full(len(plan.spec.channels) + 1, -1, np.int64)  # the last one is that of no channel
        memory_of[plan.remembered] = np.arange(len(plan.remembered))
        motion = plan.motion
        fields = np.full(len(plan.spec.fields), np.nan, FIELD)
        for number, field in enumerate(plan.spec.fields):
            if number != motion and field.role == "judged" and field.range is not None:
                fields[number] = field.range
        channels, features = _channels(plan, memory_of), _features(plan, memory_of)
        return cls(plan.spec.gap_s, motion, plan.standstill, late_horizon_s, fields, channels, features)


def _channels(plan: FeaturePlan, memory_of: npt.NDArray[np.int64]) -> Any:
    channels = np.zeros(len(plan.spec.channels), CHANNEL)
    for name, column in zip(("formula", "first", "second", "third"), plan.sources.T, strict=True):
        channels[name] = column
    channels["memory"] = memory_of[:-1]
    channels["metres_per_second"], channels["resolution"] = plan.metres_per_second, plan.resolutions
    return channels


def _features(plan: FeaturePlan, memory_of: npt.NDArray[np.int64]) -> Any:
    features = np.zeros(len(plan.features), FEATURE)
    features["kind"], features["channel"] = plan.columns.T
    features["memory"], features["code"] = memory_of[plan.columns[:, 1]], plan.parameters
    least = [_LEAST_KNOWN.get(feature.kind, (0.0, 1)) for feature in plan.features]
    features["least_known_s"] = [seconds for seconds, _ in least]
    features["span_s"], features["fewest"] = zip(*((SPANS_S[s], FEWEST_SPANNED[s]) for _, s in least), strict=True)
    channels = [plan.spec.channels[feature.channel] if feature.channel >= 0 else None for feature in plan.features]
    ranges = [(np.nan, np.nan) if channel is None else channel.range or (np.nan, np.nan) for channel in channels]
    features["lowest"], features["highest"] = zip(*ranges, strict=True)
    return features


class Events(NamedTuple):
    """N events of V vehicles in log order, with S signals each."""

    rows: npt.NDArray[np.intp]
    """intp[N]: whose event it is."""
    time_s: npt.NDArray[np.float64]
    appended_s: npt.NDArray[np.float64]
    """float64[N]: the log's time; NaN = unknown."""
    signals: npt.NDArray[np.float64]
    """float64[N, S], finite or NaN = unknown."""
    free_rows: npt.NDArray[np.intp]
    """intp[F]: rows that no vehicle has; the first are taken first."""


class Vehicles(NamedTuple):
    """What is remembered of V vehicles; `fleet.detection.past.kernel.advance` changes it."""

    clocks: Any
    """CLOCK[V]."""
    rhythms: Any
    """RHYTHM[V, 2]: driving and standing."""
    fingerprints: npt.NDArray[np.float32]
    """float32[V, RECENT]: of the latest events, to know them again."""
    fillings: npt.NDArray[np.uint8]
    """uint8[V, S]: how often a signal was the firmware's filling and never anything else; FITTED once it was."""
    signals: npt.NDArray[np.float64]
    """float64[V, S]: those of the latest event of the history."""
    memories: Any
    """MEMORY[V, M]."""

    @classmethod
    def none(cls, plan: FeaturePlan, count: int) -> "Vehicles":
        """Remember nothing of `count` vehicles."""
        return cls(
            clocks=np.zeros(count, CLOCK),
            rhythms=np.zeros((count, 2), RHYTHM),
            fingerprints=np.full((count, RECENT), -1.0, np.float32),
            fillings=np.zeros((count, len(plan.spec.fields)), np.uint8),
            signals=np.zeros((count, len(plan.spec.fields))),
            memories=np.zeros((count, len(plan.remembered)), MEMORY),
        )


class Answers(NamedTuple):
    """What `fleet.detection.past.kernel.advance` fills in for N events."""

    features: npt.NDArray[np.float32]
    """float32[N, K]."""
    warming_up: npt.NDArray[np.bool_]
    repeats: npt.NDArray[np.bool_]
    is_doubtful: npt.NDArray[np.bool_]
    usual_interval_s: npt.NDArray[np.float64]
    """float64[N]: how often the vehicle reports; 0 = unknown."""
    stands: npt.NDArray[np.bool_]
    rows_taken: npt.NDArray[np.int64]
    """int64[1]: how many of the free rows are in use now."""
