"""What a contestant has said of each event: read from its scored topic, checked for order, compared with the floor's.

Neighbours: `race` reads a lap's verdicts, the benchmarks compare them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.errors import FleetError
from fleet.events.fields import wire_name
from fleet.kafka import OffsetRange, read_ranges
from fleet.settings import KafkaSettings

Float64s = NDArray[np.float64]

# A block's size decides in which order TensorFlow adds: errors differ in their last digits.
RELATIVE_TOLERANCE = 1e-3


class BenchmarkError(FleetError):
    """A benchmark's own output is wrong: its figures would be worth nothing."""


class _Scored(msgspec.Struct, rename=wire_name, gc=False):
    source: str
    reconstruction_error: float = 0.0
    is_anomaly: bool = False
    anomaly_type: str | None = None
    warming_up: bool = False
    repeat: bool = False
    episode_id: str | None = None


_decode = msgspec.json.Decoder(_Scored).decode


class Said(NamedTuple):
    """What is said of one event beside its error; all of it must be the same."""

    is_anomaly: bool
    cause: str | None
    warming_up: bool
    repeat: bool
    in_episode: bool


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The verdicts on a segment, by partition and in the order of the log; every event of it has exactly one."""

    errors: dict[int, Float64s]
    said: dict[int, list[Said]]
    last_offsets: dict[int, int]
    """Of the last result of each partition, in the scored topic."""


class Reference:
    """What the floor has said so far of each partition, from its first event on."""

    def __init__(self) -> None:
        self._errors: dict[int, Float64s] = {}
        self._said: dict[int, list[Said]] = {}

    def add(self, verdicts: Verdicts) -> None:
        """Take the floor's next verdicts."""
        for partition, errors in verdicts.errors.items():
            self._errors[partition] = np.concatenate([self._errors.get(partition, errors[:0]), errors])
            self._said.setdefault(partition, []).extend(verdicts.said[partition])

    def differing(self, verdicts: Verdicts, begins_at: Mapping[int, int]) -> int:
        """Count the events of which something else is said; `begins_at` is how many of a partition came before.

        Raises BenchmarkError when the floor was not given so many events.
        """
        return sum(self._differing(p, verdicts, begins_at.get(p, 0)) for p in verdicts.said)

    def _differing(self, partition: int, verdicts: Verdicts, begin: int) -> int:
        ours, end = verdicts.errors[partition], begin + len(verdicts.errors[partition])
        theirs = self._errors[partition][begin:end]
        if len(theirs) < len(ours):
            raise BenchmarkError("A contestant was given more events than the floor.")
        close = np.isclose(ours, theirs, rtol=RELATIVE_TOLERANCE, atol=RELATIVE_TOLERANCE)
        pairs = zip(verdicts.said[partition], self._said[partition][begin:end], close.tolist(), strict=True)
        return sum(own != other or not is_close for own, other, is_close in pairs)


def read_verdicts(
    topic: str, begins_at: Mapping[int, int], ends_at: Mapping[int, int], ranges: Mapping[int, OffsetRange]
) -> Verdicts:
    """Read the results that stand between these offsets of the scored topic.

    Raises BenchmarkError unless they are those of `ranges`: each event once, in the order of its partition.
    """
    values: dict[int, list[_Scored]] = {partition: [] for partition in ranges}
    last_offsets: dict[int, int] = {}
    wanted = {partition: OffsetRange(begins_at[partition], end) for partition, end in ends_at.items()}
    for partition, messages in read_ranges(KafkaSettings(), topic, wanted, "benchmark-verdicts"):
        values[partition] += [_decode(message.value()) for message in messages]
        last_offsets[partition] = messages[-1].offset()
    for partition, held in ranges.items():
        _require_each_once(topic, partition, [scored.source for scored in values[partition]], held)
    kept: dict[Said, Said] = {}  # there are few different ones
    return Verdicts(
        {partition: np.array([scored.reconstruction_error for scored in held]) for partition, held in values.items()},
        {partition: [kept.setdefault(said, said) for said in map(_said, held)] for partition, held in values.items()},
        last_offsets,
    )


def _require_each_once(topic: str, partition: int, sources: list[str], held: OffsetRange) -> None:
    wanted = [f"{partition}:{offset}" for offset in range(held.first, held.next)]
    if sources == wanted:
        return
    missing, extra = len(set(wanted) - set(sources)), len(sources) - len(set(sources) & set(wanted))
    what = f"{missing:,} missing, {extra:,} too many" if missing or extra else "out of order"
    raise BenchmarkError(f"{topic}, partition {partition}: of {len(wanted):,} events, {what}.")


def _said(scored: _Scored) -> Said:
    return Said(scored.is_anomaly, scored.anomaly_type, scored.warming_up, scored.repeat, scored.episode_id is not None)
