"""The episodes topic: one stretch of anomalous behaviour of one vehicle, as its latest record has it.

`fleet.detection.episodes` makes episodes, `fleet.ingest` publishes them under their id, `fleet.delivery` reads them.
The topic is compacted; a record without a value removes an episode.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from fleet.events.fields import IN_0_TO_1, EpisodeId, ModelVersion, TenantId, VehicleId, wire_name
from fleet.records.action import HandlingSummary

ClosedBy: TypeAlias = Literal["recovery", "silence"]


UsualPause: TypeAlias = Annotated[
    float, Meta(description="seconds from event to event before a silence; left out of other episodes")
]


class Episode(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """One stretch of anomalous behaviour of one vehicle, as its latest record has it; times are event times."""

    episode_id: EpisodeId
    vehicle_id: VehicleId
    tenant_id: TenantId
    state: Annotated[Literal["open", "closed"], Meta(description="whether it goes on")]
    opened_at: Annotated[
        float,
        Meta(
            description="Unix seconds, of the first alarm of the opening window; of a silence, when it was last heard"
        ),
    ]
    updated_at: Annotated[float, Meta(description="Unix seconds, of the latest event that this record knows")]
    closed_at: Annotated[
        float | None, Meta(description="Unix seconds; after a silence, when it was last heard of; null while open")
    ]
    cause: Annotated[str | None, Meta(description="the one with the largest summed severity; `silent` of a silence")]
    severity: Annotated[float, Meta(description="the largest so far", extra_json_schema=IN_0_TO_1)]
    peak_error: Annotated[float, Meta(description="the largest reconstruction error so far")]
    events: Annotated[int, Meta(description="events since `openedAt`")]
    anomalous_events: Annotated[int, Meta(description="those of them that alarmed")]
    worst: Annotated[
        list[str],
        Meta(description="sources of the events with the largest errors", extra_json_schema={"maxItems": 3}),
    ]
    closed_by: Annotated[ClosedBy | None, Meta(description="what ended it; null while open")]
    model_version: ModelVersion
    usual_pause: UsualPause | msgspec.UnsetType = msgspec.UNSET


class ListedEpisode(Episode, frozen=True, gc=False, rename=wire_name, kw_only=True):
    """An episode as its latest record has it, and when that was published; the other times are event times."""

    published_at: Annotated[
        float, Meta(description="Unix seconds, the log's time of this record; `since` is compared with it")
    ]
    handling: Annotated[
        HandlingSummary | msgspec.UnsetType, Meta(description="what was done about it; left out where nothing was")
    ] = msgspec.UNSET


class EpisodeSummary(msgspec.Struct, gc=False, rename=wire_name):
    """What must be known of an episode to find it; the rest stays in its bytes."""

    episode_id: EpisodeId
    vehicle_id: VehicleId
    state: str
    tenant_id: TenantId = None
    cause: str | None = None
    severity: float = 0.0
    opened_at: Any = None
    updated_at: Any = None
    model_version: str = ""


encode_episode: Callable[[Episode], bytes] = msgspec.json.Encoder().encode
decode_summary: Callable[[bytes], EpisodeSummary] = msgspec.json.Decoder(EpisodeSummary).decode


def handled(listed_episode: bytes, handling: HandlingSummary) -> bytes:
    """Append to the text of a `ListedEpisode` what was done about it."""
    return b'%b,"handling":%b}' % (listed_episode[:-1], msgspec.json.encode(handling))


def listed(record: bytes, published_at_s: float) -> bytes:
    """Append to the text of an episode's record when it was published: the text of a `ListedEpisode`."""
    return b'%b,"publishedAt":%a}' % (record.rstrip()[:-1], published_at_s)
