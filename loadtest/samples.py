"""What the clients of the gateway measured, in a form that goes from process to process and adds up.

Neighbours: `locust_clients` fills it, `clients` adds it up, `verdict` and `page` read it. Pure.
"""

from array import array
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]


class Samples:
    """Requests or frames as they come: when each was due, from the start, and how long it took; failures by reason."""

    def __init__(self) -> None:
        self.offsets_s, self.latencies_ms = array("d"), array("f")
        self.failures: dict[str, int] = {}

    def add(self, offset_s: float, latency_ms: float) -> None:
        """Enter one that was answered."""
        self.offsets_s.append(offset_s)
        self.latencies_ms.append(latency_ms)

    def fail(self, reason: str, count: int = 1) -> None:
        """Count what was not answered as it should be."""
        self.failures[reason] = self.failures.get(reason, 0) + count

    def sealed(self) -> "Measured":
        """Return what was measured, ready to travel."""
        return Measured(self.offsets_s.tobytes(), self.latencies_ms.tobytes(), self.failures)


class Measured(msgspec.Struct, frozen=True):
    """Sealed samples: float64 and float32 as bytes."""

    offsets: bytes = b""
    latencies: bytes = b""
    failures: dict[str, int] = {}

    @property
    def offsets_s(self) -> Float64s:
        """When each answered one was due, in seconds from the start: float64[N]."""
        return np.frombuffer(self.offsets, np.float64)

    @property
    def latencies_ms(self) -> Float64s:
        """How long each took, from when it was due: float64[N]."""
        return np.frombuffer(self.latencies, np.float32).astype(np.float64)

    @property
    def failed(self) -> int:
        """How many were not answered as they should be."""
        return sum(self.failures.values())

    @property
    def failed_share(self) -> float:
        """Failed of all; 0 when there was none."""
        count = len(self.offsets_s) + self.failed
        return self.failed / count if count else 0.0

    def percentiles_ms(self, *percents: float) -> list[float]:
        """Return percentiles of those that were answered; NaN when none was."""
        latencies = self.latencies_ms
        return [float(np.percentile(latencies, percent)) if len(latencies) else float("nan") for percent in percents]


def joined(parts: Iterable[Measured]) -> Measured:
    """Add up."""
    total = Samples()
    offsets, latencies = b"", b""
    for part in parts:
        offsets, latencies = offsets + part.offsets, latencies + part.latencies
        for reason, count in part.failures.items():
            total.fail(reason, count)
    return Measured(offsets, latencies, total.failures)
