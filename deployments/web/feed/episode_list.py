"""The episodes that subscriptions are told of when they begin or resume, each as its latest record has it."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from fleet.delivery.feed.selection import EpisodeItem
from fleet.delivery.fleet_view import EpisodeRecord
from fleet.delivery.handling import Handlings
from fleet.events import fields
from fleet.events.fields import wire_name
from fleet.records.episode import handled, listed

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
    """At most `MAX_EPISODES`; those that changed longest ago go first. `handlings` say what was done about them."""

    def __init__(self, handlings: Handlings) -> None:
        self._handlings = handlings
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
            item = self._items[episode.episode_id] = _item(episode, value, published_at_s)
            changed.append(self._told(item))
            self._items.move_to_end(episode.episode_id)
            if len(self._items) > MAX_EPISODES:
                self._items.popitem(last=False)
        return changed

    def acted_on(self, episode_ids: Iterable[str]) -> list[EpisodeItem]:
        """Return episodes that somebody has done something about, as they are now."""
        return [self._told(self._items[name]) for name in dict.fromkeys(episode_ids) if name in self._items]

    def latest_first(self) -> Iterator[EpisodeItem]:
        """Give the episodes, the one that changed last first."""
        return map(self._told, reversed(self._items.values()))

    def _told(self, item: EpisodeItem) -> EpisodeItem:
        handling = self._handlings[item.episode_id]
        if not handling.actions:
            return item
        summary = handling.summary(time.time())
        changed_at_s = max(item.published_at_s, summary.changed_at)
        return item._replace(body=handled(item.body, summary), published_at_s=changed_at_s)


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
