"""A client of the live feed that takes every frame, notes when it came, and reads it only after the run.

Neighbours: `latency` connects it.
"""

import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.verdicts import BenchmarkError
from faults.screens import FrameReader
from fleet.errors import LocalServiceError
from fleet.events.fields import wire_name


class _Event(msgspec.Struct, rename=wire_name, gc=False):
    source: str
    timestamp: float
    appended_at: float
    ingested_at: float
    scored_at: float


class Seen(msgspec.Struct, frozen=True):
    """What arrived: N different events, float64[N] Unix seconds each, in the order of arrival."""

    due_s: NDArray[np.float64]
    appended_at_s: NDArray[np.float64]
    ingested_at_s: NDArray[np.float64]
    scored_at_s: NDArray[np.float64]
    arrived_at_s: NDArray[np.float64]


_decode = msgspec.json.Decoder(list[_Event]).decode


class Screen(FrameReader):
    """Connected from entering the context until leaving it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._frames: list[tuple[float, bytes]] = []
        self._frames_counted = self._events_counted = 0

    def take(self, frame: bytes) -> None:
        """Note when a frame came; it is read after the run."""
        self._frames.append((time.time(), frame))

    @property
    def last_frame_at_s(self) -> float:
        """When the last frame arrived, Unix seconds; 0 before the first."""
        return self._frames[-1][0] if self._frames else 0.0

    def events_so_far(self) -> int:
        """Count what has arrived; each event names its source once."""
        while self._frames_counted < len(self._frames):
            self._events_counted += self._frames[self._frames_counted][1].count(b'"source":')
            self._frames_counted += 1
        return self._events_counted

    def seen(self) -> Seen:
        """Read the frames. Raises BenchmarkError when one event came twice, or one of a partition out of order."""
        if self.failure is not None:
            raise LocalServiceError(f"The live feed ended: {self.failure}.")
        times_s: list[tuple[float, float, float, float, float]] = []
        last: dict[str, int] = {}
        for at_s, frame in self._frames:
            for event in _decode(frame):
                partition, _, offset = event.source.partition(":")
                if int(offset) <= last.get(partition, -1):
                    raise BenchmarkError(f"The live feed showed {event.source} twice, or too late.")
                last[partition] = int(offset)
                times_s.append((event.timestamp, event.appended_at, event.ingested_at, event.scored_at, at_s))
        return Seen(*np.array(times_s, np.float64).reshape(-1, 5).T)
