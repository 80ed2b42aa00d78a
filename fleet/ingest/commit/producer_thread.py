"""The member's transactional producer, and the thread that its calls block."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fleet import kafka
from fleet.counters import IngestCount
from fleet.errors import CommitUncertainError, FleetError
from fleet.ingest.abandoned_calls import AbandonedCalls
from fleet.kafka import CommitPart, TransactionalProducer
from fleet.settings import Settings

LONGEST_CHANGE_S = 2.0
# The client keeps to its own time-outs, with one exception (`_call`); so much later a call is abandoned.
GRACE_S = 1.0
MOST_ABANDONED = 8  # each holds a thread and a client until it comes back

ResultT = TypeVar("ResultT")


class ProducerThread:
    """Publishes for the event loop, one call at a time; each raises CommitUncertainError when the client hangs."""

    def __init__(self, settings: Settings, counts: Counter[IngestCount]) -> None:
        self._settings, self._counts = settings, counts
        self._lead: int | None = None
        self._abandoned = AbandonedCalls()
        self._begin(lead=None)

    def _begin(self, lead: int | None) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._producer = TransactionalProducer(self._settings.kafka, self._settings.ingest, lead)

    async def lead(self, partitions: Iterable[int]) -> None:
        """Let one of these be the lead unless the lead is among them; for what is committed from now on.

        Its id is opened now and not with the first commit: a member that has been expelled meanwhile must not fence
        its heirs.
        """
        remaining = sorted(partitions)
        lead = self._lead if self._lead in remaining else next(iter(remaining), None)
        if lead != self._lead:
            self._lead = lead
            # Not for ever: with Kafka away the thread may be in a commit for long, and the group waits for this member.
            # Whoever is given the old lead meanwhile fences what still goes on under it, which is safe.
            changing = asyncio.get_running_loop().run_in_executor(self._thread, self._producer.follow, lead)
            await asyncio.wait([changing], timeout=LONGEST_CHANGE_S)

    async def commit(self, parts: Sequence[CommitPart], group_metadata: Any, timeout_s: float) -> None:
        """Bring parts about in one transaction; raises what `TransactionalProducer.commit` does."""
        await self._call(timeout_s, self._producer.commit, parts, group_metadata, timeout_s)

    async def publish(self, parts: Sequence[CommitPart], timeout_s: float) -> None:
        """Publish parts without a transaction; raises what `TransactionalProducer.publish` does."""
        await self._call(timeout_s, self._producer.publish, parts, timeout_s)

    async def settled_offsets(self, partitions: Sequence[int], timeout_s: float) -> dict[int, int | None]:
        """Read committed offsets once nothing that this producer began is uncertain. Raises KafkaUnavailableError.

        A producer made anew waits until the coordinator has decided; only then do the committed offsets tell how.
        """
        await self._call(timeout_s, self._producer.open)
        return await self._call(timeout_s, kafka.committed_offsets, self._settings.kafka, partitions)

    def close(self) -> None:
        """Let go of the producer, after the call that it may still be in."""
        self._thread.submit(self._producer.close)
        self._thread.shutdown(wait=False)

    async def _call(self, timeout_s: float, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call what keeps to a time-out by itself. Raises CommitUncertainError when it does not come back even so.

        `send_offsets_to_transaction` can hang for ever when the broker that coordinates the group has gone and come
        back (librdkafka issues 5456 and 5511). Such a call is abandoned with its thread and its producer; should it
        still go on some day, its transactional id has been opened anew by then.
        """
        call = asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        if (await asyncio.wait([call], timeout=timeout_s + GRACE_S))[0]:
            return call.result()
        self._abandon(call)
        raise CommitUncertainError(f"no answer from Kafka's client within {timeout_s + GRACE_S:g} s")

    def _abandon(self, call: "asyncio.Future[Any]") -> None:
        """Leave a call its thread and its producer, and go on with others. Raises FleetError when too many hang."""
        self._abandoned.add(call)
        self._counts[IngestCount.COMMITS_GIVEN_UP] += 1
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._producer.give_up()
        self._begin(self._lead)
        if len(self._abandoned) > MOST_ABANDONED:
            raise FleetError(f"{len(self._abandoned)} calls of Kafka's client hang: this member has to be replaced.")
