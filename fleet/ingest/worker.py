"""One member of the ingest pool: polls Kafka, runs a pipeline per owned partition, publishes and commits.

This is its loop and its face. The parts: `fleet.ingest.polling` (the consumer's thread, with lag and pauses),
`fleet.ingest.assignment` (which partitions are owned), `fleet.ingest.turn` (read, score, finish in log order) and
`fleet.ingest.commit` (one transaction for all partitions); `fleet.ingest.member` is what they share. Nothing here knows
Ray: the scorer is an awaitable call, the clock is passed in.

Threads: everything runs on one event loop, except the calls into the Kafka client that block, and the work on states.
The consumer has a thread, and the producer has one.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable

from fleet import kafka
from fleet.backoff import BackOff
from fleet.counters import IngestCount
from fleet.detection import windows
from fleet.detection.model.bundle import ModelBundle
from fleet.errors import KafkaUnavailableError
from fleet.ingest.assignment import Assignment
from fleet.ingest.block_scoring import BlockScoring, ScoreCall
from fleet.ingest.commit.committer import Committer
from fleet.ingest.commit.hand_over import HandOver
from fleet.ingest.measures import Measures
from fleet.ingest.member import Member
from fleet.ingest.polling import Polling, longer_while_calls_do, records_in
from fleet.ingest.turn import Turns
from fleet.settings import Settings

FIRST_BACK_OFF_S = 0.2
LONGEST_BACK_OFF_S = 5.0

logger = logging.getLogger(__name__)


class IngestWorker:
    """Runs until `stop` is called or something happens that only a restart can mend."""

    def __init__(
        self, settings: Settings, bundle: ModelBundle, score: ScoreCall, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._bundle = settings, bundle
        self._of_other_features: ModelBundle | None = None
        self._member = member = Member(settings, clock)
        self._scoring = BlockScoring(score, settings.ingest.score_timeout_s, settings.ingest.score_attempts)
        self._committer = Committer(member)
        self._polling = Polling(member, self._committer)
        self._turns = Turns(member, bundle, self._scoring, HandOver(member, self._committer))
        self._assignment = Assignment(member, self._polling, self._committer, bundle.plan, self._turns.conclude)

    async def run(self) -> None:
        """Own partitions and work on them. Raises the FleetError that only a restart or a person can mend."""
        await asyncio.to_thread(windows.warm_up, self._bundle.plan)
        await self._prepare_topics()
        self._assignment.join()
        try:
            while not self._member.is_stopping:
                await self._turn()
        except BaseException as failure:
            self._member.failure = failure
            raise
        finally:
            await self._close()

    def stop(self) -> None:
        """Ask the worker to finish what is in flight, commit it, and leave the group."""
        self._member.stop()

    def use(self, bundle: ModelBundle) -> None:
        """Score with another bundle from the next turn on; what is in flight keeps the one that it was read for.

        One for other channels or features cannot go on with the windows: the partitions are then given up and taken
        over anew, with histories that begin anew.
        """
        if bundle.plan == self._bundle.plan:
            self._bundle = bundle
            self._turns.use(bundle)
        else:
            self._of_other_features = bundle
            self._member.progress.set()

    def check(self) -> None:
        """Raise when a part has failed, or the loop has made no turn for `ingest.stuck_after_s`."""
        self._member.check()

    @property
    def owned_partitions(self) -> list[int]:
        """Numbers of the partitions that this member owns now."""
        return sorted(self._member.owned)

    @property
    def counts(self) -> Counter[IngestCount]:
        """What was counted since the start."""
        return self._member.counts

    @property
    def measures(self) -> Measures:
        """What was measured since the start."""
        return self._member.measures

    @property
    def model_version(self) -> str:
        """The bundle that the next turn scores with."""
        return self._bundle.version

    @property
    def lag_records(self) -> int:
        """Records behind the owned partitions, up to a second ago."""
        return self._polling.lag_records

    @property
    def busy_share(self) -> float:
        """Share of the last second or more, in which this did not wait for records."""
        return self._polling.busy_share

    async def _turn(self) -> None:
        self._member.note_turn()
        if self._committer.is_fenced:
            await self._assignment.rejoin()
        if self._of_other_features is not None:
            await self._begin_anew(self._of_other_features)
        polled = await self._polling.wait_until(self._may_go_on)
        await self._polling.poll(polled, self._linger_s())
        has_backlog = records_in(polled) >= self._settings.ingest.turn_records
        self._committer.note_backlog(has_backlog=has_backlog)
        if self._member.failure is not None:
            raise self._member.failure
        self._turns.begin(polled)

    def _may_go_on(self) -> bool:
        """Whether there is room for a turn, or something to do instead."""
        must_act = self._member.is_stopping or self._committer.is_fenced or self._member.failure is not None
        return self._turns.has_room or must_act or self._of_other_features is not None

    def _linger_s(self) -> float:
        least_s = self._settings.ingest.linger_ms / 1000
        return longer_while_calls_do(least_s, self._scoring.usual.seconds, self._committer.cycle_s)

    async def _begin_anew(self, bundle: ModelBundle) -> None:
        """Finish and commit what is in flight with the old bundle, then take the partitions over with the new one."""
        await self._assignment.release_all()
        self._of_other_features, self._bundle = None, bundle
        self._turns.use(bundle)
        self._assignment.use(bundle.plan)
        await asyncio.to_thread(windows.warm_up, bundle.plan)
        await self._assignment.rejoin()

    async def _prepare_topics(self) -> None:
        """Create or verify the topics; while Kafka is away say so and go on trying."""
        back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        while not self._member.is_stopping:
            self._member.note_turn()
            try:
                for sentence in await asyncio.to_thread(kafka.ensure_topics, self._settings.kafka):
                    logger.warning("topic_differs: %s", sentence)
                return
            except KafkaUnavailableError as error:
                self._member.counts[IngestCount.KAFKA_UNAVAILABLE] += 1
                logger.warning("kafka_unavailable: %s Trying again in %.1f s.", error, back_off.delay_s)
            await asyncio.sleep(back_off.next_s())

    async def _close(self) -> None:
        """Finish, commit, leave; what cannot be finished in time is left for the next owner."""
        await self._turns.finish(self._settings.ingest.drain_timeout_s)
        await self._assignment.release_all()
        await self._committer.end()
        self._turns.cancel()
        self._member.close()
        await self._polling.end()
