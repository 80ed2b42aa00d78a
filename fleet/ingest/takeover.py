"""Taking a partition over: fence, find out where it stands, and continue with what its last owner remembered.

The order is what exactly-once rests on: an earlier owner's transaction is fenced first, the committed offset is read
after. Windows come from the last state and from the telemetry between it and the committed offset, which
`fleet.ingest.turn` reads again without emitting; episodes and thresholds come from the same state and from the results
that were published meanwhile, so that no verdict is asked for twice. Everything here blocks: it runs on the consumer's
thread while the group rebalances, `restored` on one of its own.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from fleet import kafka
from fleet.backoff import BackOff
from fleet.counters import IngestCount
from fleet.detection.detector import Detector
from fleet.detection.episodes import EpisodeTracker
from fleet.detection.features import FeaturePlan
from fleet.detection.judged import judged_blocks
from fleet.detection.senders import SenderReports
from fleet.detection.vehicle_thresholds import VehicleThresholds
from fleet.errors import KafkaUnavailableError
from fleet.ingest.member import Member
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.ingest.partition.pipeline import PartitionPipeline
from fleet.kafka import Consumer, Ledger, Message
from fleet.records.scored import decode_scored
from fleet.records.state import CHUNKS_HEADER, PartitionState, StateError, decode_state

# Well under the time that the group waits for a poll.
TIMEOUT_S = 120.0
FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S = 0.2, 0.8
MOST_THREADS = 16

ResultT = TypeVar("ResultT")
logger = logging.getLogger(__name__)


class Remembered(NamedTuple):
    """What verdicts have left behind of a partition's vehicles."""

    episodes: EpisodeTracker
    thresholds: VehicleThresholds


class TakeOver:
    """Opens partitions for their new owner. Raises KafkaUnavailableError after two minutes without Kafka."""

    def __init__(self, member: Member, plan: FeaturePlan) -> None:
        self._member, self._settings, self._plan = member, member.settings, plan

    def open(self, consumer: Consumer, partitions: Sequence[int]) -> list[OwnedPartition]:
        """Fence earlier owners, then read where the partitions stand. Raises RetentionGapError."""
        with ThreadPoolExecutor(min(len(partitions), MOST_THREADS), thread_name_prefix="take-over") as threads:
            states = list(threads.map(self._fence, partitions))
        starts = self._patiently(lambda: self._start_positions(consumer, partitions))
        opened = [
            self._opened(partition, start, ledger, state)
            for partition, state, (start, ledger) in zip(partitions, states, starts, strict=True)
        ]
        for owned in opened:
            if owned.read_from < owned.resume_at:
                self._patiently(lambda owned=owned: self._stay_in_the_log(consumer, owned))  # type: ignore[misc]
        return opened

    def restored(self, owned: OwnedPartition, state: PartitionState) -> Remembered:
        """Return what a state remembers, as of where the partition is read on: results in between bring it there."""
        return self._patiently(lambda: self._followed_again(owned, state))

    def _fence(self, partition: int) -> PartitionState | None:
        """Fence, and only then read what was remembered: nobody can add to it any more."""
        if self._settings.ingest.delivery == "exactly_once":
            self._patiently(lambda: kafka.fence(self._settings.kafka, self._settings.ingest, partition))
        return self._last_state(partition)

    def _last_state(self, partition: int) -> PartitionState | None:
        """Read what the last owner remembered of a partition; None where nothing is to be continued."""
        chunks = self._patiently(lambda: self._state_chunks(partition))
        try:
            state = decode_state(chunks, self._plan.name, self._settings.ingest.max_vehicles) if chunks else None
        except StateError as error:
            self._tell_of_discarded(partition, f"{error}; histories and episodes begin anew")
            return None
        if state is not None and state.windows is None:
            why = "it was written by another version, or for other channels; histories begin anew, episodes go on"
            self._tell_of_discarded(partition, why)
        return state

    def _tell_of_discarded(self, partition: int, why: str) -> None:
        self._member.counts[IngestCount.STATES_DISCARDED] += 1
        logger.warning("state_discarded: %s", why, extra={"partition": partition})

    def _state_chunks(self, partition: int) -> list[bytes]:
        latest: dict[bytes, Message] = {}
        for messages in kafka.read_to_end(self._settings.kafka, self._settings.kafka.topics.state, partition):
            latest.update((message.key(), message) for message in messages)
        first = latest.get(b"%d/0" % partition)
        count = int(dict(first.headers())[CHUNKS_HEADER]) if first else 0
        return [latest[b"%d/%d" % (partition, i)].value() for i in range(count)]

    def _start_positions(self, consumer: Consumer, partitions: Sequence[int]) -> list[tuple[int, Ledger]]:
        topic, skip = self._settings.kafka.topics.telemetry, self._settings.ingest.skip_lost_records
        committed = kafka.committed_positions(consumer, topic, partitions)
        return [
            (kafka.start_offset(consumer, topic, p, committed[p][0], skip_lost_records=skip), committed[p][1])
            for p in partitions
        ]

    def _opened(self, partition: int, start: int, ledger: Ledger, state: PartitionState | None) -> OwnedPartition:
        ingest = self._settings.ingest
        rules = self._settings.episodes.rules()
        detector = Detector(
            self._plan,
            rules,
            idle_s=ingest.vehicle_idle_s,
            max_vehicles=ingest.max_vehicles,
            late_horizon_s=ingest.late_horizon_s,
        )
        if state is not None and state.windows is not None:
            detector.windows.restore(state.windows)
        return OwnedPartition(
            partition,
            PartitionPipeline(
                start, ledger.read - ledger.in_flight, ledger.scored, ledger.dead_lettered, ledger.keyless
            ),
            detector,
            SenderReports(detector.windows, ingest.sender_report_s),
            resume_at=start,
            # Delivered at least once, a state may have come further than the offset: then nothing is replayed.
            read_from=start if state is None else min(state.next_offset, start),
            state=state,
            has_state=state is not None and state.windows is not None,
        )

    def _stay_in_the_log(self, consumer: Consumer, owned: OwnedPartition) -> None:
        """Begin no earlier than retention allows; what it has taken is missing in the histories, and counted."""
        low = kafka.low_offset(consumer, self._settings.kafka.topics.telemetry, owned.partition)
        if low > owned.read_from:
            self._member.counts[IngestCount.HISTORIES_WITH_A_GAP] += 1
            owned.read_from = min(low, owned.resume_at)

    def _followed_again(self, owned: OwnedPartition, state: PartitionState) -> Remembered:
        episodes = EpisodeTracker.restore(state.episodes, self._settings.episodes.rules())
        thresholds = VehicleThresholds(self._settings.ingest.max_vehicles)
        if state.thresholds:
            thresholds.restore(state.thresholds)
        if state.next_offset < owned.resume_at:
            topic = self._settings.kafka.topics.scored
            for messages in kafka.read_to_end(self._settings.kafka, topic, owned.partition, state.scored_from):
                events = [decode_scored(message.value()) for message in messages]
                missed = [event for event in events if state.next_offset <= event.offset < owned.resume_at]
                for block in judged_blocks(owned.partition, missed):
                    episodes.update(block)
                    thresholds.follow(block.vehicle_ids, block.appended_at_s, block.is_anomaly & block.counted)
        return Remembered(episodes, thresholds)

    def _patiently(self, take_over: Callable[[], ResultT]) -> ResultT:
        """Try a step again while Kafka is away, for well under the time that the group waits for a poll."""
        give_up_at_s = time.monotonic() + TIMEOUT_S
        back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        while True:
            try:
                return take_over()
            except KafkaUnavailableError as error:
                if self._member.is_stopping or time.monotonic() > give_up_at_s:
                    raise
                logger.warning("take_over_retried: %s", error)
                time.sleep(back_off.next_s())
