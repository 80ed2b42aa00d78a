"""Which rows of a block a subscription may see and wants: tenant, filter, viewport. Fields say what of them is sent."""

from collections.abc import Collection
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fleet.delivery.feed.messages import Filter, Viewport

DEFAULT_TENANT: Final = "default"
"""Whose the events are that name no tenant."""

Mask = NDArray[np.bool_]


class Columns(Protocol):
    """What is asked of N rows: each is a column of N values."""

    @property
    def anomalous(self) -> Mask:
        """bool[N]."""

    @property
    def severity(self) -> NDArray[np.float64]:
        """float64[N] in 0..1."""

    @property
    def latitude(self) -> NDArray[np.float64]:
        """float64[N] in degrees; NaN where it is unknown."""

    @property
    def longitude(self) -> NDArray[np.float64]:
        """float64[N] in degrees; NaN where it is unknown."""

    def __len__(self) -> int:
        """Return N."""

    def rows_where(self, name: Literal["tenant", "vehicle", "cause"], values: Collection[str]) -> Mask:
        """Say of each row whether its tenant, its vehicle or its cause is one of these."""


class Selection(NamedTuple):
    """What a subscription is sent; blocks keep the rows of equal selections, so that they are found once.

    `tenant` comes of who is signed in and never of a message; None may see every tenant's events.
    """

    tenant: str | None = None
    filter: Filter = Filter()
    viewport: Viewport | None = None
    fields: tuple[str, ...] | None = None

    @property
    def is_everything(self) -> bool:
        """Say whether no row is left out."""
        return self.tenant is None and self.filter == _ALL and self.viewport is None

    @property
    def can_be_left(self) -> bool:
        """Say whether a vehicle's next event may be left out after one that was sent."""
        return self.viewport is not None or self.filter.anomalies or self._by_verdict

    @property
    def _by_verdict(self) -> bool:
        return self.filter.min_severity is not None or self.filter.causes is not None

    def rows(self, block: Columns) -> list[int]:
        """Return the rows of a block that are sent, in order."""
        if self.is_everything:
            return list(range(len(block)))
        wanted: Mask = np.ones(len(block), np.bool_)
        for mask in self._masks(block):
            wanted &= mask
        found: list[int] = np.flatnonzero(wanted).tolist()
        return found

    def _masks(self, block: Columns) -> list[Mask]:
        """Return what each condition lets through."""
        masks: list[Mask] = []
        if self.tenant is not None:
            masks.append(block.rows_where("tenant", (self.tenant,)))
        if self.filter.vehicles is not None:
            masks.append(block.rows_where("vehicle", self.filter.vehicles))
        if self.filter.causes is not None:
            masks.append(block.rows_where("cause", self.filter.causes))
        if self.filter.anomalies:
            masks.append(block.anomalous)
        if self.filter.min_severity is not None:
            masks.append(block.severity >= self.filter.min_severity)
        if self.viewport is not None:
            masks.append(_inside(self.viewport, block.latitude, block.longitude))
        return masks

    def wants_episode(self, episode: "EpisodeItem") -> bool:
        """Tell whether an episode is sent, so far as it says itself; where its vehicle is, it does not say."""
        if self.tenant is not None and (episode.tenant_id or DEFAULT_TENANT) != self.tenant:
            return False
        wanted = self.filter
        return (
            (wanted.vehicles is None or episode.vehicle_id in wanted.vehicles)
            and (wanted.causes is None or episode.cause in wanted.causes)
            and (wanted.min_severity is None or episode.severity >= wanted.min_severity)
        )


_ALL: Final = Filter()


class EpisodeItem(NamedTuple):
    """An episode's latest record, and what is asked of it."""

    episode_id: str
    vehicle_id: str
    tenant_id: str | None
    severity: float
    cause: str | None
    is_open: bool
    published_at_s: float
    body: bytes  # the JSON text of a `ListedEpisode`


def _inside(viewport: Viewport, latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> Mask:
    """Tell which positions lie in a viewport, its edges included; unknown ones (NaN) lie nowhere."""
    west, south, east, north = viewport
    after_west, before_east = longitude >= west, longitude <= east
    between = after_west & before_east if west <= east else after_west | before_east
    return between & (latitude >= south) & (latitude <= north)
