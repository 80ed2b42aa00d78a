"""One record to publish, whatever its topic."""

from collections.abc import Sequence
from typing import Final

import msgspec

from fleet.events.fields import SourceText

SOURCE_HEADER: Final = "source"


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record to publish; its header `source` is the `partition:offset` of the telemetry record it comes from."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes]]


class NoHeaders(msgspec.Struct, frozen=True):
    """A record that comes of no telemetry has no headers."""


class RecordHeaders(msgspec.Struct, frozen=True):
    """The header that every record has which comes of telemetry."""

    source: SourceText
