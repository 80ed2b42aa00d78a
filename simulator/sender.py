"""Hands records to Kafka in order through a bounded queue, and counts what became of them.

Used by `publisher`, `replay` and the load test's generator; `fleet.kafka` makes the client.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Self

import msgspec

from fleet.kafka import KafkaError, KafkaException, Message, telemetry_producer
from simulator.pacing import Stop

FULL_QUEUE_POLL_S = 0.1
FLUSH_TIMEOUT_S = 10.0


class Progress(msgspec.Struct, frozen=True):
    """What became of the records so far; `handed_over` = `acknowledged` + `failed` + `waiting`.

    `skipped` fell behind the clock and `lost` went missing between vehicle and Kafka: neither was handed over.
    """

    handed_over: int = 0
    acknowledged: int = 0
    failed: int = 0
    waiting: int = 0
    skipped: int = 0
    last_failure: str = ""
    lost: int = 0

    def __add__(self, other: "Progress") -> "Progress":
        return Progress(
            self.handed_over + other.handed_over,
            self.acknowledged + other.acknowledged,
            self.failed + other.failed,
            self.waiting + other.waiting,
            self.skipped + other.skipped,
            self.last_failure or other.last_failure,
            self.lost + other.lost,
        )


class Sender:
    """One producer of one topic. Kafka being away only makes it wait; a record that Kafka refuses is counted.

    `heartbeat` is called after every batch and while the queue is full, so that someone can report. Leaving the
    context waits for what is still queued, at most 10 s. One thread at a time.
    """

    def __init__(
        self,
        topic: str,
        client_id: str,
        stop: Stop,
        heartbeat: Callable[["Sender"], None] | None = None,
        **overrides: Any,
    ) -> None:
        self._topic, self._stop, self._heartbeat = topic, stop, heartbeat
        self._handed_over = self._failed = 0
        self._last_failure = ""
        self.skipped = self.lost = 0
        # A callback per record would cost as much as sending it: only failures report, the rest is arithmetic.
        # The client's log would repeat at every attempt what `ProgressReport` says once: critical lines only.
        config = {"delivery.report.only.error": True, "on_delivery": self._note_failure, "log_level": 2, **overrides}
        self._producer = telemetry_producer(client_id, **config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None:
            self.flush()

    def send(self, keys: Iterable[str | None], values: Iterable[bytes | None]) -> None:
        """Queue records in order; while the queue is full, wait for room, or give up when `stop` is set.

        None is no key.
        """
        produce, topic = self._producer.produce, self._topic
        for key, value in zip(keys, values, strict=True):
            try:
                produce(topic, value, key)
            except BufferError:
                if not self._send_when_there_is_room(key, value):
                    break
            except KafkaException as exception:
                self._note_refusal(exception)
            self._handed_over += 1
        self.poll()

    def poll(self) -> None:
        """Serve the client's callbacks and call the heartbeat."""
        self._producer.poll(0)
        if self._heartbeat:
            self._heartbeat(self)

    def flush(self, timeout_s: float = FLUSH_TIMEOUT_S) -> int:
        """Wait until Kafka has everything; returns how many records it still has not after `timeout_s`."""
        return int(self._producer.flush(timeout_s))

    def progress(self) -> Progress:
        """Count what became of the records so far."""
        waiting = min(len(self._producer), self._handed_over - self._failed)
        return Progress(
            self._handed_over,
            self._handed_over - self._failed - waiting,
            self._failed,
            waiting,
            self.skipped,
            self._last_failure,
            self.lost,
        )

    def _send_when_there_is_room(self, key: str | None, value: bytes | None) -> bool:
        while not self._stop.is_set():
            self._producer.poll(FULL_QUEUE_POLL_S)
            if self._heartbeat:
                self._heartbeat(self)
            try:
                self._producer.produce(self._topic, value, key)
            except BufferError:
                continue
            except KafkaException as exception:
                self._note_refusal(exception)
            return True
        return False

    def _note_refusal(self, exception: KafkaException) -> None:
        self._note_failure(exception.args[0], None)

    def _note_failure(self, error: KafkaError | None, _message: Message | None) -> None:
        if error is not None:
            self._failed += 1
            self._last_failure = error.str()


class ProgressReport:
    """Says one line every few seconds about all senders of a command, and when Kafka is away or back."""

    def __init__(
        self,
        say: Callable[[str], None],
        kafka: str,
        interval_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._kafka, self._interval_s, self._clock = say, kafka, interval_s, clock
        self._said_at, self._said = clock(), Progress()
        self._is_away = False

    def update(self, now: Progress) -> None:
        """Take the sum over all senders; says something when it is time to."""
        if (passed_s := self._clock() - self._said_at) < self._interval_s:
            return
        self._tell_of_kafka(now)
        rate = (now.acknowledged - self._said.acknowledged) / passed_s
        self._say(f"{rate:,.0f} events/s; {sentence(now)}")
        self._said_at, self._said = self._clock(), now

    def _tell_of_kafka(self, now: Progress) -> None:
        stuck = now.waiting > 0 and now.acknowledged == self._said.acknowledged
        if stuck and not self._is_away:
            self._say(f"Kafka at {self._kafka} acknowledges nothing; {now.waiting:,} events wait and sending goes on")
        if self._is_away and now.acknowledged > self._said.acknowledged:
            self._say(f"Kafka at {self._kafka} acknowledges again")
        self._is_away = stuck


def sentence(progress: Progress) -> str:
    """Put the counts into words."""
    parts = [f"{progress.acknowledged:,} acknowledged", f"{progress.failed:,} failed"]
    if progress.last_failure:
        parts[-1] += f" (the last: {progress.last_failure})"
    if progress.waiting:
        parts.append(f"{progress.waiting:,} waiting")
    if progress.skipped:
        parts.append(f"{progress.skipped:,} skipped because sending fell behind the clock")
    if progress.lost:
        parts.append(f"{progress.lost:,} lost on their way from the vehicles")
    return ", ".join(parts)
