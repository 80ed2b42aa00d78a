"""A generated city: a graph of straight directed roads around a centre, its hills, climate, weather and hours.

Streets in a grid with avenues among them, a highway ring around it, and country roads beyond; a `CityStyle` says how
many, how fast, how hilly, how warm and how busy. `simulator.driving` drives on it. All arrays are struct-of-arrays
over directed roads (E of them); road 2i and 2i+1 are the two directions of one road. Plane coordinates are metres
east and north of the centre.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from simulator.randomness import Floats, Indices

ROAD_TYPES: Final = ("highway", "urban", "rural")
HIGHWAY, URBAN, RURAL = range(3)
WEATHERS: Final = ("clear", "rain", "fog", "storm")
WEATHER_LASTS_S: Final = 1800.0
METRES_PER_DEGREE: Final = 111_195.0  # of latitude, mean Earth radius 6,371,009 m

STEEPEST_GRADE: Final = 0.08
LONGEST_CLEAR_RUN_M: Final = 6000.0
_CLEAR_RUN_ROADS = 48  # how many roads ahead a clear run is looked for
_HILL_WAVES_M = (6000.0, 5000.0, 3000.0)


@dataclass(frozen=True, slots=True)
class CityStyle:
    """What makes one kind of city differ from another."""

    streets: int
    """How many run each way."""
    block_m: float
    jitter_m: float
    avenue_every: int
    closed_share: float
    """Of the pieces of street: a city has parks and closed streets."""
    street_kmh: float
    avenue_kmh: float
    ring_kmh: float
    country_kmh: float
    ring_radius_m: float
    ring_nodes: int
    country_radius_m: float
    country_nodes: int
    country_roads: int
    hills_m: float
    ambient_c: float
    daily_swing_c: float
    rush: float
    """How many traffic levels the rush hours add."""
    red_light_share: float
    start_shares: tuple[float, float, float]
    """Of the vehicles that begin on highways, in town and in the country."""
    weather_shares: tuple[float, float, float, float]
    """In the order of `WEATHERS`."""


PLAIN: Final = CityStyle(
    streets=33, block_m=125.0, jitter_m=12.0, avenue_every=4, closed_share=0.07,
    street_kmh=40.0, avenue_kmh=60.0, ring_kmh=110.0, country_kmh=80.0,
    ring_radius_m=3600.0, ring_nodes=56, country_radius_m=9500.0, country_nodes=84, country_roads=8,
    hills_m=15.0, ambient_c=18.0, daily_swing_c=7.0, rush=1.2, red_light_share=0.2,
    start_shares=(0.25, 0.55, 0.2), weather_shares=(0.7, 0.18, 0.07, 0.05),
)  # fmt: skip
OLD_TOWN: Final = CityStyle(
    streets=41, block_m=85.0, jitter_m=20.0, avenue_every=5, closed_share=0.12,
    street_kmh=30.0, avenue_kmh=50.0, ring_kmh=90.0, country_kmh=70.0,
    ring_radius_m=2900.0, ring_nodes=44, country_radius_m=8000.0, country_nodes=90, country_roads=7,
    hills_m=60.0, ambient_c=8.0, daily_swing_c=5.0, rush=1.5, red_light_share=0.25,
    start_shares=(0.12, 0.7, 0.18), weather_shares=(0.5, 0.3, 0.12, 0.08),
)  # fmt: skip
SPRAWL: Final = CityStyle(
    streets=27, block_m=200.0, jitter_m=6.0, avenue_every=3, closed_share=0.05,
    street_kmh=50.0, avenue_kmh=70.0, ring_kmh=120.0, country_kmh=90.0,
    ring_radius_m=4600.0, ring_nodes=64, country_radius_m=13_000.0, country_nodes=96, country_roads=10,
    hills_m=5.0, ambient_c=27.0, daily_swing_c=8.0, rush=1.9, red_light_share=0.3,
    start_shares=(0.4, 0.45, 0.15), weather_shares=(0.85, 0.08, 0.02, 0.05),
)  # fmt: skip
VALLEY: Final = CityStyle(
    streets=21, block_m=110.0, jitter_m=15.0, avenue_every=4, closed_share=0.08,
    street_kmh=40.0, avenue_kmh=50.0, ring_kmh=100.0, country_kmh=80.0,
    ring_radius_m=2000.0, ring_nodes=36, country_radius_m=12_000.0, country_nodes=110, country_roads=12,
    hills_m=150.0, ambient_c=4.0, daily_swing_c=9.0, rush=0.7, red_light_share=0.12,
    start_shares=(0.2, 0.35, 0.45), weather_shares=(0.55, 0.2, 0.15, 0.1),
)  # fmt: skip
STYLES: Final = (PLAIN, OLD_TOWN, SPRAWL, VALLEY)


@dataclass(frozen=True, slots=True)
class City:
    """A city's roads; make one with `City.generate`."""

    name: str
    latitude: float
    longitude: float
    utc_offset_h: float
    seed: int
    style: CityStyle
    start_m: Floats
    """float64[E, 2]: where each directed road begins, metres east and north of the centre."""
    direction: Floats
    """float64[E, 2]: unit vectors."""
    length_m: Floats
    road_type: npt.NDArray[np.int8]
    """int8[E]: index into `ROAD_TYPES`."""
    limit_kmh: Floats
    grade: Floats
    """float64[E]: rise over length, within ±`STEEPEST_GRADE`."""
    clear_run_m: Floats
    """float64[E]: from a road's beginning, how far it goes straight on under the same limit (at most 6 km)."""
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
        style: CityStyle | None = None,
    ) -> "City":
        """Lay out a city around a centre; the same arguments give the same city.

        Without a style the seed picks one of `STYLES` and varies it a little.
        """
        rng = np.random.default_rng([seed, 0xC17])
        style = style or _varied(STYLES[seed % len(STYLES)], rng)
        builder = _Roads(rng, style)
        grid = builder.add_grid()
        ring = builder.add_circle(style.ring_radius_m, style.ring_nodes, 0.0, HIGHWAY, style.ring_kmh)
        country = builder.add_circle(style.country_radius_m, style.country_nodes, 250.0, RURAL, style.country_kmh)
        builder.join_grid_to_ring(grid, ring)
        builder.join_ring_to_country(ring, country)
        start, direction, length_m, road_type, limit_kmh = builder.directed()
        grade = _grade(start, start + direction * length_m[:, None], style.hills_m, rng.uniform(0, 2 * np.pi, 3))
        successors, turn_kmh, count = _junctions(builder.ends(), direction)
        clear_run_m = _clear_run_m(length_m, limit_kmh, successors[:, 0], turn_kmh[:, 0])
        return cls(
            name, latitude, longitude, utc_offset_h, seed, style, start, direction, length_m, road_type, limit_kmh,
            grade, clear_run_m, successors, turn_kmh, count,
        )  # fmt: skip

    def to_degrees(self, east_m: Floats, north_m: Floats) -> tuple[Floats, Floats]:
        """Return latitude and longitude of plane coordinates."""
        longitude_scale = METRES_PER_DEGREE * np.cos(np.radians(self.latitude))
        return self.latitude + north_m / METRES_PER_DEGREE, self.longitude + east_m / longitude_scale

    def local_hour(self, time_s: float) -> float:
        """Return the hour of the day, 0 to 24, at a Unix time."""
        return (time_s / 3600 + self.utc_offset_h) % 24.0

    def ambient_c(self, time_s: float) -> float:
        """Return the air's temperature at a Unix time: warmest in mid-afternoon."""
        swing = np.cos(2 * np.pi * (self.local_hour(time_s) - 15.0) / 24)
        return self.style.ambient_c + self.style.daily_swing_c * float(swing)

    def is_night(self, time_s: float) -> bool:
        """Say whether it is dark at a Unix time."""
        return not 7.0 <= self.local_hour(time_s) < 20.0

    def weather(self, time_s: float) -> int:
        """Return the index into `WEATHERS` at a Unix time; it holds for half an hour."""
        draw = np.random.default_rng([self.seed, 0x3EA, int(time_s // WEATHER_LASTS_S)]).random()
        return int(np.searchsorted(np.cumsum(self.style.weather_shares)[:-1], draw, side="right"))


class _Roads:
    """Collects nodes and undirected roads while a city is laid out."""

    def __init__(self, rng: np.random.Generator, style: CityStyle) -> None:
        self._rng, self._style = rng, style
        self._nodes: list[tuple[float, float]] = []
        self._roads: list[tuple[int, int, int, float]] = []  # from, to, type, limit

    def add_grid(self) -> list[list[int]]:
        count, block_m, jitter_m = self._style.streets, self._style.block_m, self._style.jitter_m
        half = (count - 1) / 2
        nodes = [
            [self._node((column - half) * block_m, (row - half) * block_m, jitter_m) for column in range(count)]
            for row in range(count)
        ]
        for lines in (nodes, list(zip(*nodes, strict=True))):
            for number, line in enumerate(lines):
                self._add_street(line, is_avenue=number % self._style.avenue_every == 0)
        return nodes

    def _add_street(self, line: Sequence[int], is_avenue: bool) -> None:
        limit_kmh = self._style.avenue_kmh if is_avenue else self._style.street_kmh
        for a, b in pairwise(line):
            if is_avenue or self._rng.random() >= self._style.closed_share:
                self._roads.append((a, b, URBAN, limit_kmh))

    def add_circle(self, radius_m: float, count: int, wiggle_m: float, road_type: int, limit_kmh: float) -> list[int]:
        angles = np.arange(count) / count * 2 * np.pi
        nodes = [self._node(radius_m * np.cos(angle), radius_m * np.sin(angle), wiggle_m) for angle in angles]
        self._roads.extend((a, b, road_type, limit_kmh) for a, b in zip(nodes, [*nodes[1:], nodes[0]], strict=True))
        return nodes

    def join_grid_to_ring(self, grid: list[list[int]], ring: list[int]) -> None:
        """Lead three avenues of each side out to the ring."""
        last, every = len(grid) - 1, self._style.avenue_every
        for quarter in (1, 2, 3):
            k = round(last * quarter / 4 / every) * every
            for exit_node in (grid[k][0], grid[k][-1], grid[0][k], grid[-1][k]):
                self._roads.append((exit_node, self._nearest(ring, exit_node), URBAN, self._style.avenue_kmh))

    def join_ring_to_country(self, ring: list[int], country: list[int]) -> None:
        for k in range(self._style.country_roads):
            gate = ring[k * len(ring) // self._style.country_roads]
            self._add_winding_road(gate, self._nearest(country, gate))

    def _add_winding_road(self, a: int, b: int) -> None:
        east_m = np.linspace(self._nodes[a][0], self._nodes[b][0], 13)[1:-1]
        north_m = np.linspace(self._nodes[a][1], self._nodes[b][1], 13)[1:-1]
        nodes = [a, *(self._node(x, y, 90.0) for x, y in zip(east_m, north_m, strict=True)), b]
        self._roads.extend((p, q, RURAL, self._style.country_kmh) for p, q in pairwise(nodes))

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


def _varied(style: CityStyle, rng: np.random.Generator) -> CityStyle:
    """Return a style a little different, so that two cities of one style are two cities."""
    return replace(
        style,
        block_m=style.block_m * rng.uniform(0.95, 1.05),
        ambient_c=style.ambient_c + rng.uniform(-3.0, 3.0),
        rush=style.rush * rng.uniform(0.8, 1.2),
        hills_m=style.hills_m * rng.uniform(0.7, 1.3),
    )


def _grade(start_m: Floats, end_m: Floats, hills_m: float, phases: Floats) -> Floats:
    run_m = np.hypot(*(end_m - start_m).T)
    rise_m = _elevation_m(end_m, hills_m, phases) - _elevation_m(start_m, hills_m, phases)
    grade: Floats = np.clip(rise_m / run_m, -STEEPEST_GRADE, STEEPEST_GRADE)
    return grade


def _elevation_m(place_m: Floats, hills_m: float, phases: Floats) -> Floats:
    east_m, north_m = place_m.T
    ways_m = (east_m, north_m, east_m + north_m)
    waves = [np.sin(2 * np.pi * w / long + p) for w, long, p in zip(ways_m, _HILL_WAVES_M, phases, strict=True)]
    elevation_m: Floats = hills_m * np.sum(waves, axis=0)
    return elevation_m


def _clear_run_m(length_m: Floats, limit_kmh: Floats, straight_on: Indices, turn_kmh: Floats) -> Floats:
    """How far one can keep one speed: the limit stays, and bends are open enough for a driver in a hurry."""
    goes_on = (limit_kmh[straight_on] == limit_kmh) & (turn_kmh >= 1.3 * limit_kmh)
    run_m = length_m
    for _ in range(_CLEAR_RUN_ROADS):
        run_m = np.minimum(length_m + np.where(goes_on, run_m[straight_on], 0.0), LONGEST_CLEAR_RUN_M)
    return run_m


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
