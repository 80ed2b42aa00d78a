"""One load test from its start to its figures: readers first, then the generator, then a bounded wait for the rest.

Neighbours: `generator` produces in its own process, `readers` take what comes out, `report` puts it into words.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

from fleet.errors import LocalServiceError
from loadtest.arrivals import Arrivals
from loadtest.generator import Load, Produced, generate
from loadtest.readers import Reader, ScoredTopicReader, WebSocketReader
from simulator.child_process import tell
from simulator.pacing import Stop
from simulator.sender import Progress

PROGRESS_INTERVAL_S = 5.0
CHECK_INTERVAL_S = 0.1
GENERATOR_GRACE_S = 45.0  # for its start, its flush, and being slow


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a load test found."""

    load: Load
    produced: Produced
    readers: Sequence[Reader]

    def lost(self, reader: Reader) -> int:
        """How many events Kafka had acknowledged and this reader never saw."""
        return max(self.produced.progress.acknowledged - reader.arrivals.unique, 0)

    @property
    def is_clean(self) -> bool:
        """Whether everything arrived exactly once and in order, everywhere."""
        books_are_clean = all(
            not (self.lost(reader) or reader.arrivals.duplicates or reader.arrivals.reordered or reader.failure)
            for reader in self.readers
        )
        progress = self.produced.progress
        return books_are_clean and not progress.failed and not progress.waiting


def run_load_test(
    load: Load, scored_topic: str, websocket_url: str | None, drain_s: float, stop: Stop, say: Callable[[str], None]
) -> Outcome:
    """Run a load test; takes at most its seconds, 45 s of grace and `drain_s` without any arrival.

    Raises FleetError when a reader cannot connect or the generator ends with an error.
    """
    readers = _readers(load, scored_topic, websocket_url)
    try:
        for reader in readers:
            reader.start()
        produced = _produce(load, readers, stop, say)
        _drain(produced.progress.acknowledged, readers, drain_s, stop)
    finally:
        for reader in readers:
            reader.stop()
    return Outcome(load, produced, readers)


def _readers(load: Load, scored_topic: str, websocket_url: str | None) -> list[Reader]:
    readers: list[Reader] = [ScoredTopicReader(scored_topic, load.run, Arrivals(load.events, load.vehicles))]
    if websocket_url:
        readers.append(WebSocketReader(websocket_url, load.run, Arrivals(load.events, load.vehicles)))
    return readers


def _produce(load: Load, readers: Sequence[Reader], stop: Stop, say: Callable[[str], None]) -> Produced:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=generate, args=(load, theirs), name="loadtest-generator")
    process.start()
    theirs.close()
    try:
        return _follow(ours, time.monotonic() + load.seconds + GENERATOR_GRACE_S, readers, stop, say)
    finally:
        ours.close()
        process.join(1.0)
        process.kill()
        process.join()


def _follow(
    pipe: Connection, deadline: float, readers: Sequence[Reader], stop: Stop, say: Callable[[str], None]
) -> Produced:
    """Take the generator's counts until its result comes; asks it to end when `stop` is set."""
    said_at, is_asked = time.monotonic(), False
    while time.monotonic() < deadline:
        if stop.is_set() and not is_asked:
            is_asked = True
            tell(pipe, "end")
        if not pipe.poll(CHECK_INTERVAL_S):
            continue
        try:
            told: Progress | Produced = pipe.recv()
        except EOFError:
            raise LocalServiceError("The load generator ended with an error: see the lines above.") from None
        if isinstance(told, Produced):
            return told
        if time.monotonic() - said_at >= PROGRESS_INTERVAL_S:
            said_at = time.monotonic()
            say(_progress(told, readers))
    raise LocalServiceError(
        "The load generator did not end in time: lower the rate, or use a machine that is less busy."
    )


def _progress(produced: Progress, readers: Sequence[Reader]) -> str:
    arrived = "".join(f"; {reader.name} {reader.arrivals.received:,}" for reader in readers)
    return f"{produced.acknowledged:,} produced{arrived}"


def _drain(expected: int, readers: Sequence[Reader], drain_s: float, stop: Stop) -> None:
    """Wait until every reader has everything, or nothing has arrived anywhere for `drain_s`."""
    received, changed_at = -1, time.monotonic()
    while any(reader.arrivals.unique < expected and not reader.failure for reader in readers):
        if (now := sum(reader.arrivals.received for reader in readers)) != received:
            received, changed_at = now, time.monotonic()
        if time.monotonic() - changed_at > drain_s or stop.wait(CHECK_INTERVAL_S):
            return
