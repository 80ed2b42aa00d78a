"""What a finished share brings to the topics: results, dead letters, episode changes, and now and then the state.

On the event's way between `fleet.detection.episodes` and the partition's transaction. All records stand in the
partition number of their source, and say it in a header.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress, repeat
from operator import ne

import msgspec

from fleet import kafka
from fleet.detection.episodes import EpisodeChange
from fleet.detection.verdicts import Verdicts
from fleet.events.source import Source
from fleet.events.telemetry import Reject
from fleet.ingest.owned_partition import OwnedPartition, Share
from fleet.kafka import Record
from fleet.records.dead_letter import DeadLetterHeaders
from fleet.records.episode import encode_episode
from fleet.records.record import SOURCE_HEADER
from fleet.records.scored import Provenance, encode_results
from fleet.records.state import CHUNKS_HEADER, PartitionState, encode_state
from fleet.settings import KafkaSettings

LARGEST_CHUNK_BYTES = 900_000

logger = logging.getLogger(__name__)


def scored_records(
    topic: str,
    share: Share,
    verdicts: Verdicts,
    provenance: Provenance,
    episode_ids: Sequence[str | None],
) -> list[Record]:
    """Encode the results of a share, without the events that could not be scored."""
    block = share.block
    values = encode_results(
        block,
        verdicts,
        provenance,
        model_version=share.bundle.version,
        threshold=share.bundle.threshold,
        warming_up=share.windowed.warming_up.tolist(),
        repeat=share.windowed.repeat.tolist(),
        episode_ids=episode_ids,
    )
    headers = [[(SOURCE_HEADER, source)] for source in provenance.sources]
    records = list(map(Record, repeat(topic), block.vehicle_ids, values, headers))
    return list(compress(records, ~share.failed)) if share.failed.any() else records


def foreign_keys(share: Share) -> int:
    """Count the events whose record's key is not their vehicle: others of the vehicle may stand elsewhere."""
    keys = [message.key() for message in share.events]
    return sum(map(ne, keys, map(str.encode, share.block.vehicle_ids)))


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


def dead_letters(settings: KafkaSettings, share: Share, rejects: Sequence[Reject]) -> list[Record]:
    """Give rejected records back as they were, with the reason.

    Where the telemetry topic takes more than it was made with, a value may be too large for any dead letter: it then
    stays behind, and the header `omitted` says how many bytes stand at the source.
    """
    partition = share.owned.partition
    if rejects:  # one line a block: a sender gone bad must not flood the log
        reasons = dict(Counter(reject.reason for reject in rejects))
        first = share.messages[rejects[0].index].offset()
        logger.warning("records_rejected", extra={"partition": partition, "offset": first, "reasons": reasons})
    records = []
    for reject in rejects:
        message = share.messages[reject.index]
        headers = DeadLetterHeaders(reject.reason, reject.detail, str(Source(partition, message.offset())))
        key, value = message.key(), message.value()
        if (size_bytes := len(message)) > settings.max_message_bytes:
            headers, value = msgspec.structs.replace(headers, omitted=size_bytes), None
            key = key if key is not None and len(key) <= settings.max_message_bytes else None
        records.append(Record(settings.topics.dlq, key, value, headers.encode()))
    return records


def state_records(settings: KafkaSettings, owned: OwnedPartition, state: PartitionState) -> list[Record]:
    """Encode what is remembered; on a thread of its own, because compressing takes a while.

    Raises KafkaUnavailableError: the state notes how far the scored topic has come.
    """
    scored_from = kafka.end_offset(settings, settings.topics.scored, owned.partition)
    chunk_bytes = min(settings.max_message_bytes, LARGEST_CHUNK_BYTES)
    chunks = encode_state(replace(state, scored_from=scored_from), owned.windows.plan.name, chunk_bytes)
    owned.state_bytes_per_vehicle = sum(map(len, chunks)) / max(len(state.windows["vehicle_ids"]), 1)
    source = b"%d:%d" % (owned.partition, state.next_offset - 1)
    headers = [(SOURCE_HEADER, source), (CHUNKS_HEADER, b"%d" % len(chunks))]
    return [
        Record(settings.topics.state, b"%d/%d" % (owned.partition, i), chunk, headers) for i, chunk in enumerate(chunks)
    ]
