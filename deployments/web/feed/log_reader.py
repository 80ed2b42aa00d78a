"""Reads stretches of the scored topic for subscriptions that resume further back than memory reaches.

So many at once, and no more: each has a thread and a client of Kafka's. The next run of records is fetched when the
one before it was sent, so that a slow client reads slowly.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

from fleet import kafka
from fleet.delivery.feed.block import Place
from fleet.delivery.feed.cursor import Positions
from fleet.delivery.feed.recovery import Edges
from fleet.kafka import Message, OffsetRange
from fleet.settings import KafkaSettings

PATIENCE_S = 10.0

Records = list[tuple[Place, bytes | None]]


class LogReader:
    """At most `most_readers` readers of the scored topic; who comes later waits."""

    def __init__(self, settings: KafkaSettings, most_readers: int) -> None:
        self._settings = settings
        self._free = asyncio.Semaphore(most_readers)

    async def edges(self) -> Edges:
        """Ask where the scored topic begins and ends. Raises KafkaUnavailableError, TopicMismatchError."""
        async with self._free:
            return await asyncio.to_thread(self._edges)

    def _edges(self) -> Edges:
        held = kafka.held_offsets(kafka.admin_client(), self._settings.topics.scored, committed=True)
        return Edges(
            {p: offsets.first for p, offsets in held.items()}, {p: offsets.next for p, offsets in held.items()}
        )

    async def read(self, first: Positions, following: Positions) -> AsyncIterator[Records]:
        """Yield the records from `first` up to `following`, in runs of one partition each.

        Raises RetentionGapError where some are gone, KafkaUnavailableError.
        """
        ranges = {partition: OffsetRange(first.get(partition, 0), offset) for partition, offset in following.items()}
        loop = asyncio.get_running_loop()
        await self._free.acquire()
        thread = ThreadPoolExecutor(1, "feed-log-reader")
        runs = kafka.read_ranges(self._settings, self._settings.topics.scored, ranges, "feed-log-reader", PATIENCE_S)
        try:
            while (records := await loop.run_in_executor(thread, _next_run, runs)) is not None:
                yield records
        finally:
            # In the same thread: it may be waiting for Kafka still. Its place is free when its client is closed.
            closed = thread.submit(runs.close)
            closed.add_done_callback(lambda _: loop.call_soon_threadsafe(self._free.release))
            thread.shutdown(wait=False)


def _next_run(runs: Iterator[tuple[int, list[Message]]]) -> Records | None:
    run = next(runs, None)
    if run is None:
        return None
    partition, messages = run
    return [(Place(partition, message.offset()), message.value()) for message in messages]
