"""One record to publish, whatever its topic."""

from collections.abc import Sequence

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record to publish; its header `source` is the `partition:offset` of the telemetry record it comes from."""

    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes]]
