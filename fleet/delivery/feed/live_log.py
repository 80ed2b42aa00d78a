"""The newest stretch of the log, in memory: what live subscriptions are sent, and the latest event of each vehicle.

Subscriptions have places in it and no queues of their own. Who is still at the oldest block when that goes is passed
over it (`Follower.skip`), so that what it misses is counted.
"""

from bisect import bisect_left
from collections import OrderedDict, deque
from typing import Final, Protocol

from fleet.delivery.feed.block import FeedBlock, Row
from fleet.delivery.feed.cursor import Cursor, CursorKey, Positions, is_reached

# Selections are kept with so many of the newest blocks; who is further behind has them made again.
_BLOCKS_WITH_SELECTIONS: Final = 64
_MAX_BLOCKS: Final = 10_000  # where few events come, each is a block


class Follower(Protocol):
    """Who has a place in the log."""

    next_number: int

    def skip(self, block: FeedBlock) -> None:
        """Go past a block that is about to be forgotten."""


class LiveLog:
    """At most `most_events` events in blocks, which are numbered; the latest events of `max_vehicles` vehicles.

    `epoch` is the id of the scored topic, `start` the next offset of each of its partitions at which this begins.
    """

    def __init__(
        self, epoch: str, start: Positions, key: CursorKey, *, most_events: int, max_vehicles: int, began_s: float
    ) -> None:
        self.epoch, self.start, self.head = epoch, start, start
        self.most_events, self.max_vehicles = most_events, max_vehicles
        self.lost = 0  # events that followers were told to have lost
        self._appended = 0  # events since the start
        self.followers: set[Follower] = set()
        self._key, self._began_s = key, began_s
        self._blocks: deque[FeedBlock] = deque()
        self._first_number = 0
        self._latest: OrderedDict[str, Row] = OrderedDict()  # the longest silent first
        self._snapshot: FeedBlock | None = None

    @property
    def next_number(self) -> int:
        """The number that the next block will have."""
        return self._first_number + len(self._blocks)

    def block(self, number: int) -> FeedBlock:
        """Return a block by its number; it is held where a follower stands at it or before it."""
        return self._blocks[number - self._first_number]

    def append(self, block: FeedBlock) -> None:
        """Add a block, and let go of the oldest ones beyond the bound."""
        block.events_before = self._appended
        self._appended += len(block)
        self._blocks.append(block)
        self.head, self._snapshot = block.end, None
        for row in block.rows:
            self._keep(row)
        if len(self._blocks) > _BLOCKS_WITH_SELECTIONS:
            self._blocks[-_BLOCKS_WITH_SELECTIONS - 1].forget_selections()
        while len(self._blocks) > 1 and (self._held() > self.most_events or len(self._blocks) > _MAX_BLOCKS):
            self._let_go()

    def start_of(self, number: int) -> Positions:
        """Return the positions before a block."""
        return self.start if number == self._first_number else self.block(number - 1).end

    def first_after(self, positions: Positions) -> int:
        """Return the number of the first block that holds anything after these positions."""
        numbers = range(self._first_number, self.next_number)
        place = bisect_left(numbers, True, key=lambda number: not is_reached(self.block(number).end, positions))
        return self._first_number + place

    def reaches_back_to(self, positions: Positions) -> bool:
        """Tell whether everything after these positions is held, or has not come yet."""
        partitions = self.start.keys() | positions.keys()
        return all(self.start.get(partition, 0) <= positions.get(partition, 0) for partition in partitions)

    def goes_on_at(self, epoch: str, start: Positions) -> bool:
        """Tell whether nothing is missing between the head and records that are read from `start`."""
        return epoch == self.epoch and all(self.head.get(p, offset) == offset for p, offset in start.items())

    def waiting(self, number: int) -> int:
        """Count the events from a block on."""
        return self._appended - self.block(number).events_before if number < self.next_number else 0

    def snapshot(self) -> FeedBlock:
        """Return the latest event of each vehicle, the longest silent first, as one block that ends at the head."""
        if self._snapshot is None:
            self._snapshot = FeedBlock(list(self._latest.values()), self.head, self.at_s)
        return self._snapshot

    @property
    def at_s(self) -> float:
        """When the newest block came, or this log began, in Unix seconds."""
        return self._blocks[-1].at_s if self._blocks else self._began_s

    def token_after(self, block: FeedBlock) -> str:
        """Write the cursor after a block, once for all."""
        if block.token is None:
            block.token = self.token(block.end, block.at_s)
        return block.token

    def token(self, positions: Positions, at_s: float) -> str:
        """Write a cursor."""
        return self._key.write(Cursor(self.epoch, positions, int(at_s)))

    def write_token(self, cursor: Cursor) -> str:
        """Write a cursor as it was."""
        return self._key.write(cursor)

    def read_token(self, text: str) -> Cursor:
        """Read a cursor. Raises BadCursorError."""
        return self._key.read(text)

    def _held(self) -> int:
        return self._appended - self._blocks[0].events_before

    def _keep(self, row: Row) -> None:
        vehicle_id = row.event.vehicle_id
        self._latest[vehicle_id] = row
        self._latest.move_to_end(vehicle_id)
        if len(self._latest) > self.max_vehicles:
            self._latest.popitem(last=False)

    def _let_go(self) -> None:
        oldest = self._blocks[0]
        for follower in [one for one in self.followers if one.next_number == self._first_number]:
            follower.skip(oldest)
        self._blocks.popleft()
        self._first_number += 1
        self.start = oldest.end
