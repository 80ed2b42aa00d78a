"""Finished runs -> their partition's pipeline, and a word to the committer; now and then with a state."""

import asyncio
import logging
from dataclasses import replace

from fleet.backoff import BackOff
from fleet.counters import IngestCount
from fleet.errors import KafkaUnavailableError
from fleet.ingest.commit.committer import Committer
from fleet.ingest.member import Member
from fleet.ingest.outcome import state_records
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.ingest.partition.stages import FinishedRun
from fleet.kafka import Record
from fleet.records.state import PartitionState

FIRST_BACK_OFF_S = 0.2
LONGEST_BACK_OFF_S = 0.8

logger = logging.getLogger(__name__)


class HandOver:
    """Where runs leave their turns."""

    def __init__(self, member: Member, committer: Committer) -> None:
        self._member, self._committer = member, committer

    def finished(self, owned: OwnedPartition, run: FinishedRun[Record]) -> None:
        """Let a run be committed."""
        owned.pipeline.finish(run)
        self._member.counts[IngestCount.SCORED] += run.scored
        self._committer.wake()

    def finished_with_state(self, owned: OwnedPartition, run: FinishedRun[Record], state: PartitionState) -> None:
        """Let a run be committed with the state that it has come to.

        The state is encoded beside what goes on; what comes after it in the log is not committed before it.
        """
        self._member.begin_for(owned, self._add_state(owned, run, state))

    async def _add_state(self, owned: OwnedPartition, run: FinishedRun[Record], state: PartitionState) -> None:
        written = await self._encode(owned, state)
        written_bytes = sum(len(record.value or b"") for record in written)
        assert state.windows is not None
        owned.state_bytes_per_vehicle = written_bytes / max(len(state.windows["vehicle_ids"]), 1)
        self._member.counts[IngestCount.STATES_WRITTEN] += 1
        self.finished(owned, replace(run, records=[*run.records, *written], finished_at_s=self._member.clock()))

    async def _encode(self, owned: OwnedPartition, state: PartitionState) -> list[Record]:
        """Encode a state, however long Kafka is away meanwhile."""
        back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        arguments = self._member.settings.kafka, owned.partition, owned.detector.windows.plan.name, state
        while True:
            try:
                return await self._member.in_state_thread(state_records, *arguments)
            except KafkaUnavailableError as error:
                logger.warning("state_delayed: %s", error)
                await asyncio.sleep(back_off.next_s())
