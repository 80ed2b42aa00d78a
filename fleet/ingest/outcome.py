"""What a scored run brings to the topics: results, dead letters, episode changes, and now and then the state.

On the event's way between `fleet.detection.detector` and the partition's transaction. All records stand in the
partition number of their source, and say it in a header.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress, repeat
from operator import ne

import msgspec
import numpy as np

from fleet import kafka
from fleet.detection.detector import Conclusion
from fleet.detection.episodes import EpisodeChange
from fleet.events.refusals import sentence
from fleet.events.source import Source
from fleet.events.telemetry import Reject
from fleet.ingest.partition.stages import FinishedRun, KeyCounts, ReadRun, ScoredRun
from fleet.kafka import Message, Record
from fleet.records.dead_letter import DeadLetterHeaders
from fleet.records.episode import encode_episode
from fleet.records.record import SOURCE_HEADER
from fleet.records.scored import Provenance, encode_results
from fleet.records.sender import encode_sender
from fleet.records.state import CHUNKS_HEADER, PartitionState, encode_state
from fleet.settings import KafkaSettings

LARGEST_CHUNK_BYTES = 900_000

logger = logging.getLogger(__name__)


def finished_run(
    settings: KafkaSettings, run: ScoredRun, conclusion: Conclusion, scored_at_s: float
) -> FinishedRun[Record]:
    """Build the records that a concluded run publishes; `scored_at_s` is Unix seconds."""
    results = scored_records(settings.topics.scored, run, conclusion, scored_at_s)
    rejects = [*run.read.rejects, *_failures(run)]
    records = [
        *results,
        *dead_letters(settings, run.read.entered.events.partition, run.read.messages, rejects),
        *episode_records(settings.topics.episodes, conclusion.changes),
        *sender_records(settings.topics.senders, run.read),
    ]
    return FinishedRun(run.read.offsets, records, len(results), len(rejects), scored_at_s, key_counts(run.read))


def scored_records(topic: str, run: ScoredRun, conclusion: Conclusion, scored_at_s: float) -> list[Record]:
    """Encode the results of a run, without the events that could not be scored."""
    read = run.read
    events, windowed = read.entered.events, read.entered.windowed
    assert events.appended_at_s is not None
    provenance = Provenance(events.partition, events.offsets, events.appended_at_s, read.ingested_at_s, scored_at_s)
    values = encode_results(
        read.telemetry,
        conclusion.verdicts,
        provenance,
        windowed.standing(),
        model_version=read.bundle.version,
        episode_ids=conclusion.episode_ids,
    )
    headers = [[(SOURCE_HEADER, source)] for source in provenance.sources]
    records = list(map(Record, repeat(topic), read.telemetry.vehicle_ids, values, headers))
    return list(compress(records, ~run.failed)) if run.failed.any() else records


def _failures(run: ScoredRun) -> list[Reject]:
    """Reject the events that could not be scored."""
    wrong = f"model {run.read.bundle.version} cannot score it by itself"
    detail = sentence(wrong, "it again by `fleet dlq redrive` when the model is mended")
    places = run.read.telemetry.index[np.flatnonzero(run.failed)].tolist()
    return [Reject(place, "scoring_failed", detail) for place in places]


def key_counts(run: ReadRun) -> KeyCounts:
    """Count the events whose record's key is not their vehicle: others of the vehicle may stand elsewhere."""
    keys = [message.key() for message in run.events]
    wrong = sum(map(ne, keys, map(str.encode, run.telemetry.vehicle_ids)))
    keyless = keys.count(None) if wrong else 0
    return KeyCounts(keyless, wrong - keyless)


def episode_records(topic: str, changes: Sequence[EpisodeChange]) -> list[Record]:
    """Encode what changed; `source` is the episode's latest event."""
    return [
        Record(
            topic,
            change.episode.episode_id.encode(),
            encode_episode(change.episode),
            [(SOURCE_HEADER, change.source.encode())],
        )
        for change in changes
    ]


def sender_records(topic: str, run: ReadRun) -> list[Record]:
    """Encode what has been learnt of some senders; `source` is the run's last record."""
    source = b"%d:%d" % (run.entered.events.partition, run.offsets.following - 1)
    return [
        Record(topic, report.vehicle_id.encode(), encode_sender(report), [(SOURCE_HEADER, source)])
        for report in run.senders
    ]


def dead_letters(
    settings: KafkaSettings, partition: int, messages: Sequence[Message], rejects: Sequence[Reject]
) -> list[Record]:
    """Give rejected records back as they were, with the reason.

    Where the telemetry topic takes more than it was made with, a value may be too large for any dead letter: it then
    stays behind, and the header `omitted` says how many bytes stand at the source.
    """
    if rejects:  # one line a block: a sender gone bad must not flood the log
        reasons = dict(Counter(reject.reason for reject in rejects))
        first = messages[rejects[0].index].offset()
        logger.warning("records_rejected", extra={"partition": partition, "offset": first, "reasons": reasons})
    records = []
    for reject in rejects:
        message = messages[reject.index]
        headers = DeadLetterHeaders(reject.reason, reject.detail, str(Source(partition, message.offset())))
        key, value = message.key(), message.value()
        if (size_bytes := len(message)) > settings.max_message_bytes:
            headers, value = msgspec.structs.replace(headers, omitted=size_bytes), None
            key = key if key is not None and len(key) <= settings.max_message_bytes else None
        records.append(Record(settings.topics.dlq, key, value, headers.encode()))
    return records


def state_records(settings: KafkaSettings, partition: int, plan: str, state: PartitionState) -> list[Record]:
    """Encode what is remembered of a partition, by the name of its plan; blocks, because compressing takes a while.

    Raises KafkaUnavailableError: the state notes how far the scored topic has come.
    """
    scored_from = kafka.end_offset(settings, settings.topics.scored, partition)
    chunk_bytes = min(settings.max_message_bytes, LARGEST_CHUNK_BYTES)
    chunks = encode_state(replace(state, scored_from=scored_from), plan, chunk_bytes)
    source = b"%d:%d" % (partition, state.next_offset - 1)
    headers = [(SOURCE_HEADER, source), (CHUNKS_HEADER, b"%d" % len(chunks))]
    return [Record(settings.topics.state, b"%d/%d" % (partition, i), chunk, headers) for i, chunk in enumerate(chunks)]
