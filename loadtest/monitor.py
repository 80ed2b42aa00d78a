"""Watches the system while it is tested: asks the gateway once a second for lag, replicas and what clients lost.

Neighbours: `run` starts and stops it, `verdict` and `page` read the series. A gateway that does not answer leaves a
gap, which is counted.
"""

import itertools
import time
import urllib.request
from dataclasses import dataclass, field

import msgspec

from loadtest.sampling import Sampler

INTERVAL_S = 1.0
TIMEOUT_S = 5.0
_MOST_BYTES = 16 * 1024 * 1024


class PipelineState(msgspec.Struct, frozen=True, rename="camel"):
    """What `GET /v1/pipeline` says that a load test needs; None where the gateway does not know it."""

    lag: int | None = None
    oldest_unscored_seconds: float | None = None
    events_per_second: float = 0.0
    replicas: dict[str, int] = {}
    dropped: int = 0
    clients: int = 0


@dataclass(slots=True)
class PipelineSeries:
    """The states in order, with their times in Unix seconds; `unanswered` questions have none."""

    times_s: list[float] = field(default_factory=list)
    states: list[PipelineState] = field(default_factory=list)
    unanswered: int = 0
    last_problem: str = ""

    @property
    def lag_max(self) -> int | None:
        """The largest lag in records, None when it was never known."""
        return max((state.lag for state in self.states if state.lag is not None), default=None)

    @property
    def oldest_unscored_max_s(self) -> float | None:
        """The largest age of an event that waited, None when it was never known."""
        ages = (state.oldest_unscored_seconds for state in self.states)
        return max((age for age in ages if age is not None), default=None)

    @property
    def dropped(self) -> int:
        """Events that slow clients of the answering gateway replicas lost meanwhile."""
        drops = [state.dropped for state in self.states]
        return sum(max(now - before, 0) for before, now in itertools.pairwise(drops))


class PipelineMonitor:
    """Asks once a second until told to stop."""

    def __init__(self, gateway: str) -> None:
        self._url = gateway.rstrip("/") + "/v1/pipeline"
        self.series = PipelineSeries()
        self._sampler = Sampler(self._ask, INTERVAL_S, "loadtest-monitor")
        self._decode = msgspec.json.Decoder(PipelineState).decode

    def start(self) -> None:
        """Begin to ask."""
        self._sampler.start()

    def stop(self) -> None:
        """Ask a last time and end; safe to call twice, and before the start."""
        if self._sampler.is_running:
            self._sampler.stop(2 * TIMEOUT_S)
            self._ask()

    def _ask(self) -> None:
        try:
            with urllib.request.urlopen(self._url, timeout=TIMEOUT_S) as response:
                state = self._decode(response.read(_MOST_BYTES))
        except (OSError, ValueError) as error:  # ValueError: a body that is no pipeline's, or a broken address
            self.series.unanswered += 1
            self.series.last_problem = f"{type(error).__name__}: {error}"
            return
        self.series.times_s.append(time.time())
        self.series.states.append(state)
