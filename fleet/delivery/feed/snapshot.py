"""The latest events that one subscription still has to be sent, in parts."""

from collections.abc import Iterator, Sequence
from typing import Final

from fleet.delivery.feed.block import Sent

# Common clients refuse messages over 1 MiB unless told otherwise; a frame stays below, unless one event does not.
MAX_FRAME_BYTES: Final = 900_000


class SnapshotParts:
    """Cuts events into parts of one frame each; there is always one, if an empty one."""

    def __init__(self, events: Sequence[Sent]) -> None:
        self._events, self._next, self._part = events, 0, 0

    @property
    def rest(self) -> Sequence[Sent]:
        """What was not given out yet."""
        return self._events[self._next :]

    def take(self) -> tuple[int, bool, Sequence[Sent]]:
        """Give out the next part: its number, whether it is the last, and its events."""
        part, piece = self._part, next(pieces(self.rest), ())
        self._next += len(piece)
        self._part += 1
        return part, self._next == len(self._events), piece


def pieces(events: Sequence[Sent], most_bytes: int = MAX_FRAME_BYTES) -> Iterator[Sequence[Sent]]:
    """Cut events so that no piece exceeds `most_bytes`, unless one event alone does."""
    first = size_bytes = 0
    for place, event in enumerate(events):
        size_bytes += len(event.body) + 1
        if size_bytes > most_bytes and place > first:
            yield events[first:place]
            first, size_bytes = place, len(event.body) + 1
    if first < len(events):
        yield events[first:]
