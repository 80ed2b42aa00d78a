"""What benchmarks stand on: one Kafka for the whole run, and at most one running system at a time.

Neighbours: `suite` runs the benchmarks on it.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from benchmarks.contestant import Contestant
from benchmarks.running_system import RunningSystem, Shape
from benchmarks.workload import make_topics
from simulator.local_kafka import LocalKafka

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"

Say = Callable[[str], None]
ContestantT = TypeVar("ContestantT", bound=Contestant)


class Stage:
    """A Kafka whose data goes with it, and the system that was asked for last."""

    def __init__(self, models: Path, say: Say) -> None:
        self.models, self.say = models, say
        self._folder = tempfile.TemporaryDirectory(prefix="fleet-bench-")
        self._kafka = LocalKafka(Path(self._folder.name))
        self._parts, self._running = ExitStack(), ExitStack()
        self._system: RunningSystem | None = None
        self._topics: set[str] = set()

    def __enter__(self) -> Self:
        with ExitStack() as parts:
            parts.enter_context(self._folder)
            parts.enter_context(self._kafka)
            parts.enter_context(_named_by_the_environment(self._kafka))
            parts.enter_context(self._running)
            self._parts = parts.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._parts.close()

    @property
    def kafka_pid(self) -> int:
        """The broker's process."""
        return self._kafka.pid or 0

    def system(self, shape: Shape) -> RunningSystem:
        """Return a running system of this shape: the one that runs, or a new one in its place."""
        if self._system is None or self._system.shape != shape:
            self._running.close()
            self._system = self.with_topics(RunningSystem(self.models, shape, self.say), shape.partitions)
            self._running.enter_context(self._system)
        return self._system

    def with_topics(self, contestant: ContestantT, partitions: int = Shape().partitions) -> ContestantT:
        """Create a contestant's topics unless it had some; they keep the times that they are given. Returns it."""
        topics = {contestant.telemetry, contestant.scored} - self._topics
        if topics:
            make_topics(sorted(topics), partitions)
            self._topics |= topics
        return contestant


@contextmanager
def _named_by_the_environment(kafka: LocalKafka) -> Iterator[None]:
    """Let this process's clients and its children find the broker."""
    before = os.environ.get(BOOTSTRAP_VARIABLE)
    os.environ[BOOTSTRAP_VARIABLE] = kafka.bootstrap_servers
    try:
        yield
    finally:
        del os.environ[BOOTSTRAP_VARIABLE]
        if before is not None:
            os.environ[BOOTSTRAP_VARIABLE] = before
