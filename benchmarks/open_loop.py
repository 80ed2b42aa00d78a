"""The load of the latency benchmark: simulated vehicles that send when it is their moment, whoever is slow.

An event's timestamp is the moment at which it was due, so that what waits anywhere, here included, counts as latency.
Unlike the load test's events these have no fields of their own: unknown fields take the slower way through the product.

Neighbours: `simulator.publisher` paces and sends; `latency` starts this in a process of its own.
"""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
import psutil

from fleet.errors import LocalServiceError
from simulator.child_process import PipeStop, leave_signals_to_the_parent, tell
from simulator.publisher import Columns, FleetPlan, encode_rows, publish_in_one_process
from simulator.vehicles import FAULTS

FIRST_VEHICLE = 3_000_000
SEED = 7
FINISH_TIMEOUT_S = 60.0
# A wrong clock would look like lateness, and a message lost before Kafka like one that the system lost.
_FAULTS = tuple(fault for fault in FAULTS if fault not in ("clock_skew", "message_loss"))


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: how many events Kafka acknowledged, when the first was due, how late the generator itself was."""

    acknowledged: int
    first_due_s: float
    late_p99_ms: float


class OpenLoop:
    """A running generator; `finished` waits for its end."""

    def __init__(self, pipe: Connection, process: psutil.Process) -> None:
        self.process = process
        self._pipe = pipe

    def finished(self, seconds: float) -> Sent:
        """Return what was sent, once all is. Raises LocalServiceError."""
        if self._pipe.poll(seconds + FINISH_TIMEOUT_S):
            try:
                sent: Sent = self._pipe.recv()
                return sent
            except EOFError:
                pass
        raise LocalServiceError("The load generator did not end well: see the lines above.")


@contextmanager
def open_loop(topic: str, rate: int, seconds: float, round_: int) -> Iterator[OpenLoop]:
    """Send `rate` events a second, one from each of as many vehicles; each round has vehicles of its own."""
    plan = FleetPlan(
        rate, topic, FIRST_VEHICLE + round_ * 100_000, SEED, 1.0, seconds, faults=_FAULTS, is_lossless=True
    )
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_generate, args=(plan, theirs), name="open-loop", daemon=True)
    process.start()
    theirs.close()
    try:
        yield OpenLoop(ours, psutil.Process(process.pid))
    finally:
        ours.close()
        process.join(1.0)
        process.kill()
        process.join()


def _generate(plan: FleetPlan, pipe: Connection) -> None:
    leave_signals_to_the_parent()
    due_s: list[float] = []
    late_s: list[float] = []

    def encode(columns: Columns) -> list[bytes]:
        due_s.append(columns[1][0])
        late_s.append(time.time() - columns[1][0])
        return encode_rows(columns)

    progress = publish_in_one_process(plan, PipeStop(pipe), lambda _: None, encode, client_id="open-loop")
    tell(pipe, Sent(progress.acknowledged, due_s[0], float(np.percentile(late_s, 99)) * 1000))
