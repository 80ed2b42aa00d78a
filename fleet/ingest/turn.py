"""Turns: what was polled is read, scored and finished.

One turn reads what one poll brought: decoded and entered into the windows, partition by partition, in log order. Its
events are scored in one remote call. Then each partition's run is concluded, again in log order, and goes to
`fleet.ingest.commit.hand_over`. Several turns are under way at once.
"""

import asyncio
import logging
from collections.abc import Sequence

import numpy as np

from fleet.counters import IngestCount, Leg
from fleet.detection.detector import Conclusion
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.vehicle_thresholds import LOWEST
from fleet.detection.verdicts import Scores, judge
from fleet.events.lenient import Notes
from fleet.events.refusals import shown
from fleet.events.telemetry import Reject, TelemetryBlock, TelemetryDecoder
from fleet.ingest.block_scoring import BlockScoring, Features
from fleet.ingest.commit.hand_over import HandOver
from fleet.ingest.member import Member
from fleet.ingest.outcome import finished_run
from fleet.ingest.partition.owned_partition import OwnedPartition
from fleet.ingest.partition.stages import KeyCounts, ReadRun, RunOffsets, ScoredRun
from fleet.ingest.polling import Polled, records_in
from fleet.kafka import Message
from fleet.records.state import PartitionState

# An event cannot be appended before it happened: this much is clocks that differ.
CLOCK_TOLERANCE_S = 1.0
LONG_BEHIND_S = 60.0
NO_CAUSE = "none"
MOST_SENDERS_TOLD = 1_000  # lines about misnamed fields that one member writes, in all; the count goes on

logger = logging.getLogger(__name__)


class Turns:
    """The turns that are under way, and the model that the next one uses."""

    def __init__(self, member: Member, bundle: ModelBundle, scoring: BlockScoring, hand_over: HandOver) -> None:
        self._member, self._scoring, self._hand_over = member, scoring, hand_over
        self._under_way: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()
        self.use(bundle)

    @property
    def has_room(self) -> bool:
        """Whether another turn may begin; this bound is what pushes back on the log."""
        limits = self._member.settings.ingest
        return (
            len(self._under_way) < limits.turns_in_flight
            and self._member.owned.uncommitted_records < limits.uncommitted_records
        )

    def use(self, bundle: ModelBundle) -> None:
        """Read and score with this model from the next turn on; what is under way keeps its own."""
        self._bundle = bundle
        self._decoder = TelemetryDecoder(bundle.plan.spec, self._member.settings.events.reading())

    def begin(self, polled: Polled) -> None:
        """Read what was polled, and let the rest of the turn go on beside the loop."""
        if runs := self.read(self._still_owned(polled)):
            self._member.measures.turn_records.observe(sum(run.offsets.records for _, run in runs))
            turn = self._member.begin(self.score(runs))
            self._under_way.add(turn)
            turn.add_done_callback(self._under_way.discard)

    async def finish(self, timeout_s: float) -> None:
        """Wait for the turns that are under way, so long at most."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout_s)

    def cancel(self) -> None:
        """End the turns that are under way."""
        for turn in self._under_way:
            turn.cancel()

    # Reading

    def _still_owned(self, polled: Polled) -> Polled:
        """Drop what was polled under an assignment that has ended since: whoever owns it now reads it again.

        Also where this member owns it again: its new assignment starts at the committed offset, before these.
        """
        kept = {owned: batch for owned, batch in polled.items() if self._member.owned.holds(owned)}
        self._member.counts[IngestCount.RECORDS_OF_ENDED_ASSIGNMENTS] += records_in(polled) - records_in(kept)
        return kept

    def read(self, polled: Polled) -> list[tuple[OwnedPartition, ReadRun]]:
        """Decode what was polled and let it enter the windows: one run for each partition with something new."""
        return [
            (owned, self._read_run(owned, new))
            for owned, batch in polled.items()
            if (new := self._replayed(owned, batch))
        ]

    def _replayed(self, owned: OwnedPartition, messages: Sequence[Message]) -> Sequence[Message]:
        """Let what an earlier owner has scored enter the windows again, and return what it has not."""
        if messages[0].offset() >= owned.resume_at:
            return messages
        old = [message for message in messages if message.offset() < owned.resume_at]
        owned.enter(self._decode(old, Notes())[0], old)
        self._member.counts[IngestCount.REPLAYED] += len(old)
        return messages[len(old) :]

    def _read_run(self, owned: OwnedPartition, messages: Sequence[Message]) -> ReadRun:
        member = self._member
        offsets = RunOffsets(messages[0].offset(), messages[-1].offset() + 1, len(messages))
        notes = Notes()
        telemetry, rejects = self._decode(messages, notes)
        entered = owned.enter(telemetry, messages)
        owned.pipeline.take_in(offsets)
        senders = owned.reports(entered, messages, rejects)
        windows = owned.windows_to_write(member.settings.ingest.state_share)
        run = ReadRun(offsets, messages, telemetry, entered, rejects, self._bundle, member.clock(), senders, windows)
        self._count_read(run)
        self._tell(notes)
        return run

    def _decode(self, messages: Sequence[Message], notes: Notes) -> tuple[TelemetryBlock, list[Reject]]:
        most_bytes = self._member.settings.ingest.max_event_bytes
        return self._decoder.decode_block([message.value() for message in messages], most_bytes, notes)

    def _tell(self, notes: Notes) -> None:
        """Count what was mended, and say once for each sender which of its fields have another name here."""
        self._member.counts.update(notes.counts)
        for vehicle_id, fields in notes.misnamed.items():
            if vehicle_id not in self._told and len(self._told) < MOST_SENDERS_TOLD:
                self._told.add(vehicle_id)
                logger.warning("fields_not_read", extra={"vehicle_id": shown(vehicle_id), "read": fields})

    def _count_read(self, run: ReadRun) -> None:
        counts, events = self._member.counts, run.entered.events
        assert events.appended_at_s is not None
        lag_s = events.appended_at_s - events.time_s
        self._member.measures.legs[Leg.APPENDED_TO_READ].observe_all(run.ingested_at_s - events.appended_at_s)
        counts[IngestCount.READ] += run.offsets.records
        counts[IngestCount.REPEATS] += int(run.entered.windowed.repeat.sum())
        counts[IngestCount.AHEAD_OF_THE_LOG] += int((lag_s < -CLOCK_TOLERANCE_S).sum())
        counts[IngestCount.LONG_BEHIND_THE_LOG] += int((lag_s > LONG_BEHIND_S).sum())
        for reject in run.rejects:
            counts[IngestCount.rejected(reject.reason)] += 1

    # Scoring, and concluding in log order

    async def score(self, runs: Sequence[tuple[OwnedPartition, ReadRun]]) -> None:
        """Have the events of a turn scored and judged together, and conclude what is next in its partition's log.

        Together, because a call costs more than its events: that of a scorer by far, that of `judge` where turns are
        small and partitions many.
        """
        bundle = runs[0][1].bundle  # one turn, one model
        features: Features = np.concatenate([run.entered.features for _, run in runs])
        scores, failed = Scores.none(0), np.zeros(0, dtype=np.bool_)
        if len(features):
            scores, failed = await self._scoring.scores(bundle.version, features)
        verdicts = judge(scores, bundle, LOWEST)
        self._member.counts[IngestCount.CAUSES_OF_FIRST_STAGE] += int((verdicts.is_anomaly & ~scores.explained).sum())
        start = 0
        for owned, run in runs:
            end = start + len(run.entered)
            if self._member.owned.holds(owned):  # else its new owner scores it
                scored = ScoredRun(run, verdicts.rows(start, end), failed[start:end])
                owned.pipeline.add_scored(run.offsets, scored)
                self.conclude(owned)
            start = end

    def conclude(self, owned: OwnedPartition) -> None:
        """Conclude what is scored and has nothing unscored before it: turns overtake one another, episodes must not.

        While episodes are being restored nothing is concluded.
        """
        while owned.state is None and (run := owned.pipeline.take_scored()) is not None:
            self._finish(owned, run)

    def _finish(self, owned: OwnedPartition, run: ScoredRun) -> None:
        """Let the detector conclude a run, and hand over what it brings about."""
        read, episodes = run.read, owned.detector.episodes
        evictions = episodes.evictions
        conclusion = owned.detector.follow(read.entered, run.verdicts, read.bundle, run.failed)
        self._member.counts[IngestCount.EPISODE_EVICTIONS] += episodes.evictions - evictions
        finished = finished_run(self._member.settings.kafka, run, conclusion, self._member.clock())
        took_s = finished.finished_at_s - read.ingested_at_s
        self._member.measures.legs[Leg.READ_TO_SCORED].observe(took_s, finished.scored)
        self._member.counts[IngestCount.SENDERS_REPORTED] += len(read.senders)
        self._member.counts[IngestCount.REJECTED_SCORING_FAILED] += int(run.failed.sum())
        self._count_conclusion(finished.keys, conclusion)
        if read.windows is None:
            self._hand_over.finished(owned, finished)
        else:
            state = PartitionState(
                read.offsets.following,
                read.windows,
                episodes.snapshot(),
                thresholds=owned.detector.thresholds.snapshot(),
            )
            self._hand_over.finished_with_state(owned, finished, state)

    def _count_conclusion(self, keys: KeyCounts, conclusion: Conclusion) -> None:
        counts = self._member.counts
        counts[IngestCount.ANOMALIES] += int(conclusion.verdicts.is_anomaly.sum())
        counts[IngestCount.KEYLESS] += keys.keyless
        counts[IngestCount.KEYS_THAT_ARE_NOT_THE_VEHICLE] += keys.foreign
        for change in conclusion.changes:
            counts[IngestCount.episodes(change.change)] += 1
            if change.change == "opened":
                self._member.measures.episodes_by_cause[change.episode.cause or NO_CAUSE] += 1
