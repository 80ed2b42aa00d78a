"""A generated city: a graph of straight directed roads around a centre, its weather and its hours.

Streets in a grid with avenues among them, a highway ring around it, and country roads beyond. `simulator.vehicles`
drives on it. All arrays are struct-of-arrays over directed roads (E of them); road 2i and 2i+1 are the two
directions of one road. Plane coordinates are metres east and north of the centre.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]

ROAD_TYPES: Final = ("highway", "urban", "rural")
HIGHWAY, URBAN, RURAL = range(3)
WEATHERS: Final = ("clear", "rain", "fog", "storm")
WEATHER_SHARES: Final = (0.7, 0.18, 0.07, 0.05)
WEATHER_LASTS_S: Final = 1800.0
METRES_PER_DEGREE: Final = 111_195.0  # of latitude, mean Earth radius 6,371,009 m

_STREETS = 33  # each way
_BLOCK_M = 125.0
_AVENUE_EVERY = 4
_RING_RADIUS_M, _RING_NODES = 3600.0, 56
_COUNTRY_RADIUS_M, _COUNTRY_NODES, _COUNTRY_ROADS = 9500.0, 84, 8
_STREET_KMH, _AVENUE_KMH, _RING_KMH, _COUNTRY_KMH = 40.0, 60.0, 110.0, 80.0


@dataclass(frozen=True, slots=True)
class City:
    """A city's roads; make one with `City.generate`."""

    name: str
    latitude: float
    longitude: float
    utc_offset_h: float
    seed: int
    start_m: Floats
    """float64[E, 2]: where each directed road begins, metres east and north of the centre."""
    direction: Floats
    """float64[E, 2]: unit vectors."""
    length_m: Floats
    road_type: npt.NDArray[np.int8]
    """int8[E]: index into `ROAD_TYPES`."""
    limit_kmh: Floats
    successors: Indices
    """intp[E, D]: roads that may follow, the straightest first; only the first `successor_count` count."""
    turn_kmh: Floats
    """float64[E, D]: how fast the turn into each successor is taken."""
    successor_count: Indices

    @classmethod
    def generate(
        cls,
        name: str = "Córdoba",
        latitude: float = -31.41,
        longitude: float = -64.18,
        utc_offset_h: float = -3.0,
        seed: int = 0,
    ) -> "City":
        """Lay out a city around a centre; the same arguments give the same city."""
        builder = _Roads(np.random.default_rng([seed, 0xC17]))
        grid = builder.add_grid()
        ring = builder.add_circle(_RING_RADIUS_M, _RING_NODES, 0.0, HIGHWAY, _RING_KMH)
        country = builder.add_circle(_COUNTRY_RADIUS_M, _COUNTRY_NODES, 250.0, RURAL, _COUNTRY_KMH)
        builder.join_grid_to_ring(grid, ring)
        builder.join_ring_to_country(ring, country)
        start, direction, length_m, road_type, limit_kmh = builder.directed()
        successors, turn_kmh, count = _junctions(builder.ends(), direction)
        return cls(
            name, latitude, longitude, utc_offset_h, seed,
            start, direction, length_m, road_type, limit_kmh, successors, turn_kmh, count,
        )  # fmt: skip

    def to_degrees(self, east_m: Floats, north_m: Floats) -> tuple[Floats, Floats]:
        """Return latitude and longitude of plane coordinates."""
        longitude_scale = METRES_PER_DEGREE * np.cos(np.radians(self.latitude))
        return self.latitude + north_m / METRES_PER_DEGREE, self.longitude + east_m / longitude_scale

    def local_hour(self, time_s: float) -> float:
        """Return the hour of the day, 0 to 24, at a Unix time."""
        return (time_s / 3600 + self.utc_offset_h) % 24.0

    def is_night(self, time_s: float) -> bool:
        """Say whether it is dark at a Unix time."""
        return not 7.0 <= self.local_hour(time_s) < 20.0

    def weather(self, time_s: float) -> int:
        """Return the index into `WEATHERS` at a Unix time; it holds for half an hour."""
        draw = np.random.default_rng([self.seed, 0x3EA, int(time_s // WEATHER_LASTS_S)]).random()
        return int(np.searchsorted(np.cumsum(WEATHER_SHARES)[:-1], draw, side="right"))


class _Roads:
    """Collects nodes and undirected roads while a city is laid out."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._nodes: list[tuple[float, float]] = []
        self._roads: list[tuple[int, int, int, float]] = []  # from, to, type, limit

    def add_grid(self) -> list[list[int]]:
        half = (_STREETS - 1) / 2
        nodes = [
            [self._node((column - half) * _BLOCK_M, (row - half) * _BLOCK_M, 12.0) for column in range(_STREETS)]
            for row in range(_STREETS)
        ]
        for lines in (nodes, list(zip(*nodes, strict=True))):
            for number, line in enumerate(lines):
                self._add_street(line, is_avenue=number % _AVENUE_EVERY == 0)
        return nodes

    def _add_street(self, line: Sequence[int], is_avenue: bool) -> None:
        for a, b in pairwise(line):
            if is_avenue or self._rng.random() > 0.07:  # a city has parks and closed streets
                self._roads.append((a, b, URBAN, _AVENUE_KMH if is_avenue else _STREET_KMH))

    def add_circle(self, radius_m: float, count: int, wiggle_m: float, road_type: int, limit_kmh: float) -> list[int]:
        angles = np.arange(count) / count * 2 * np.pi
        nodes = [self._node(radius_m * np.cos(angle), radius_m * np.sin(angle), wiggle_m) for angle in angles]
        self._roads.extend((a, b, road_type, limit_kmh) for a, b in zip(nodes, [*nodes[1:], nodes[0]], strict=True))
        return nodes

    def join_grid_to_ring(self, grid: list[list[int]], ring: list[int]) -> None:
        """Lead the avenues in the middle of each side, and the two beside it, out to the ring."""
        middle = _STREETS // 2
        for step in (-8, 0, 8):
            k = middle + step
            for exit_node in (grid[k][0], grid[k][-1], grid[0][k], grid[-1][k]):
                self._roads.append((exit_node, self._nearest(ring, exit_node), URBAN, _AVENUE_KMH))

    def join_ring_to_country(self, ring: list[int], country: list[int]) -> None:
        for k in range(_COUNTRY_ROADS):
            gate = ring[k * len(ring) // _COUNTRY_ROADS]
            self._add_winding_road(gate, self._nearest(country, gate))

    def _add_winding_road(self, a: int, b: int) -> None:
        east_m = np.linspace(self._nodes[a][0], self._nodes[b][0], 13)[1:-1]
        north_m = np.linspace(self._nodes[a][1], self._nodes[b][1], 13)[1:-1]
        nodes = [a, *(self._node(x, y, 90.0) for x, y in zip(east_m, north_m, strict=True)), b]
        self._roads.extend((p, q, RURAL, _COUNTRY_KMH) for p, q in pairwise(nodes))

    def directed(self) -> tuple[Floats, Floats, Floats, npt.NDArray[np.int8], Floats]:
        """Return start, direction, length, type and limit of the directed roads."""
        begins, finishes = self.ends()
        nodes = np.array(self._nodes)
        vector = nodes[finishes] - nodes[begins]
        length_m = np.hypot(vector[:, 0], vector[:, 1])
        road_type = np.repeat(np.array([road[2] for road in self._roads], np.int8), 2)
        limit_kmh = np.repeat(np.array([road[3] for road in self._roads]), 2)
        return nodes[begins], vector / length_m[:, None], length_m, road_type, limit_kmh

    def ends(self) -> tuple[Indices, Indices]:
        """Return the nodes at which each directed road begins and ends."""
        pairs = np.array([road[:2] for road in self._roads], np.intp)
        return pairs.ravel(), pairs[:, ::-1].ravel()

    def _node(self, east_m: float, north_m: float, jitter_m: float) -> int:
        dx, dy = self._rng.uniform(-jitter_m, jitter_m, 2)
        self._nodes.append((float(east_m + dx), float(north_m + dy)))
        return len(self._nodes) - 1

    def _nearest(self, candidates: list[int], node: int) -> int:
        apart = np.array([self._nodes[c] for c in candidates]) - np.array(self._nodes[node])
        return candidates[int(np.hypot(apart[:, 0], apart[:, 1]).argmin())]


def _junctions(ends: tuple[Indices, Indices], direction: Floats) -> tuple[Indices, Floats, Indices]:
    """Return successors, turn speeds and their count for every directed road."""
    begins, finishes = ends
    leaving: dict[int, list[int]] = {}
    for road, node in enumerate(begins.tolist()):
        leaving.setdefault(node, []).append(road)
    choices = [_by_straightness(road, leaving[node], direction) for road, node in enumerate(finishes.tolist())]
    width = max(map(len, choices))
    successors = np.array([row + row[-1:] * (width - len(row)) for row in choices], np.intp)
    straightness = np.einsum("ek,edk->ed", direction, direction[successors])
    return successors, _turn_kmh(straightness), np.array([len(row) for row in choices], np.intp)


def _by_straightness(road: int, leaving: list[int], direction: Floats) -> list[int]:
    onward = [choice for choice in leaving if choice != road ^ 1] or [road ^ 1]  # turn back in a dead end only
    return sorted(onward, key=lambda choice: -float(direction[choice] @ direction[road]))


def _turn_kmh(straightness: Floats) -> Floats:
    """How fast a turn is taken, from the cosine of its angle: bends are free, a U-turn is walked."""
    angle = np.degrees(np.arccos(np.clip(straightness, -1.0, 1.0)))
    turn_kmh: Floats = np.interp(angle, [15, 30, 60, 90, 180], [200.0, 70.0, 38.0, 24.0, 8.0])
    return turn_kmh
