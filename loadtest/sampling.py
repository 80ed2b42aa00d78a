"""One thread that looks at something again and again: the load test's monitor, and the fault suite's watches.

Neighbours: `monitor` asks the gateway in it, `faults.lag` Kafka, `faults.memory` the processes.
"""

import threading
from collections.abc import Callable
from typing import Self


class Sampler:
    """Calls `sample` every `interval_s` seconds in a thread of its own, the first time after one interval.

    The interval lies between the end of a call and the beginning of the next one: a slow answer is never asked twice.
    """

    def __init__(self, sample: Callable[[], None], interval_s: float, name: str) -> None:
        self._sample, self._interval_s = sample, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin; once."""
        self._thread.start()

    def stop(self, timeout_s: float | None = None) -> None:
        """Wait for the call that is under way, and end; safe to call twice, and before the start."""
        self._stop.set()
        if self.is_running:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._sample()
