"""The episodes that subscriptions are told of when they begin or resume, each as its latest record has it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from fleet.delivery.feed.selection import EpisodeItem
from fleet.delivery.fleet_view import EpisodeRecord
from fleet.events import fields
from fleet.events.fields import wire_name
from fleet.records.episode import listed

MAX_EPISODES: Final = 20_000


class _Episode(msgspec.Struct, gc=False, rename=wire_name):
    """What subscriptions go by; the rest stays in the record's bytes."""

    episode_id: fields.EpisodeId
    vehicle_id: fields.VehicleId
    state: str
    severity: float
    tenant_id: fields.TenantId = None
    cause: str | None = None


_decode: Callable[[bytes], _Episode] = msgspec.json.Decoder(_Episode).decode


class EpisodeList:
    """At most `MAX_EPISODES`; those that changed longest ago go first."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, EpisodeItem] = OrderedDict()

    def receive(self, records: Iterable[EpisodeRecord]) -> list[EpisodeItem]:
        """Take records of the episodes topic and return what changed; those that cannot be read are passed over."""
        changed = []
        for key, value, published_at_s in records:
            if value is None:
                self._items.pop((key or b"").decode("utf-8", "replace"), None)
                continue
            try:
                episode = _decode(value)
            except (ValueError, RecursionError):
                continue
            changed.append(_item(episode, value, published_at_s))
            self._items[episode.episode_id] = changed[-1]
            self._items.move_to_end(episode.episode_id)
            if len(self._items) > MAX_EPISODES:
                self._items.popitem(last=False)
        return changed

    def latest_first(self) -> Iterator[EpisodeItem]:
        """Give the episodes, the one that changed last first."""
        return reversed(self._items.values())


def _item(episode: _Episode, value: bytes, published_at_s: float) -> EpisodeItem:
    return EpisodeItem(
        episode.episode_id,
        episode.vehicle_id,
        episode.tenant_id,
        episode.severity,
        episode.cause,
        episode.state == "open",
        published_at_s,
        listed(value, published_at_s),
    )
