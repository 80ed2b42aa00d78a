"""The gateway's view of the fleet: latest event per vehicle, recent history, episodes, arrival statistics.

On the event's way: records of the scored and the episodes topic come in as bytes from the tail
(`deployments.web.tail`), each scored record is decoded once, what is new goes on to the live feeds
(`fleet.delivery.live_feed`), and REST handlers read what is kept. Everything is bounded and nothing is shared with
another process: each gateway replica has its own view. One thread at a time.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from operator import attrgetter, methodcaller
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fleet.counters import EVENT_SECONDS, Leg
from fleet.delivery.live_feed import LiveBlock
from fleet.events.event_time import event_time_s
from fleet.events.fields import DEFAULT_TENANT
from fleet.histograms import Histogram
from fleet.records.episode import EpisodeSummary, decode_summary, listed
from fleet.records.scored import ScoredEvent, decode_scored

# A vehicle whose clock once ran ahead by more than this must not hide its later events.
CLOCK_SLIP_S: Final = 120.0
MAX_EPISODES: Final = 20_000
RATE_WINDOW_S: Final = 5.0
LATENCY_WINDOW_S: Final = 30.0
LATENCY_SAMPLES: Final = 100_000
# Recent events are kept in chunks of this many: few to look through, and little that is kept beyond the bound.
CHUNK_EVENTS: Final = 1_024


_Vehicle: TypeAlias = tuple[str, str]
"""Tenant and vehicle ID: two tenants may give the same name to two vehicles."""


class VehicleHistory(NamedTuple):
    """One vehicle: its latest event and its recent ones (the oldest first), as scored JSON."""

    latest: bytes
    history: list[bytes]


@dataclass(slots=True)
class _Latest:
    """A vehicle's newest event by its own time."""

    body: bytes
    time_s: float


class LatencyPercentiles(NamedTuple):
    """Milliseconds from the append of the telemetry record to the arrival of its verdict here."""

    p50: float
    p95: float
    p99: float


class ArrivalStatistics:
    """Rates and latencies of recent arrivals, of all partitions or of one.

    Only events that were scored since `started_at_s` count: what a fresh gateway reads up on has waited in the
    log for its start, not for the pipeline. At most `LATENCY_SAMPLES` latencies are kept.
    """

    def __init__(self, started_at_s: float) -> None:
        self.legs = {leg: Histogram(EVENT_SECONDS.bounds) for leg in (Leg.SCORED_TO_SHOWN, Leg.APPENDED_TO_SHOWN)}
        self._started_at_s = started_at_s
        self._blocks: deque[tuple[float, NDArray[np.float64], NDArray[np.int64]]] = deque()
        self._samples = 0
        self._counts: deque[tuple[float, NDArray[np.int64]]] = deque()  # by partition

    def add(
        self,
        now_s: float,
        appended_at_s: Sequence[float],
        scored_at_s: Sequence[float],
        partitions: Sequence[int],
    ) -> None:
        """Note the arrival of N events at `now_s` (Unix seconds, as are the others)."""
        fresh = np.asarray(scored_at_s, np.float64) >= self._started_at_s
        if fresh.any():
            latency_s = now_s - np.asarray(appended_at_s, np.float64)[fresh]
            self.legs[Leg.APPENDED_TO_SHOWN].observe_all(latency_s)
            self.legs[Leg.SCORED_TO_SHOWN].observe_all(now_s - np.asarray(scored_at_s, np.float64)[fresh])
            of_partition = np.asarray(partitions, np.int64)[fresh]
            self._blocks.append((now_s, latency_s, of_partition))
            self._samples += len(latency_s)
            self._counts.append((now_s, np.bincount(of_partition)))
        self._forget(now_s)

    def events_per_second(self, now_s: float, partition: int | None = None) -> float:
        """Count the arrivals of the last `RATE_WINDOW_S`, per second."""
        since_s = max(now_s - RATE_WINDOW_S, self._started_at_s)
        arrived = sum(
            int(counts.sum() if partition is None else counts[partition : partition + 1].sum())
            for at_s, counts in self._counts
            if at_s > since_s
        )
        return arrived / max(now_s - since_s, 1.0)

    def latency_ms(self, now_s: float, partition: int | None = None) -> LatencyPercentiles | None:
        """Return the percentiles of the last `LATENCY_WINDOW_S`; None where nothing arrived."""
        recent = [
            block if partition is None else block[of == partition]
            for at_s, block, of in self._blocks
            if at_s > now_s - LATENCY_WINDOW_S
        ]
        latencies_s = np.concatenate(recent) if recent else np.empty(0)
        if not len(latencies_s):
            return None
        # The broker's clock may run ahead of ours by a little; no event arrives before it was sent.
        p50, p95, p99 = np.percentile(np.maximum(latencies_s, 0.0) * 1000.0, (50, 95, 99)).tolist()
        return LatencyPercentiles(p50, p95, p99)

    def _forget(self, now_s: float) -> None:
        while self._counts and self._counts[0][0] < now_s - RATE_WINDOW_S:
            self._counts.popleft()
        while self._blocks and (self._samples > LATENCY_SAMPLES or self._blocks[0][0] < now_s - LATENCY_WINDOW_S):
            self._samples -= len(self._blocks.popleft()[1])


class EpisodeRecord(NamedTuple):
    """One record of the episodes topic, with the log's time of it in Unix seconds."""

    key: bytes | None
    value: bytes | None
    published_at_s: float


class KnownEpisode(NamedTuple):
    """An episode as its latest record has it: what it is found by, and its JSON."""

    summary: EpisodeSummary
    published_at_s: float
    body: bytes

    def is_of(self, tenant: str | None) -> bool:
        """Tell whether whoever sees this tenant sees it; None stands for every tenant."""
        return tenant in (None, self.summary.tenant_id or DEFAULT_TENANT)


class FleetView:
    """What this gateway knows of the fleet, within its bounds.

    At most `max_vehicles` vehicles (the longest silent one goes first, counted in `evicted_vehicles`),
    `history_events` recent events over all of them, and `max_episodes` episodes (closed ones go first, counted
    in `evicted_episodes`). Whoever asks for a `tenant` is told of nothing else; None stands for every tenant.
    """

    def __init__(
        self,
        *,
        max_vehicles: int,
        history_events: int,
        started_at_s: float,
        max_episodes: int = MAX_EPISODES,
    ) -> None:
        self.arrivals = ArrivalStatistics(started_at_s)
        self.duplicates = self.unreadable = self.evicted_vehicles = self.evicted_episodes = 0
        self._max_vehicles, self._max_episodes = max_vehicles, max_episodes
        self._vehicles: OrderedDict[_Vehicle, _Latest] = OrderedDict()  # the longest silent first
        self._recent = _RecentEvents(history_events)
        self._sources = _Sources()
        self._episodes: OrderedDict[str, KnownEpisode] = OrderedDict()
        self._open_episodes = 0

    # Events ----------------------------------------------------------------------------------------------------

    def receive(self, values: Sequence[bytes | None], now_s: float) -> LiveBlock:
        """Take scored records in the order of their partitions and return what is new.

        Duplicates are dropped and counted, and so is what is not a scored record.
        """
        arrived = _read_together(values) or self._read_readable(values)
        new = self._sources.are_new(arrived)
        if not all(new):
            self.duplicates += new.count(False)
            arrived = arrived.where(new)
        vehicle_ids = list(map(_vehicle_id, arrived.events))
        tenants = [event.tenant_id or DEFAULT_TENANT for event in arrived.events]
        vehicles = list(zip(tenants, vehicle_ids, strict=True))
        self._keep(vehicles, arrived)
        self._recent.add(vehicles, arrived.bodies)
        scored_at_s = list(map(_scored_at_s, arrived.events))
        self.arrivals.add(now_s, arrived.appended_at_s, scored_at_s, arrived.partitions)
        return LiveBlock(vehicle_ids, list(map(_is_anomaly, arrived.events)), arrived.bodies, tenants)

    def _read_readable(self, values: Sequence[bytes | None]) -> "_Arrived":
        readable = [value for value in values if _read_together([value]) is not None]
        self.unreadable += len(values) - len(readable)
        arrived = _read_together(readable)
        assert arrived is not None, "each is readable by itself"
        return arrived

    @property
    def history_length(self) -> int:
        """Count the recent events that are kept."""
        return len(self._recent)

    def vehicle_count(self, tenant: str | None = None) -> int:
        """Count the vehicles that are known."""
        return len(self._vehicles) if tenant is None else sum(whose == tenant for whose, _ in self._vehicles)

    def latest(self, limit: int, tenant: str | None = None) -> list[bytes]:
        """Return the latest events of the `limit` vehicles heard most recently, the most recent first."""
        seen = (
            latest.body for (whose, _), latest in reversed(self._vehicles.items()) if tenant is None or whose == tenant
        )
        return list(islice(seen, limit))

    def vehicle(self, vehicle_id: str, tenant: str | None = None) -> VehicleHistory | None:
        """Return one vehicle with its recent history, or None where it is not known.

        Without a `tenant` it is the default one's, and where that has none of this name, the one heard most recently.
        """
        vehicle = (tenant or DEFAULT_TENANT, vehicle_id)
        if tenant is None and vehicle not in self._vehicles:
            vehicle = next((known for known in reversed(self._vehicles) if known[1] == vehicle_id), vehicle)
        latest = self._vehicles.get(vehicle)
        return None if latest is None else VehicleHistory(latest.body, self._recent.of(vehicle))

    def _keep(self, vehicles: Sequence[_Vehicle], arrived: "_Arrived") -> None:
        known, move_to_end = self._vehicles.get, self._vehicles.move_to_end
        for vehicle, time_s, body in zip(vehicles, arrived.times_s, arrived.bodies, strict=True):
            if (latest := known(vehicle)) is None:
                self._make_room_for_a_vehicle()
                self._vehicles[vehicle] = _Latest(body, time_s)
                continue
            move_to_end(vehicle)
            # A late event is history; it does not move the vehicle back to where it was.
            if time_s >= latest.time_s or latest.time_s - time_s > CLOCK_SLIP_S:
                latest.body, latest.time_s = body, time_s

    def _make_room_for_a_vehicle(self) -> None:
        if len(self._vehicles) >= self._max_vehicles:
            self._vehicles.popitem(last=False)
            self.evicted_vehicles += 1

    # Episodes --------------------------------------------------------------------------------------------------

    def receive_episodes(self, records: Iterable[EpisodeRecord]) -> None:
        """Take records of the compacted episodes topic; a null value removes an episode."""
        for key, value, published_at_s in records:
            if value is None:
                self._remove_episode((key or b"").decode("utf-8", "replace"))
                continue
            try:
                episode = decode_summary(value)
            except (ValueError, RecursionError):
                self.unreadable += 1
                continue
            self._remove_episode(episode.episode_id)
            known = KnownEpisode(episode, published_at_s, listed(value, published_at_s))
            self._episodes[episode.episode_id] = known
            self._open_episodes += episode.state == "open"
            self._drop_episodes()

    def episodes(self, tenant: str | None = None) -> Iterator[KnownEpisode]:
        """Return the episodes that are known, in no order."""
        return (known for known in self._episodes.values() if known.is_of(tenant))

    def episode(self, episode_id: str, tenant: str | None = None) -> KnownEpisode | None:
        """Return one episode, or None where it is not known."""
        known = self._episodes.get(episode_id)
        return known if known is not None and known.is_of(tenant) else None

    def _remove_episode(self, episode_id: str) -> None:
        removed = self._episodes.pop(episode_id, None)
        if removed is not None:
            self._open_episodes -= removed.summary.state == "open"

    def _drop_episodes(self) -> None:
        if len(self._episodes) <= self._max_episodes:
            return
        # In batches, so that a full view does not search for a closed episode at every record.
        excess = max(1, self._max_episodes // 16)
        closed = [name for name, known in self._episodes.items() if known.summary.state != "open"]
        for name in (closed or list(self._episodes))[:excess]:
            self._remove_episode(name)
            self.evicted_episodes += 1


class _Arrived(NamedTuple):
    """N scored records as columns: decoded, as they came, and by the source and the times that they name."""

    events: list[ScoredEvent]
    bodies: list[bytes]
    partitions: list[int]
    offsets: list[int]
    appended_at_s: list[float]
    times_s: list[float]

    def where(self, wanted: Sequence[bool]) -> "_Arrived":
        """Return the records that are wanted."""
        return _Arrived(*(list(compress(column, wanted)) for column in cast(Iterable[list[Any]], self)))


def _read_together(values: Sequence[bytes | None]) -> _Arrived | None:
    """Read a block in which everything is a scored record; None where something is not."""
    try:
        bodies = [value or b"" for value in values]
        events = list(map(decode_scored, bodies))
        sources = list(map(_at_the_colon, map(_source, events)))
        partitions = [int(partition) for partition, _, _ in sources]
        offsets = [int(offset) for _, _, offset in sources]
        times_s = list(map(event_time_s, map(_timestamp, events)))
    except (ValueError, RecursionError):
        return None
    return _Arrived(events, bodies, partitions, offsets, list(map(_appended_at_s, events)), times_s)


class _RecentEvents:
    """The last events over all vehicles, in the order of their arrival, at most `most_events`.

    Many arrive and few are asked for: one vehicle's are looked for when somebody does.
    """

    def __init__(self, most_events: int) -> None:
        self._most_events = most_events
        self._chunks: deque[tuple[list[_Vehicle], list[bytes]]] = deque()
        self._held = 0

    def __len__(self) -> int:
        return min(self._held, self._most_events)

    def add(self, vehicles: Sequence[_Vehicle], bodies: Sequence[bytes]) -> None:
        """Add events, and let go of the oldest chunks that are beyond the bound as a whole."""
        if not self._chunks or len(self._chunks[-1][0]) >= CHUNK_EVENTS:
            self._chunks.append(([], []))
        last_vehicles, last_bodies = self._chunks[-1]
        last_vehicles.extend(vehicles)
        last_bodies.extend(bodies)
        self._held += len(vehicles)
        while self._held - len(self._chunks[0][0]) >= self._most_events:
            self._held -= len(self._chunks.popleft()[0])

    def of(self, vehicle: _Vehicle) -> list[bytes]:
        """Return one vehicle's events, the oldest first."""
        beyond = self._held - len(self)  # in the first chunk
        found: list[bytes] = []
        for vehicles, bodies in self._chunks:
            found += compress(bodies[beyond:], map(vehicle.__eq__, vehicles[beyond:]))
            beyond = 0
        return found


class _Sources:
    """Tells which events were seen before: the offsets of a telemetry partition rise from event to event.

    An offset that falls back is a duplicate, unless it was appended later than everything seen of the partition:
    then the topic was made anew, and counting starts anew.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, float]] = {}

    def are_new(self, arrived: _Arrived) -> list[bool]:
        """Tell for each record, in their order, whether it is the first of its event; they are seen from then on."""
        seen, new = self._seen, []
        for partition, offset, appended_at_s in zip(
            arrived.partitions, arrived.offsets, arrived.appended_at_s, strict=True
        ):
            last_offset, last_appended_at_s = seen.get(partition, _NEVER)
            is_new = offset > last_offset or appended_at_s > last_appended_at_s
            if is_new:
                seen[partition] = (offset, max(appended_at_s, last_appended_at_s))
            new.append(is_new)
        return new


_NEVER: Final = (-1, float("-inf"))
_vehicle_id = attrgetter("vehicle_id")
_timestamp = attrgetter("timestamp")
_source = attrgetter("source")
_appended_at_s = attrgetter("appended_at")
_scored_at_s = attrgetter("scored_at")
_is_anomaly = attrgetter("is_anomaly")
_at_the_colon = methodcaller("partition", ":")
