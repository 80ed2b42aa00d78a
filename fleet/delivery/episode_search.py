"""Finding episodes by what they are and by what was done about them, a page at a time. Pure."""

from dataclasses import dataclass
from typing import NamedTuple

from fleet.delivery.fleet_view import FleetView, KnownEpisode
from fleet.delivery.handling import Handling, Handlings
from fleet.records.action import HandlingStatus


class Place(NamedTuple):
    """Where a page ends. Episodes come by the log's time of their latest record, the latest first."""

    published_at_s: float
    episode_id: str

    @classmethod
    def of(cls, episode: KnownEpisode) -> "Place":
        """Return an episode's own place."""
        return cls(episode.published_at_s, episode.summary.episode_id)

    @classmethod
    def read(cls, text: str) -> "Place":
        """Read what `str` has written. Raises ValueError."""
        time_s, _, episode_id = text.partition("~")
        return cls(float(time_s), episode_id)

    def __str__(self) -> str:
        return f"{self.published_at_s!r}~{self.episode_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeFilter:
    """What an episode must be; None asks nothing. Times are the log's, Unix seconds."""

    state: str | None = None
    vehicle_id: str | None = None
    since_s: float | None = None
    until_s: float | None = None
    cause: str | None = None
    least_severity: float = 0.0
    status: HandlingStatus | None = None
    assignee: str | None = None
    label: str | None = None
    text: str | None = None

    def takes(self, episode: KnownEpisode, handling: Handling, now_s: float) -> bool:
        """Tell whether an episode is one that is asked for."""
        return self._takes_what_it_is(episode) and (
            (self.status is None or handling.status(now_s) == self.status)
            and self.assignee in (None, handling.assignee)
            and self.label in (None, handling.label)
            and (self.text is None or self.text.casefold() in _text(episode, handling))
        )

    def _takes_what_it_is(self, episode: KnownEpisode) -> bool:
        summary = episode.summary
        return (
            self.state in (None, summary.state)
            and self.vehicle_id in (None, summary.vehicle_id)
            and (self.since_s is None or episode.published_at_s >= self.since_s)
            and (self.until_s is None or episode.published_at_s < self.until_s)
            and self.cause in (None, summary.cause)
            and summary.severity >= self.least_severity
        )


class Page(NamedTuple):
    """A part of what was found, with what was done about each; `following` is where the next part begins."""

    episodes: list[tuple[KnownEpisode, Handling]]
    following: Place | None


def search(
    view: FleetView,
    handlings: Handlings,
    wanted: EpisodeFilter,
    *,
    tenant: str | None,
    now_s: float,
    after: Place | None = None,
    limit: int,
) -> Page:
    """Return at most `limit` episodes that are wanted, of those after a place."""
    found = []
    for episode in view.episodes(tenant):
        handling = handlings[episode.summary.episode_id]
        if (after is None or Place.of(episode) < after) and wanted.takes(episode, handling, now_s):
            found.append((episode, handling))
    found.sort(key=lambda pair: Place.of(pair[0]), reverse=True)
    return Page(found[:limit], Place.of(found[limit - 1][0]) if len(found) > limit else None)


def _text(episode: KnownEpisode, handling: Handling) -> str:
    """Return what is searched in: names, and what people have said."""
    summary = episode.summary
    said = (getattr(action.do, "text", "") for action in handling.actions)
    return "\n".join((summary.vehicle_id, summary.cause or "", handling.assignee or "", *said)).casefold()
