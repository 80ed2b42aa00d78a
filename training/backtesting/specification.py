"""What a recording can be judged by: the channel specification that its rows support.

A memory over T events is worth having when the rows to fit hold many independent stretches of T and the histories are
longer than T; otherwise it describes the recording and not the vehicle. See `kinds_for`.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from fleet.events.channels import DEFAULT_FEATURES, ChannelSpec, FeatureKind, plain_spec
from training.backtesting.histories import gap_after_s, prepare, usual_interval_s
from training.backtesting.recordings import Recordings

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]

# Events that the longest memory behind a kind of feature spans.
_MEMORY_EVENTS: Final[Mapping[FeatureKind, int]] = {"fast": 5, "medium": 30, "rough": 30, "slow": 120, "drift": 480}
# So many stretches of its length must the rows to fit hold for a memory to be worth having.
_STRETCHES: Final = 24


def kinds_for(rows: int, history_rows: float) -> tuple[FeatureKind, ...]:
    """Choose what a channel is looked at with, for `rows` rows to fit in histories of usually `history_rows`.

    A mean over T events has about rows / T independent values: with fewer than `_STRETCHES` of them its spread is
    not known, and in histories shorter than 2 T it has no past of its own.
    """
    longest = min(rows / _STRETCHES, history_rows / 2)
    return tuple(kind for kind in DEFAULT_FEATURES if _MEMORY_EVENTS.get(kind, 0) <= longest)


def spec_for(recordings: Recordings, described: ChannelSpec | None) -> ChannelSpec:
    """Return the specification to fit rows with: `described` as they support it, or the channels alone."""
    spec = channels_alone(recordings) if described is None else fitted_to(described, recordings)
    known = set(np.array(recordings.channels)[~np.isnan(recordings.values).all(axis=0)].tolist())
    # Of what was never seen nothing can be said: it stays a field of the event and is neither judged nor told.
    return msgspec.structs.replace(
        spec,
        channels=tuple(
            channel
            if channel.formula is not None or channel.name in known
            else msgspec.structs.replace(channel, role="judged", kind="number", codes={}, features=())
            for channel in spec.channels
        ),
    )


def channels_alone(recordings: Recordings) -> ChannelSpec:
    """Describe recordings of which nothing is known but the names of their channels."""
    gap_s = gap_after_s(usual_interval_s(recordings))
    rows_of = np.bincount(prepare(recordings, gap_s).history)
    usual = float((rows_of**2).sum() / rows_of.sum())  # of the history that a row is in
    return plain_spec("recording", recordings.channels, gap_s, kinds_for(len(recordings), usual))


def fitted_to(spec: ChannelSpec, recordings: Recordings) -> ChannelSpec:
    """Return a specification with the recording's own gap, and without memories that its rows cannot support."""
    alone = channels_alone(recordings)
    kinds = set(alone.channels[0].features)
    kept = tuple(
        msgspec.structs.replace(
            channel, features=tuple(k for k in channel.features if k not in _MEMORY_EVENTS or k in kinds)
        )
        for channel in spec.channels
    )
    return msgspec.structs.replace(spec, channels=kept, gap_s=alone.gap_s, timing=False)
