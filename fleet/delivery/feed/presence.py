"""Which vehicles a client still shows, so that it can be told which of them have left."""

from collections.abc import Collection

from fleet.delivery.feed.block import Chosen


class Presence:
    """The vehicles whose newest event a subscription was sent.

    After a resume nobody knows which vehicles the client has kept: each is said to have left, once.
    """

    def __init__(self, *, client_has_more: bool) -> None:
        self._client_has_more = client_has_more
        self._present: set[str] = set()
        self._gone: set[str] = set()  # of what the client may have kept

    def has(self, vehicle_id: str) -> bool:
        """Tell whether the client shows a vehicle."""
        return vehicle_id in self._present

    def enter(self, vehicle_ids: Collection[str]) -> None:
        """Note that events of these vehicles were sent."""
        self._present.update(vehicle_ids)

    def leave(self, vehicle_ids: Collection[str]) -> None:
        """Note that the client was told that these vehicles have left."""
        self._present.difference_update(vehicle_ids)

    def leaving(self, chosen: Chosen) -> set[str]:
        """Follow a block; return the vehicles that left the selection in it."""
        left = (self._present & chosen.left) | chosen.passed_through
        if self._client_has_more:
            left |= chosen.left - self._gone
            self._gone |= chosen.left
        self._present |= chosen.entered
        self._present -= chosen.left
        return left

    def missed(self, chosen: Chosen) -> set[str]:
        """Follow a block that is not sent; return the vehicles that left the selection in it."""
        left = self._present & chosen.left
        self._present -= left
        return left

    @property
    def shown(self) -> set[str]:
        """The vehicles that the client shows."""
        return set(self._present)
