"""The dead-letter topic: the sender's own key and bytes, with headers that say why they were not scored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from fleet.events.fields import SourceText
from fleet.events.refusals import Reason
from fleet.events.source import Source

REASONS: Final[Mapping[Reason, str]] = {
    "not_utf8": "the value is not UTF-8",
    "not_json": "the value is no JSON, or more than one JSON value",
    "not_an_object": "the value is JSON, but no object",
    "missing_field": "`vehicleId`, `timestamp` or every signal is missing",
    "wrong_type": "a field is no value of its channel's type, such as `31 km/h` for a number",
    "not_finite": "a number is NaN, infinite or beyond a float",
    "bad_timestamp": "`timestamp` is no time between the years 1970 and 9999, or in another unit than seconds",
    "impossible_position": "a value lies beyond its channel's limits, such as latitude 91",
    "empty": "the record has no value",
    "too_large": "the value is larger than `ingest.max_event_bytes`, or its `vehicleId` is too long",
    "scoring_failed": "the scorer failed on this event by itself, after every retry",
}
"""What each reason means."""
OMITTED_HEADER: Final = "omitted"
REDRIVEN_HEADER: Final = "redriven"
NO_SOURCE: Final = Source(-1, -1)


class DeadLetterHeaders(msgspec.Struct, frozen=True):
    """The headers of a dead letter."""

    reason: Annotated[Reason, Meta(description="why it was not scored")]
    detail: Annotated[str, Meta(description="what exactly is wrong with it and what to send, in a sentence")]
    source: SourceText
    omitted: Annotated[
        int | msgspec.UnsetType,
        Meta(description="bytes of the value, where it was too large to come along and stands at its source alone"),
    ] = msgspec.UNSET

    def encode(self) -> list[tuple[str, bytes]]:
        """Lay the headers out for Kafka."""
        fields = msgspec.structs.asdict(self).items()
        return [(name, str(value).encode()) for name, value in fields if value is not msgspec.UNSET]


class RedriveHeaders(msgspec.Struct, frozen=True):
    """The header of a telemetry record that was a dead letter and was sent again."""

    redriven: Annotated[
        str | msgspec.UnsetType, Meta(description="source of the dead letter that was sent again as this record")
    ] = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record of the dead-letter topic."""

    partition: int
    offset: int
    at_s: float  # when it was written, Unix seconds
    source: Source  # (-1, -1): its header cannot be read
    reason: str
    detail: str
    key: bytes | None
    value: bytes | None
    is_omitted: bool = False  # the value was too large to come along; it stands at the source


def read_dead_letter(
    place: Source,
    at_s: float,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
) -> DeadLetter:
    """Read a record of the dead-letter topic at a place of its own; what its headers lack is empty."""
    said = {name: text or b"" for name, text in headers}
    return DeadLetter(
        place.partition,
        place.offset,
        at_s,
        Source.read(said.get("source")) or NO_SOURCE,
        said.get("reason", b"").decode(errors="replace"),
        said.get("detail", b"").decode(errors="replace"),
        key,
        value,
        OMITTED_HEADER in said,
    )
