"""`partition:offset`: how every record that comes out names the telemetry record it comes from."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

_READABLE = rb"[0-9]{1,9}:[0-9]{1,18}"  # fits int64
_one = re.compile(_READABLE).fullmatch
_many = re.compile(rb"(?:" + _READABLE + rb",)*").fullmatch


class Source(NamedTuple):
    """Where a telemetry record stands."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def read(cls, text: bytes | None) -> Self | None:
        """Read one, None where the text is none."""
        if text is None or _one(text) is None:
            return None
        partition, _, offset = text.partition(b":")
        return cls(int(partition), int(offset))


def read_sources(texts: Sequence[bytes]) -> tuple[Int64s, Int64s]:
    """Read N sources as columns: partitions and offsets, int64[N] each, -1 where a text is none."""
    joined = b"".join([text + b"," for text in texts])
    if _many(joined) is None:
        found = [Source.read(text) or (-1, -1) for text in texts]
        columns = np.array(found, np.int64).reshape(-1, 2)
    else:
        columns = np.fromstring(joined.replace(b":", b",").decode(), np.int64, sep=",").reshape(-1, 2)
    return columns[:, 0], columns[:, 1]
