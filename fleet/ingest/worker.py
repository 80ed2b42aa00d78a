"""One member of the ingest pool: polls Kafka, runs a pipeline per owned partition, publishes and commits.

One event's way through it, in turns: `_poll` (messages by partition) → `_read` (decode and window, per partition) →
`_score` (one remote call for the whole turn) → `_finish` (per partition again and in log order: episodes, encoding) →
`fleet.ingest.committing` (one transaction for all partitions). Nothing here knows Ray: the scorer is an awaitable call,
the clock is passed in.

Threads: everything runs on one event loop, except the calls into the Kafka client that block, and the work on states.
The consumer has a thread, and the producer has one. A client serves one thread at a time (confluent-kafka 2.16 holds a
lock for the whole of a poll), so nothing but the consumer's thread may call the consumer. Rebalance callbacks arrive on
that thread, while the loop awaits its poll; they hand over to the loop and wait.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from fleet import kafka
from fleet.detection import windows
from fleet.detection.episodes import EpisodeChange, EpisodeTracker, judged_block
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Scores, Verdicts, judge
from fleet.errors import FleetError, KafkaUnavailableError, SettingsError
from fleet.events.telemetry import Reject, TelemetryBlock, TelemetryDecoder
from fleet.ingest.block_scoring import BlockScoring, Features, ScoreCall
from fleet.ingest.committing import Committer
from fleet.ingest.freed_memory import FreedMemory
from fleet.ingest.outcome import dead_letters, episode_records, foreign_keys, scored_records, state_records
from fleet.ingest.owned_partition import OwnedPartition, Share
from fleet.ingest.pipeline import Work
from fleet.ingest.takeover import TakeOver
from fleet.kafka import KafkaError, KafkaException, Message, Record, TopicPartition
from fleet.records.scored import Provenance
from fleet.records.state import PartitionState
from fleet.settings import Settings

IDLE_POLL_S = 0.25
FIRST_BACK_OFF_S = 0.2
LONGEST_BACK_OFF_S = 5.0
STATE_THREADS = 4
MEASURE_INTERVAL_S = 1.0
LONGEST_LINGER = 5.0  # times ingest.linger_ms
# An event cannot be appended before it happened: this much is clocks that differ.
CLOCK_TOLERANCE_S = 1.0
LONG_BEHIND_S = 60.0

ResultT = TypeVar("ResultT")
# What was polled of each partition, in log order, under the assignment that it was polled under.
Polled: TypeAlias = dict[OwnedPartition, list[Message]]
logger = logging.getLogger(__name__)


class Done(NamedTuple):
    """The outcome of a run of records: what to publish of it, and how many were scored and dead-lettered."""

    work: Work[Record]
    records: list[Record]
    scored: int
    dead_lettered: int


def longer_while_calls_do(linger_s: float, *calls_s: float) -> float:
    """Return how long a turn waits for more records: `linger_s`, or as long as calls take of late, within bounds.

    Shorter than a call, and small calls queue up behind one another: what is busy would be made busier. As long as a
    commit and the pause after it, and each turn finds the one before it committed: no result waits for a transaction.
    """
    return min(max([linger_s, *calls_s]), LONGEST_LINGER * linger_s)


class IngestWorker:
    """Runs until `stop` is called or something happens that only a restart can mend."""

    def __init__(
        self, settings: Settings, bundle: ModelBundle, score: ScoreCall, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._bundle, self._clock = settings, bundle, clock
        self._scoring = BlockScoring(score, settings.ingest.score_timeout_s, settings.ingest.score_attempts)
        self._decoder = TelemetryDecoder(bundle.plan.spec)
        self._owned: dict[int, OwnedPartition] = {}
        self._turns: set[asyncio.Task[None]] = set()
        self._progress = asyncio.Event()
        self._poll_thread = ThreadPoolExecutor(1, thread_name_prefix="poll")
        # For what takes long and is seldom: restoring episodes, encoding states.
        self._state_threads = ThreadPoolExecutor(STATE_THREADS, thread_name_prefix="state")
        self._stopping = False
        self._of_other_features: ModelBundle | None = None
        self._failure: BaseException | None = None
        self._turn_at_s = time.monotonic()
        self.counts: Counter[str] = Counter()
        self._take_over = TakeOver(settings, bundle.plan, self.counts, lambda: self._stopping)
        self.lag_records = 0
        self.busy_share = 0.0
        """Of the last second or more, in which this did not wait for records."""
        self._freed_memory = FreedMemory()
        self._measured_at_s, self._waited_s = time.monotonic(), 0.0
        self._committer = self._new_committer()
        self._commits: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Own partitions and work on them. Raises the FleetError that only a restart or a person can mend."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(windows.warm_up, self._bundle.plan)
        await self._prepare_topics()
        self._join()
        try:
            while not self._stopping:
                await self._turn()
        except BaseException as failure:
            self._failure = failure
            raise
        finally:
            await self._close()

    def stop(self) -> None:
        """Ask the worker to finish what is in flight, commit it, and leave the group."""
        self._stopping = True
        self._progress.set()

    def use(self, bundle: ModelBundle) -> None:
        """Score with another bundle from the next turn on; what is in flight keeps the one that it was read for.

        One for other channels or features cannot go on with the windows: the partitions are then given up and taken
        over anew, with histories that begin anew.
        """
        if bundle.plan == self._bundle.plan:
            self._bundle = bundle
        else:
            self._of_other_features = bundle
            self._progress.set()

    def check(self) -> None:
        """Raise when the loop has failed, or has made no turn for `ingest.stuck_after_s`."""
        if self._failure is not None:
            raise RuntimeError(f"ingest stopped: {self._failure}")
        silent_s = time.monotonic() - self._turn_at_s
        if silent_s > self._settings.ingest.stuck_after_s:
            raise RuntimeError(f"ingest made no turn for {silent_s:.0f} s (ingest.stuck_after_s)")

    @property
    def owned_partitions(self) -> list[int]:
        """Numbers of the partitions that this member owns now."""
        return sorted(self._owned)

    # One turn

    async def _turn(self) -> None:
        self._turn_at_s = time.monotonic()
        if self._committer.is_fenced:
            await self._rejoin()
        if self._of_other_features is not None:
            await self._begin_anew(self._of_other_features)
        polled = await self._wait_for_room()
        await self._loop.run_in_executor(self._poll_thread, self._poll, polled)
        self._committer.has_backlog = _records(polled) >= self._settings.ingest.turn_records
        if self._failure is not None:
            raise self._failure
        if shares := self._read(self._still_owned(polled)):
            turn = asyncio.create_task(self._score(shares))
            self._turns.add(turn)
            turn.add_done_callback(self._turn_done)

    def _poll(self, polled: Polled) -> None:
        """Wait for a first record, then a little for more: idle costs nothing, and a trickle does not wait long."""
        began_s = time.monotonic()
        if first := self._consumer.consume(1, IDLE_POLL_S):
            self._add(polled, first)
            if more := self._settings.ingest.turn_records - 1:
                least_s = self._settings.ingest.linger_ms / 1000
                linger_s = longer_while_calls_do(least_s, self._scoring.usual.seconds, self._committer.cycle_s)
                self._add(polled, self._consumer.consume(more, linger_s))
        self._waited_s += time.monotonic() - began_s
        self._note_group_metadata()
        self._commit_published(wait=False)
        self._measure()

    def _poll_paused(self, polled: Polled) -> None:
        """Stay in the group while the partitions are paused."""
        self._add(polled, self._consumer.consume(1, 0))
        self._measure()

    def _add(self, polled: Polled, messages: Sequence[Message]) -> None:
        """Sort what one call gave by its owners: another call may bring another assignment."""
        by_partition: dict[int, list[Message]] = {}
        for message in messages:
            if message.error() is not None:
                self._note_poll_error(message)
            elif (batch := by_partition.get(partition := message.partition())) is not None:
                batch.append(message)
            else:
                by_partition[partition] = [message]
        for partition, batch in by_partition.items():
            if (owned := self._owned.get(partition)) is not None:
                polled.setdefault(owned, []).extend(batch)
            else:
                self.counts["records_of_ended_assignments"] += len(batch)

    def _still_owned(self, polled: Polled) -> Polled:
        """Drop what was polled under an assignment that has ended since: whoever owns it now reads it again.

        Also where this member owns it again: its new assignment starts at the committed offset, before these.
        """
        kept = {owned: batch for owned, batch in polled.items() if self._is_owned(owned)}
        self.counts["records_of_ended_assignments"] += _records(polled) - _records(kept)
        return kept

    def _is_owned(self, owned: OwnedPartition) -> bool:
        return self._owned.get(owned.partition) is owned

    def _read(self, polled: Polled) -> list[Share]:
        """Decode and window what was polled, partition by partition, in log order."""
        return [
            self._read_partition(owned, new) for owned, batch in polled.items() if (new := self._replayed(owned, batch))
        ]

    def _replayed(self, owned: OwnedPartition, messages: list[Message]) -> list[Message]:
        """Let what an earlier owner has scored enter the windows again, and return what it has not."""
        if messages[0].offset() >= owned.resume_at:
            return messages
        old = [message for message in messages if message.offset() < owned.resume_at]
        owned.window(self._decode(old)[0], old)
        self.counts["replayed"] += len(old)
        return messages[len(old) :]

    def _read_partition(self, owned: OwnedPartition, messages: list[Message]) -> Share:
        block, rejects = self._decode(messages)
        windowed, appended_at_s = owned.window(block, messages)
        work = owned.pipeline.take_in(messages[0].offset(), messages[-1].offset() + 1, len(messages))
        self.counts["read"] += len(messages)
        for reject in rejects:
            self.counts[f"rejected_{reject.reason}"] += 1
        share = Share(owned, self._bundle, work, messages, block, windowed, rejects, appended_at_s, self._clock())
        share.remembered = owned.windows_to_write(self._settings.ingest.state_share)
        owned.shares.append(share)
        self._count_odd_times(share)
        return share

    def _count_odd_times(self, share: Share) -> None:
        lag_s = share.appended_at_s - share.block.timestamp_s
        self.counts["repeats"] += int(share.windowed.repeat.sum())
        self.counts["ahead_of_the_log"] += int((lag_s < -CLOCK_TOLERANCE_S).sum())
        self.counts["long_behind_the_log"] += int((lag_s > LONG_BEHIND_S).sum())

    def _decode(self, messages: Sequence[Message]) -> tuple[TelemetryBlock, list[Reject]]:
        return self._decoder.decode_block([m.value() for m in messages], self._settings.ingest.max_event_bytes)

    async def _score(self, shares: list[Share]) -> None:
        bundle = shares[0].bundle  # one turn, one model
        features: Features = np.concatenate([share.windowed.features for share in shares])
        scores, failed = Scores.none(0), np.zeros(0, dtype=np.bool_)
        if len(features):
            scores, failed = await self._scoring.scores(bundle.version, features)
        verdicts = judge(scores, bundle)
        self.counts["causes_of_first_stage"] += int((verdicts.is_anomaly & ~scores.explained).sum())
        self.counts["anomalies"] += int(verdicts.is_anomaly.sum())
        start = 0
        for share in shares:
            end = start + len(share.block)
            share.verdicts, share.failed = verdicts.rows(start, end), failed[start:end]
            if self._is_owned(share.owned):  # else revoked: its new owner scores it
                self._finish_in_order(share.owned)
            start = end

    def _finish_in_order(self, owned: OwnedPartition) -> None:
        """Finish what is scored and has nothing unscored before it: turns overtake one another, episodes must not."""
        if (tracker := owned.episodes) is None:
            return  # until they are restored
        while owned.shares and (verdicts := owned.shares[0].verdicts) is not None:
            self._finish(owned.shares.popleft(), tracker, verdicts)

    def _finish(self, share: Share, tracker: EpisodeTracker, verdicts: Verdicts) -> None:
        """Turn verdicts into the records to publish, and tell the pipeline."""
        rejects = share.rejects + [
            Reject(int(share.block.index[row]), "scoring_failed", f"model {share.bundle.version} cannot score it")
            for row in np.flatnonzero(share.failed)
        ]
        provenance = self._provenance(share)
        episode_ids, changes = self._follow_episodes(share, tracker, verdicts, provenance)
        topics = self._settings.kafka.topics
        results = scored_records(topics.scored, share, verdicts, provenance, episode_ids)
        records = [
            *results,
            *dead_letters(self._settings.kafka, share, rejects),
            *episode_records(topics.episodes, changes),
        ]
        self.counts["keys_that_are_not_the_vehicle"] += foreign_keys(share)
        done = Done(share.work, records, len(results), len(rejects))
        if share.remembered is None:
            self._hand_over(share.owned, done)
        else:
            state = PartitionState(share.work.next_offset, share.remembered, tracker.snapshot())
            self._spawn(share.owned, self._hand_over_with_state(share.owned, done, state))

    def _hand_over(self, owned: OwnedPartition, done: Done) -> None:
        owned.pipeline.finish(done.work, done.records, done.scored, done.dead_lettered, self._clock())
        self.counts["scored"] += done.scored
        self._committer.wake()

    async def _hand_over_with_state(self, owned: OwnedPartition, done: Done, state: PartitionState) -> None:
        """Have a state encoded beside what goes on; what comes after it in the log is not committed before it."""
        records = await self._patiently_in_thread(state_records, self._settings.kafka, owned, state)
        self.counts["states_written"] += 1
        self._hand_over(owned, done._replace(records=done.records + records))

    def _provenance(self, share: Share) -> Provenance:
        return Provenance(
            share.owned.partition,
            np.array([message.offset() for message in share.events], dtype=np.int64),
            share.appended_at_s,
            share.ingested_at_s,
            self._clock(),
        )

    def _follow_episodes(
        self, share: Share, tracker: EpisodeTracker, verdicts: Verdicts, provenance: Provenance
    ) -> tuple[list[str | None], list[EpisodeChange]]:
        """Let the partition's episodes go on by this share, which must be next in the log."""
        evictions = tracker.evictions
        counted = ~(share.windowed.repeat | share.failed)
        judged = judged_block(share.block, verdicts, provenance, counted=counted, model_version=share.bundle.version)
        episode_ids, changes = tracker.update(judged)
        for change in changes:
            self.counts[f"episodes_{change.change}"] += 1
        self.counts["episode_evictions"] += tracker.evictions - evictions
        return episode_ids, changes

    def _turn_done(self, turn: asyncio.Task[None]) -> None:
        self._turns.discard(turn)
        self._progress.set()
        self._note_failure(turn)

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failure = failure

    # Push-back

    def _has_room(self) -> bool:
        limits = self._settings.ingest
        uncommitted = sum(owned.pipeline.uncommitted_records for owned in self._owned.values())
        return len(self._turns) < limits.turns_in_flight and uncommitted < limits.uncommitted_records

    async def _wait_for_room(self) -> Polled:
        """Hold back until another turn may start; pause the partitions when that takes long.

        A short wait does not pause: a pause throws away what the client has fetched ahead. Polling goes on
        meanwhile, because a member that does not poll is expelled from the group.
        """
        if self._has_room() or await self._room_within(self._settings.ingest.pause_after_s):
            return {}
        self.counts["pauses"] += 1
        self._each_assigned(self._consumer.pause)
        held: Polled = {}
        while not await self._room_within(0.1):
            self._turn_at_s = time.monotonic()
            await self._loop.run_in_executor(self._poll_thread, self._poll_paused, held)
            self._each_assigned(self._consumer.pause)  # partitions that have come since
        self._each_assigned(self._consumer.resume)
        return held

    def _must_act(self) -> bool:
        return bool(self._stopping or self._committer.is_fenced or self._failure or self._of_other_features)

    async def _room_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not (self._has_room() or self._must_act()):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return False
        return True

    def _each_assigned(self, act: Callable[[list[TopicPartition]], Any]) -> None:
        topic = self._settings.kafka.topics.telemetry
        if self._owned:
            act([TopicPartition(topic, partition) for partition in self._owned])

    # What the consumer's thread does for commits

    def _commit_published(self, *, wait: bool) -> None:
        """Commit what was published at least once; on the consumer's thread, which alone may do it."""
        published, self._committer.published = self._committer.published, {}
        if published:
            try:
                self._consumer.commit(offsets=list(published.values()), asynchronous=not wait)
            except KafkaException as exception:
                self.counts["commit_retries"] += 1  # a later commit covers it; after a crash it is read again
                logger.warning("commit_failed: %s", exception)

    def _note_group_metadata(self) -> None:
        """Let what is in flight commit as the member that this is now."""
        self._committer.group_metadata = self._consumer.consumer_group_metadata()

    # Ownership: the callbacks run on the consumer's thread, what they call on the loop

    def _new_committer(self) -> Committer:
        return Committer(self._settings, self._owned, self.counts, self._clock, self._progress.set)

    def _join(self) -> None:
        """Enter the group: what it gives arrives by the callbacks."""
        self._commits = asyncio.create_task(self._committer.run())
        self._commits.add_done_callback(self._note_failure)
        self._consumer = kafka.ingest_consumer(self._settings.kafka, self._settings.ingest)
        self._consumer.subscribe(
            [self._settings.kafka.topics.telemetry],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def _on_assign(self, consumer: kafka.Consumer, assigned: list[TopicPartition]) -> None:
        # First of all: a take-over takes seconds, in which the partitions that stay must be able to commit.
        self._note_group_metadata()
        if not assigned:
            return
        opened = self._take_over.open(consumer, [tp.partition for tp in assigned])
        asyncio.run_coroutine_threadsafe(self._adopt(opened), self._loop).result()
        starts = [TopicPartition(assigned[0].topic, o.partition, o.read_from) for o in opened]
        consumer.incremental_assign(starts)
        # The client remembers a pause beyond the assignment: one that left while it was paused would never be read.
        consumer.resume(starts)

    async def _adopt(self, opened: Sequence[OwnedPartition]) -> None:
        for owned in opened:
            self._owned[owned.partition] = owned
            if owned.state is not None:
                self._spawn(owned, self._restore_episodes(owned, owned.state))
            logger.info("partition_owned", extra={"partition": owned.partition, "offset": owned.pipeline.next_offset})
        await self._committer.lead(self._owned)

    async def _restore_episodes(self, owned: OwnedPartition, state: PartitionState) -> None:
        restore = self._take_over.restore_episodes
        episodes = await self._loop.run_in_executor(self._state_threads, restore, owned, state)
        if self._is_owned(owned):
            owned.episodes, owned.state = episodes, None
            self._finish_in_order(owned)

    def _spawn(self, owned: OwnedPartition, work: Coroutine[Any, Any, None]) -> None:
        """Begin what belongs to a partition, and ends with it."""
        task = asyncio.create_task(work)
        owned.tasks.add(task)
        task.add_done_callback(owned.tasks.discard)
        task.add_done_callback(self._note_failure)

    async def _patiently_in_thread(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        while True:
            try:
                return await self._loop.run_in_executor(self._state_threads, function, *arguments)
            except KafkaUnavailableError as error:
                logger.warning("state_delayed: %s", error)
                await asyncio.sleep(FIRST_BACK_OFF_S)

    def _on_revoke(self, _consumer: kafka.Consumer, revoked: list[TopicPartition]) -> None:
        drain_s = 0.0 if self._committer.is_fenced else self._settings.ingest.drain_timeout_s
        self._release_from_thread([tp.partition for tp in revoked], drain_s)

    def _on_lost(self, _consumer: kafka.Consumer, lost: list[TopicPartition]) -> None:
        self._release_from_thread([tp.partition for tp in lost], 0.0)

    def _release_from_thread(self, partitions: list[int], drain_s: float) -> None:
        self._note_group_metadata()
        asyncio.run_coroutine_threadsafe(self._release(partitions, drain_s), self._loop).result()
        self._commit_published(wait=True)

    async def _release(self, partitions: Sequence[int], drain_s: float) -> None:
        """Give partitions up: finish and commit what is in flight within `drain_s`, drop the rest.

        What is dropped was not committed: the next owner reads it again.
        """
        leaving = [self._owned[p] for p in partitions if p in self._owned]
        for owned in leaving:
            owned.closing = True
        self._committer.wake()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._committer.drained(leaving), drain_s)
        for owned in leaving:
            del self._owned[owned.partition]
            self._drop(owned)
        await self._committer.lead(self._owned)

    def _drop(self, owned: OwnedPartition) -> None:
        self.counts["dropped_when_released"] += owned.pipeline.uncommitted_records
        for task in owned.tasks:
            task.cancel()
        logger.info(
            "partition_released",
            extra={"partition": owned.partition, "uncommitted": owned.pipeline.uncommitted_records},
        )

    async def _begin_anew(self, bundle: ModelBundle) -> None:
        """Finish and commit what is in flight with the old bundle, then take the partitions over with the new one."""
        await self._release(list(self._owned), self._settings.ingest.drain_timeout_s)
        self._of_other_features, self._bundle = None, bundle
        self._decoder = TelemetryDecoder(bundle.plan.spec)
        self._take_over = TakeOver(self._settings, bundle.plan, self.counts, lambda: self._stopping)
        await asyncio.to_thread(windows.warm_up, bundle.plan)
        await self._rejoin()

    async def _rejoin(self) -> None:
        """Leave the group and join it again after a partition was fenced: the group is asked who owns what.

        As another member: a client that unsubscribed in the middle of a rebalance, and subscribed again, was given
        partitions by the group and never said so (seen after a restart of Kafka).
        """
        await self._loop.run_in_executor(self._poll_thread, self._consumer.close)
        await self._release(list(self._owned), 0.0)
        await self._end_commits()
        await asyncio.sleep(FIRST_BACK_OFF_S)
        self._committer = self._new_committer()
        self.counts["rejoins"] += 1
        self._join()

    async def _end_commits(self) -> None:
        if self._commits is not None:
            self._commits.cancel()
            await asyncio.wait([self._commits])
        self._committer.close()

    # Start, end, watching

    async def _prepare_topics(self) -> None:
        """Create or verify the topics; while Kafka is away say so and go on trying."""
        back_off_s = FIRST_BACK_OFF_S
        while not self._stopping:
            self._turn_at_s = time.monotonic()
            try:
                for sentence in await asyncio.to_thread(kafka.ensure_topics, self._settings.kafka):
                    logger.warning("topic_differs: %s", sentence)
                return
            except KafkaUnavailableError as error:
                self.counts["kafka_unavailable"] += 1
                logger.warning("kafka_unavailable: %s Trying again in %.1f s.", error, back_off_s)
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, LONGEST_BACK_OFF_S)

    def _measure(self) -> None:
        """Note how far this member is behind, and how much of its time it was at work, for whoever scales the pool."""
        elapsed_s = time.monotonic() - self._measured_at_s
        if elapsed_s < MEASURE_INTERVAL_S:
            return
        self.busy_share = max(1.0 - self._waited_s / elapsed_s, 0.0)
        self._measured_at_s, self._waited_s = time.monotonic(), 0.0
        self.lag_records = self._behind_records()
        self._freed_memory.note(self.lag_records)

    def _behind_records(self) -> int:
        """Count what waits in the log behind the owned partitions, by the high-water marks last fetched."""
        topic, lag = self._settings.kafka.topics.telemetry, 0
        for partition, owned in list(self._owned.items()):
            _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            lag += max(high - owned.pipeline.next_offset, 0) + owned.pipeline.uncommitted_records
        return lag

    def _note_poll_error(self, message: Message) -> None:
        error = message.error()
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise FleetError(f"{error.str()}: retention has overtaken the group while it was reading")
        if error.code() == KafkaError.INVALID_SESSION_TIMEOUT:
            raise SettingsError(
                f"ingest.session_timeout_s is {self._settings.ingest.session_timeout_s:g}, which the brokers refuse: "
                "set it within their group.min.session.timeout.ms (6 s by default) and group.max.session.timeout.ms."
            )
        if not kafka.is_unreachable(error):
            raise FleetError(f"Kafka refused a fetch: {error.str()}")
        self.counts["kafka_unavailable"] += 1
        logger.warning("kafka_unavailable: %s", error.str())

    async def _close(self) -> None:
        """Finish, commit, leave; what cannot be finished in time is left for the next owner."""
        drain_s = self._settings.ingest.drain_timeout_s
        if self._turns:
            await asyncio.wait(self._turns, timeout=drain_s)
        await self._release(list(self._owned), drain_s)
        await self._end_commits()
        for turn in self._turns:
            turn.cancel()
        self._state_threads.shutdown(wait=False)
        await self._loop.run_in_executor(self._poll_thread, self._leave)
        self._poll_thread.shutdown(wait=False)

    def _leave(self) -> None:
        self._commit_published(wait=True)
        self._consumer.close()


def _records(polled: Polled) -> int:
    return sum(map(len, polled.values()))
