"""Where a subscription that names a cursor goes on: in memory, in the log, or not at all and why."""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from fleet.delivery.feed.cursor import BadCursorError, Cursor, Positions
from fleet.delivery.feed.live_log import LiveLog
from fleet.delivery.feed.messages import RecoveryReason


class RecoveryLimits(NamedTuple):
    """How far back a client may resume."""

    most_events: int
    most_age_s: float


class Edges(NamedTuple):
    """What Kafka holds of the scored topic: the first offset and the next one of each partition."""

    first: Positions
    next: Positions


class GoOn(Enum):
    """How a subscription goes on after its cursor."""

    FROM_MEMORY = "everything after the cursor is held, or has not come yet"
    FROM_LOG = "what follows is read from the log until memory has it"
    ASK_KAFKA = "only Kafka's edges can tell"


class NotRecovered(NamedTuple):
    """The subscription begins anew."""

    reason: RecoveryReason


Plan = GoOn | NotRecovered


def plan_recovery(
    cursor: Cursor, log: LiveLog, limits: RecoveryLimits, now_s: float, edges: Edges | None = None
) -> Plan:
    """Decide where to go on after a cursor. Raises BadCursorError where it lies beyond the end of the log."""
    if cursor.epoch != log.epoch:
        return NotRecovered("recreated")
    if beyond := _beyond(cursor.positions, log.head):
        # A gateway that is still catching up has not come to where another one was.
        if edges is None:
            return GoOn.ASK_KAFKA
        if any(offset > edges.next.get(partition, 0) for partition, offset in beyond.items()):
            raise BadCursorError("The cursor lies beyond the end of the log: subscribe without `resume`.")
    if log.reaches_back_to(cursor.positions):
        return GoOn.FROM_MEMORY
    if now_s - cursor.at_s > limits.most_age_s or distance(cursor.positions, log.head) > limits.most_events:
        return NotRecovered("limit")
    if edges is None:
        return GoOn.ASK_KAFKA
    if any(first > cursor.positions.get(partition, 0) for partition, first in edges.first.items()):
        return NotRecovered("retention")
    return GoOn.FROM_LOG


def _beyond(positions: Positions, head: Positions) -> Mapping[int, int]:
    return {partition: offset for partition, offset in positions.items() if offset > head.get(partition, 0)}


def distance(positions: Positions, head: Positions) -> int:
    """Count the offsets between two places, those of transactions' markers among them."""
    return sum(max(offset - positions.get(partition, 0), 0) for partition, offset in head.items())
