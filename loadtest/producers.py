"""Runs the processes that produce: started together, followed while they send, ended within a bounded time.

Neighbours: `generator` is what runs in them, `run` asks for them and takes what they did.
"""

import contextlib
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Self

from fleet.errors import LocalServiceError
from loadtest.generator import OVERTIME_S, Load, PartProduced, Produced, generate, joined
from simulator.child_process import tell
from simulator.pacing import Stop
from simulator.sender import FLUSH_TIMEOUT_S, Progress

CHECK_INTERVAL_S = 0.1
READY_TIMEOUT_S = 60.0  # to import, and to place the vehicles
GRACE_S = OVERTIME_S + FLUSH_TIMEOUT_S + 15.0
ENDED_WITH_AN_ERROR = "The load generator ended with an error: see the lines above."


class Producers:
    """The processes of one load; they are gone when the context is left, whatever happened."""

    def __init__(self, load: Load) -> None:
        self._load = load
        context = multiprocessing.get_context("spawn")
        self._pipes: dict[Connection, multiprocessing.process.BaseProcess] = {}
        for part in range(load.parts if load.events else 0):
            ours, theirs = context.Pipe()
            process = context.Process(target=generate, args=(load, part, theirs), name=f"loadtest-generator-{part}")
            process.start()
            theirs.close()
            self._pipes[ours] = process
        self._counts = dict.fromkeys(self._pipes, Progress())
        self._parts: dict[Connection, PartProduced] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._pipes.values():
            process.join(1.0)
            process.kill()
            process.join()

    def wait_until_ready(self) -> None:
        """Wait until every process could begin at once. Raises LocalServiceError."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        for pipe in self._pipes:
            if not pipe.poll(max(deadline - time.monotonic(), 0.0)):
                raise LocalServiceError(f"The load generator was not ready within {READY_TIMEOUT_S:.0f} s.")
            try:
                pipe.recv()
            except EOFError:
                raise LocalServiceError(ENDED_WITH_AN_ERROR) from None

    def begin(self, start_s: float) -> None:
        """Let all begin at a Unix time."""
        for pipe in self._pipes:
            tell(pipe, start_s)

    def follow(self, stop: Stop, report: Callable[[Progress], None]) -> Produced:
        """Take their counts until all are done; asks them to end when `stop` is set. Raises LocalServiceError."""
        deadline, is_asked = time.monotonic() + self._load.seconds + GRACE_S, False
        while (waiting := [pipe for pipe in self._pipes if pipe not in self._parts]) and time.monotonic() < deadline:
            if stop.is_set() and not is_asked:
                is_asked = True
                for pipe in waiting:
                    tell(pipe, "end")
            ready = wait(waiting, CHECK_INTERVAL_S)
            for pipe in [pipe for pipe in waiting if pipe in ready]:
                self._take(pipe)
            report(sum(self._counts.values(), Progress()))
        if waiting:
            raise LocalServiceError(
                "The load generator did not end in time: lower the rate, or use a machine that is less busy."
            )
        return joined(self._load, list(self._parts.values()))

    def _take(self, pipe: Connection) -> None:
        told: Progress | PartProduced | None = None
        with contextlib.suppress(EOFError):
            told = pipe.recv()
        if told is None:
            raise LocalServiceError(ENDED_WITH_AN_ERROR)
        if isinstance(told, PartProduced):
            self._parts[pipe], told = told, told.progress
        self._counts[pipe] = told
