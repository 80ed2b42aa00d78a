"""What a client knows of its subscription: the fleet as it was told, and where to resume. No socket is known."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from fleet.delivery.feed.delta import DeltaDecoder

Event: TypeAlias = dict[str, Any]
Message: TypeAlias = Mapping[str, Any]


class Loss(NamedTuple):
    """Events that were not received: how many (None: nobody can tell), and why."""

    events: int | None
    reason: str


class FeedState:
    """Follows the messages of one subscription; `on_lost` is told where events are missing.

    `snapshot` says whether the subscription asked for one.
    """

    def __init__(self, on_lost: Callable[[Loss], None] = lambda _: None, *, snapshot: bool = False) -> None:
        self.vehicles: dict[str, Event] = {}
        """The newest event of each vehicle that is in view."""
        self.episodes: dict[str, dict[str, Any]] = {}
        """The latest record of each episode that this heard of."""
        self.cursor: str | None = None
        self._on_lost, self._snapshot = on_lost, snapshot
        self._is_partial = False  # a snapshot is under way
        self._deltas = DeltaDecoder()

    def apply(self, message: Message) -> list[Event]:
        """Follow a message and return the events that it brought; its cursor counts once `come_to` was called."""
        match message["type"]:
            case "subscribed" if not message["recovered"]:
                self.vehicles.clear()
                self._deltas = DeltaDecoder()
                self._is_partial = self._snapshot or message["recovered"] is False
            case "snapshot":
                for item in message["vehicles"]:
                    self._show(item)
                self._is_partial = not message["last"]
            case "events":
                return [self._show(item) for item in message["items"]]
            case "leave":
                for vehicle_id in message["vehicles"]:
                    self.vehicles.pop(vehicle_id, None)
                    self._deltas.forget(vehicle_id)
            case "episodes":
                self.episodes.update((episode["episodeId"], episode) for episode in message["items"])
            case "lost":
                self._on_lost(Loss(message["count"], message["reason"]))
        return []

    def come_to(self, message: Message) -> None:
        """Resume after this message from now on: everything in it was taken."""
        if not self._is_partial and message.get("id") is not None:
            self.cursor = message.get("cursor", self.cursor)

    def begin_anew(self) -> None:
        """Give up the cursor, which no gateway takes any more."""
        self.cursor = None
        self._on_lost(Loss(None, "bad_cursor"))

    def _show(self, item: Event) -> Event:
        event = self._deltas.decode(item)
        self.vehicles[event["vehicleId"]] = event
        return event
