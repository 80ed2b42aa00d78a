"""Episodes that were published -> columns: whose they are, when they opened and were last heard of, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleet.detection.episodes import EpisodeChange


@dataclass(frozen=True, slots=True)
class OpenedEpisodes:
    """E episodes that opened."""

    vehicle: npt.NDArray[np.intp]
    time_s: npt.NDArray[np.float64]
    """float64[E]: the time of the event that opened each, which is not that of the first alarm in it."""
    until_s: npt.NDArray[np.float64]
    """float64[E]: when each was last heard of."""
    causes: list[str]
    """The cause that each had at its end."""


def opened_episodes(changes: Iterable[EpisodeChange], vehicle_names: Sequence[str]) -> OpenedEpisodes:
    """Sum up what was said of each episode: its first record says when it opened, its last one all the rest."""
    records = [change.episode for change in changes]
    first = {record.episode_id: record for record in reversed(records)}
    last = {record.episode_id: record for record in records}
    number = {name: place for place, name in enumerate(vehicle_names)}
    return OpenedEpisodes(
        np.array([number[record.vehicle_id] for record in last.values()], np.intp),
        np.array([first[name].updated_at for name in last], np.float64),
        np.array([record.updated_at for record in last.values()], np.float64),
        [record.cause or "" for record in last.values()],
    )
