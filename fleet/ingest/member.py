"""What the parts of one member of the ingest pool share, and how one of them tells the others that it has failed.

The parts: the loop (`fleet.ingest.worker`), the consumer's thread (`fleet.ingest.polling`), the partitions that come
and go (`fleet.ingest.assignment`), the turns (`fleet.ingest.turn`), and what commits (`fleet.ingest.commit`).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fleet.counters import IngestCount
from fleet.ingest.measures import Measures
from fleet.ingest.partition.owned_partition import OwnedPartition, OwnedPartitions
from fleet.settings import Settings

STATE_THREADS = 4

ResultT = TypeVar("ResultT")


class Member:
    """Settings, clock (Unix seconds), counts and partitions of one member; used on its event loop.

    The consumer's thread counts, too, and looks partitions up.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings, self.clock = settings, clock
        self.counts: Counter[IngestCount] = Counter()
        self.measures = Measures()
        self.owned = OwnedPartitions()
        self.progress = asyncio.Event()
        """Set when something has ended, committed or failed: there may be room for a turn, or something else to do."""
        self.is_stopping = False
        self.failure: BaseException | None = None
        self._turn_at_s = time.monotonic()
        # For what takes long and is seldom: restoring episodes, encoding states.
        self._state_threads = ThreadPoolExecutor(STATE_THREADS, thread_name_prefix="state")

    def stop(self) -> None:
        """Tell the parts to come to an end."""
        self.is_stopping = True
        self.progress.set()

    def note_turn(self) -> None:
        """Note that the loop goes on."""
        self._turn_at_s = time.monotonic()

    def check(self) -> None:
        """Raise when a part has failed, or the loop has made no turn for `ingest.stuck_after_s`."""
        if self.failure is not None:
            raise RuntimeError(f"ingest stopped: {self.failure}")
        silent_s = time.monotonic() - self._turn_at_s
        if silent_s > self.settings.ingest.stuck_after_s:
            raise RuntimeError(f"ingest made no turn for {silent_s:.0f} s (ingest.stuck_after_s)")

    def begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Begin work beside the loop; where it fails, the member does."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._has_ended)
        return task

    def begin_for(self, owned: OwnedPartition, work: Coroutine[Any, Any, None]) -> None:
        """Begin what belongs to a partition, and ends with it."""
        task = self.begin(work)
        owned.tasks.add(task)
        task.add_done_callback(owned.tasks.discard)

    async def in_state_thread(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call what blocks, beside turns and commits."""
        return await asyncio.get_running_loop().run_in_executor(self._state_threads, function, *arguments)

    def close(self) -> None:
        """Begin no further call that blocks."""
        self._state_threads.shutdown(wait=False)

    def _has_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.failure = failure
        self.progress.set()
