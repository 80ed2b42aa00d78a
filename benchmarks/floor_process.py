"""The floor as a contestant: it lives in a process of its own, and is told which offsets to take next.

Neighbours: `floor` is what runs there, `race` tells it.
"""

import multiprocessing
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

from benchmarks.costs import Roles, tree
from benchmarks.floor import Floor
from benchmarks.silence import silent_stderr
from fleet.errors import LocalServiceError
from fleet.kafka import OffsetRange
from simulator.child_process import leave_signals_to_the_parent

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
READY = "ready"


class FloorProcess:
    """The floor in a process of its own; entering the context returns when it is ready to read."""

    def __init__(self, models: Path, *, exactly_once: bool, label: str = "") -> None:
        """Plan it; `label` sets its topics apart from another floor's of the same run."""
        self.name = "floor" if exactly_once else "floor, at least once"
        kind = "exactly-once" if exactly_once else "at-least-once"
        self._id = "-".join(filter(None, ("floor", kind, label)))
        self.telemetry, self.scored = f"{self._id}-telemetry", f"{self._id}-scored"
        self.group_id = f"benchmark-{self._id}"
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, models, self._id, self.telemetry, self.scored, exactly_once)
        self._process = context.Process(target=_run, args=arguments, name=self._id, daemon=True)
        self._theirs = theirs

    def __enter__(self) -> Self:
        self._process.start()
        self._theirs.close()
        self._expect_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(STOP_TIMEOUT_S)
        self._process.kill()
        self._process.join()

    def announce(self, ranges: Mapping[int, OffsetRange]) -> None:
        """Let it read these offsets, as soon as they are visible. Raises LocalServiceError when it has ended."""
        if not self._process.is_alive():
            raise LocalServiceError(f"The {self.name} has ended: see the lines above.")
        self._pipe.send(dict(ranges))

    def roles(self) -> Roles:
        """Return its process."""
        return {"floor": tree(self._process.pid or 0)}

    def _expect_ready(self) -> None:
        if not (self._pipe.poll(START_TIMEOUT_S) and self._received() == READY):
            self.__exit__()
            raise LocalServiceError(f"The {self.name} did not start: see the lines above.")

    def _received(self) -> object:
        try:
            return self._pipe.recv()
        except EOFError:
            return None


def _run(pipe: Connection, models: Path, name: str, telemetry: str, scored: str, exactly_once: bool) -> None:
    """Take ranges as they are told until the other end has gone."""
    leave_signals_to_the_parent()
    with silent_stderr():
        floor = Floor(models, name, exactly_once=exactly_once)
    pipe.send(READY)
    while True:
        try:
            ranges: dict[int, OffsetRange] = pipe.recv()
        except EOFError:
            return
        floor.run(telemetry, ranges, scored)
