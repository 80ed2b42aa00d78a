"""Verdicts -> episodes: when a vehicle's alarms become one, how it goes on, and when it is over.

On the event's way: the verdicts of `fleet.detection.verdicts` come in, in the log order of one partition
(`fleet.ingest.worker` sees to that order); what changes goes to the episodes topic, and each event that belongs to an
open episode gets its id in the scored record (`fleet.records.scored`). No clock, no I/O: time is what the events and
the log's append times say, so a replay gives the same episodes, however the stream is cut into blocks.

Only vehicles with an open episode, or with an alarm among their latest events, are remembered, and only their events
cost Python; a block without either costs one look at a column.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, repeat
from operator import attrgetter
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.detection.features import TIMING_CAUSES
from fleet.events.event_time import event_time_s
from fleet.records.episode import ClosedBy, Episode
from fleet.records.scored import ScoredEvent

WORST_EVENTS: Final = 3
# A peak that rises by this much is published at once, a smaller rise with the next regular update.
MATERIAL_SEVERITY: Final = 0.1
# So many alarms say what an episode is called. Later ones are often its after-effects: a battery that was replaced.
CAUSE_ALARMS: Final = 40
# So many of a vehicle's usual intervals without an event are no silence yet.
INTERVALS_OF_SILENCE: Final = 4.0


@dataclass(frozen=True, slots=True)
class EpisodeRules:
    """When episodes open and close. Raises ValueError where the numbers contradict one another."""

    alarms_to_open: int = 3
    """M: an episode opens when M of the vehicle's last N events alarmed."""
    window_events: int = 5
    """N."""
    open_severity: float = 0.68
    """An alarm this severe opens an episode at once."""
    recovery_events: int = 10
    """So many consecutive events below `close_severity` close it."""
    close_severity: float = 0.4
    """Below the alarm's 0.5, so that a signal at the threshold does not open and close again and again."""
    silence_s: float = 120.0
    """A longer gap closes it, by the vehicle's event times or by the partition's append times.

    For a vehicle that reports seldom, one longer than four of its usual intervals."""
    update_interval_s: float = 10.0
    """Event time between two updates that say nothing materially new."""
    max_vehicles: int = 200_000
    """Vehicles remembered per partition; the longest silent goes first."""

    def __post_init__(self) -> None:
        if not 1 <= self.alarms_to_open <= self.window_events:
            raise ValueError(
                f"alarms_to_open ({self.alarms_to_open}) must lie in 1..window_events ({self.window_events})"
            )
        if not self.close_severity <= self.open_severity:
            raise ValueError(
                f"close_severity ({self.close_severity}) must not exceed open_severity ({self.open_severity})"
            )
        if self.recovery_events < 1 or self.max_vehicles < 1:
            raise ValueError("recovery_events and max_vehicles must be at least 1")


@dataclass(frozen=True, slots=True)
class JudgedBlock:
    """N events of one partition in log order, with their verdicts, as columns."""

    partition: int
    offsets: NDArray[np.int64]  # int64[N]
    vehicle_ids: Sequence[str]
    tenant_ids: Sequence[str | None]
    time_s: NDArray[np.float64]  # float64[N]: event time, Unix seconds
    appended_at_s: NDArray[np.float64]  # float64[N]: Unix seconds, the log's
    counted: NDArray[np.bool_]  # bool[N]: False for repeats and what could not be scored; they change nothing
    is_anomaly: NDArray[np.bool_]  # bool[N]
    severity: NDArray[np.float64]  # float64[N] in 0..1, 0.5 at the alarm's threshold
    reconstruction_error: NDArray[np.float64]  # float64[N]
    causes: Sequence[str | None]
    model_version: str
    usual_interval_s: NDArray[np.float64]  # float64[N]: from event to event of the vehicle; 0 = unknown
    doubtful: NDArray[np.bool_]  # bool[N]: one such alarm opens nothing, however severe: a reading may be wrong once


def judged_blocks(partition: int, events: Sequence[ScoredEvent]) -> Iterator[JudgedBlock]:
    """Give scored records of one partition, in log order, back as the verdicts that episodes were followed by.

    One block for each run of events that one model judged.
    """
    for version, run in groupby(events, attrgetter("model_version")):
        rows = list(run)
        yield JudgedBlock(
            partition=partition,
            offsets=np.array([row.offset for row in rows], np.int64),
            vehicle_ids=[row.vehicle_id for row in rows],
            tenant_ids=[row.tenant_id for row in rows],
            time_s=np.array([event_time_s(row.timestamp) for row in rows], np.float64),
            appended_at_s=np.array([row.appended_at for row in rows], np.float64),
            counted=np.array([not row.repeat for row in rows], np.bool_),
            is_anomaly=np.array([row.is_anomaly for row in rows], np.bool_),
            severity=np.array([row.severity for row in rows], np.float64),
            reconstruction_error=np.array([row.reconstruction_error for row in rows], np.float64),
            causes=[row.anomaly_type for row in rows],
            model_version=version,
            usual_interval_s=np.array([row.usual_interval for row in rows], np.float64),
            doubtful=np.array([row.doubtful for row in rows], np.bool_),
        )


class EpisodeChange(msgspec.Struct, frozen=True, gc=False):
    """What is to be published: the episode as it is now, and the source of its latest event."""

    change: Literal["opened", "updated", "closed"]
    source: str
    episode: Episode


class _Event(msgspec.Struct, frozen=True, gc=False):
    """One row of a block, of a vehicle that is worth remembering."""

    vehicle_id: str
    tenant_id: str | None
    source: str
    time_s: float
    log_s: float  # the largest append time of the partition so far
    anomalous: bool
    severity: float
    error: float
    cause: str | None
    model_version: str
    is_doubtful: bool
    usual_interval_s: float


class _Ongoing(msgspec.Struct):
    """An open episode."""

    episode_id: str
    vehicle_id: str
    tenant_id: str | None
    opened_at_s: float
    latest_s: float = 0.0
    latest_source: str = ""
    model_version: str = ""
    cause: str | None = None
    weights: dict[str, float] = {}  # cause -> sum of its alarms' severities
    severity: float = 0.0
    peak_error: float = 0.0
    worst: list[tuple[float, str]] = []  # error and source, the largest first
    events: int = 0
    anomalous_events: int = 0
    calm_events: int = 0  # consecutive ones, up to now
    silent_cause_events: int = 0  # consecutive ones without an alarm that names its cause
    said_at_s: float = 0.0  # what the last published record said
    said_cause: str | None = None
    said_severity: float = 0.0

    def add(self, event: _Event, latest_s: float, close_severity: float) -> None:
        """Count an event of the vehicle, whose time has come to `latest_s`."""
        self.events += 1
        self.latest_s, self.latest_source, self.model_version = latest_s, event.source, event.model_version
        if event.anomalous:
            self.add_alarm(event)
        names_cause = event.anomalous and event.cause == self.cause
        self.silent_cause_events = 0 if names_cause else self.silent_cause_events + 1
        calm = event.severity < close_severity and not event.anomalous
        self.calm_events = self.calm_events + 1 if calm else 0

    def add_alarm(self, event: _Event) -> None:
        """Take what an alarm says about cause and peak. Equal weights leave the cause that was first."""
        self.anomalous_events += 1
        self.severity = max(self.severity, event.severity)
        self.peak_error = max(self.peak_error, event.error)
        if event.cause is not None and self.anomalous_events <= CAUSE_ALARMS:
            self.weights[event.cause] = self.weights.get(event.cause, 0.0) + event.severity
            self.cause = max(self.weights, key=self.weights.__getitem__)
        if len(self.worst) < WORST_EVENTS or event.error > self.worst[-1][0]:
            self.worst.append((event.error, event.source))
            self.worst.sort(key=_by_error)
            del self.worst[WORST_EVENTS:]

    def is_followed_by(self, event: _Event, rules: EpisodeRules) -> bool:
        """Say whether an event begins another episode: the vehicle's link or clock fails after this one's cause went.

        Only these: what a signal does is often the after-effect of the fault before it, as the jump of a battery that
        was replaced, but no signal's fault loses messages.
        """
        return (
            event.cause in TIMING_CAUSES
            and event.severity >= rules.open_severity
            and event.cause not in self.weights
            and self.silent_cause_events >= rules.recovery_events
        )

    def has_news(self, update_interval_s: float) -> bool:
        """Say whether the published record is out of date by more than the rules allow."""
        return (
            self.cause != self.said_cause
            or self.severity >= self.said_severity + MATERIAL_SEVERITY
            or abs(self.latest_s - self.said_at_s) >= update_interval_s
        )

    def say(self, change: Literal["opened", "updated", "closed"], closed_by: ClosedBy | None = None) -> EpisodeChange:
        """Build the record to publish, and note what it says."""
        self.said_at_s, self.said_cause, self.said_severity = self.latest_s, self.cause, self.severity
        updated_at_s = max(self.opened_at_s, self.latest_s)  # a vehicle's clock may have been set back since
        record = Episode(
            episode_id=self.episode_id,
            vehicle_id=self.vehicle_id,
            tenant_id=self.tenant_id,
            state="closed" if closed_by else "open",
            opened_at=self.opened_at_s,
            updated_at=updated_at_s,
            closed_at=updated_at_s if closed_by else None,
            cause=self.cause,
            severity=self.severity,
            peak_error=self.peak_error,
            events=self.events,
            anomalous_events=self.anomalous_events,
            worst=[source for _, source in self.worst],
            closed_by=closed_by,
            model_version=self.model_version,
        )
        return EpisodeChange(change, self.latest_source, record)


class _Watch(msgspec.Struct):
    """A vehicle with an alarm among its last N events, or with an open episode."""

    vehicle_id: str
    heard_s: float = 0.0  # the log's time at its latest event
    latest_s: float = 0.0  # that event's own time; less where it came late
    silence_s: float = 0.0  # what is longer is a silence, at the vehicle's own rhythm
    seen: int = 0  # events since the first remembered alarm
    alarms: list[tuple[int, _Event]] = []  # with their number, of the last N events; empty while an episode is open
    episode: _Ongoing | None = None


class _Snapshot(msgspec.Struct):
    log_s: float
    evictions: int
    watched: list[_Watch]


class EpisodeTracker:
    """The episodes of one partition's vehicles; at most one is open per vehicle."""

    def __init__(self, rules: EpisodeRules | None = None) -> None:
        self.rules = rules or EpisodeRules()
        self.evictions = 0
        self._watched: OrderedDict[str, _Watch] = OrderedDict()  # the longest silent, by the log's time, first
        self._log_s = -np.inf
        self._silent_from_s = -np.inf  # nobody has been silent for too long before this time of the log

    def __len__(self) -> int:
        """Count the vehicles that are remembered."""
        return len(self._watched)

    def update(self, block: JudgedBlock) -> tuple[list[str | None], list[EpisodeChange]]:
        """Take the next N events of the partition, in log order.

        Returns for each event the id of the episode that it belongs to (from the opening event to the closing one,
        both included), and what is to be published, in order.
        """
        episode_ids: list[str | None] = [None] * len(block.vehicle_ids)
        changes: list[EpisodeChange] = []
        if not episode_ids:
            return episode_ids, changes
        log_s = np.maximum(np.maximum.accumulate(block.appended_at_s), self._log_s)
        for row, event in self._events_that_matter(block, log_s):
            self._pass_time(event.log_s, changes)
            episode_ids[row] = self._take(event, changes)
        self._log_s = float(log_s[-1])
        self._pass_time(self._log_s, changes)
        return episode_ids, changes

    def snapshot(self) -> bytes:
        """Return all that is remembered; `restore` continues from it exactly."""
        return msgspec.msgpack.encode(_Snapshot(self._log_s, self.evictions, list(self._watched.values())))

    @classmethod
    def restore(cls, snapshot: bytes, rules: EpisodeRules | None = None) -> "EpisodeTracker":
        """Build a tracker that continues where a snapshot was taken. Raises ValueError for what is no snapshot."""
        kept = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        tracker = cls(rules)
        tracker._log_s, tracker.evictions = kept.log_s, kept.evictions
        tracker._watched.update((watch.vehicle_id, watch) for watch in kept.watched)
        return tracker

    def _events_that_matter(self, block: JudgedBlock, log_s: NDArray[np.float64]) -> list[tuple[int, _Event]]:
        """Pick the events of vehicles that are remembered, or that alarm in this block."""
        ids, count = block.vehicle_ids, len(block.vehicle_ids)
        matters = np.zeros(count, np.bool_)
        if self._watched:
            matters = np.fromiter(map(self._watched.__contains__, ids), np.bool_, count)
        if (new := block.is_anomaly & block.counted & ~matters).any():
            alarming = {ids[row] for row in np.flatnonzero(new).tolist()}
            matters |= np.fromiter(map(alarming.__contains__, ids), np.bool_, count)
        rows = np.flatnonzero(matters & block.counted)
        return list(zip(rows.tolist(), _events(block, rows, log_s), strict=True))

    def _pass_time(self, log_s: float, changes: list[EpisodeChange]) -> None:
        """Forget the vehicles that the log has not heard of for too long; the longest silent stand in front."""
        if log_s <= self._silent_from_s:
            return
        silent = []
        self._silent_from_s = log_s + self.rules.silence_s
        for watch in self._watched.values():
            forgotten_after_s = watch.heard_s + max(watch.silence_s, self.rules.silence_s)
            if forgotten_after_s < log_s:
                silent.append(watch)
                continue
            self._silent_from_s = min(self._silent_from_s, forgotten_after_s)
            if log_s - watch.heard_s <= self.rules.silence_s:
                break  # nor have those behind it been silent for too long
        for watch in silent:
            self._forget(watch, "silence", changes)

    def _take(self, event: _Event, changes: list[EpisodeChange]) -> str | None:
        """Follow one event of a vehicle; return the episode that it belongs to."""
        watch = self._watch_of(event, changes)
        if watch is None:
            return None
        if watch.episode is not None and watch.episode.is_followed_by(event, self.rules):
            self._forget(watch, "recovery", changes)
            return self._take(event, changes)
        if watch.episode is not None:
            self._continue(watch, watch.episode, event, changes)
            return watch.episode.episode_id
        watch.episode = self._opened(watch, event)
        if watch.episode is not None:
            changes.append(watch.episode.say("opened"))
            return watch.episode.episode_id
        if not watch.alarms:
            del self._watched[watch.vehicle_id]
        return None

    def _watch_of(self, event: _Event, changes: list[EpisodeChange]) -> _Watch | None:
        """Find or begin what is remembered of a vehicle; None where there is nothing to remember."""
        watch = self._watched.get(event.vehicle_id)
        silence_s = max(self.rules.silence_s, INTERVALS_OF_SILENCE * event.usual_interval_s)
        if watch is not None and event.time_s - watch.latest_s > silence_s:
            self._forget(watch, "silence", changes)
            watch = None
        if watch is None:
            if not event.anomalous:
                return None
            if len(self._watched) >= self.rules.max_vehicles:
                self.evictions += 1
                self._forget(next(iter(self._watched.values())), "silence", changes)
            watch = self._watched[event.vehicle_id] = _Watch(event.vehicle_id, latest_s=event.time_s)
        watch.heard_s, watch.silence_s = event.log_s, silence_s
        # A late event does not set the vehicle's time back, so that the next one is no gap; a clock that was does.
        if event.time_s > watch.latest_s or watch.latest_s - event.time_s > self.rules.silence_s:
            watch.latest_s = event.time_s
        self._watched.move_to_end(event.vehicle_id)
        return watch

    def _opened(self, watch: _Watch, event: _Event) -> _Ongoing | None:
        """Enter an event into the vehicle's last N, and open an episode when they, or it alone, demand one.

        An alarm that is severe enough alone is the whole evidence of the episode that it opens, cause included.
        """
        watch.seen += 1
        while watch.alarms and watch.alarms[0][0] <= watch.seen - self.rules.window_events:
            watch.alarms.pop(0)
        if not event.anomalous:
            return None
        watch.alarms.append((watch.seen, event))
        if len(watch.alarms) >= self.rules.alarms_to_open:
            return self._begin(watch, watch.alarms, event)
        is_confirmed = not event.is_doubtful or (len(watch.alarms) > 1 and watch.alarms[-2][0] == watch.seen - 1)
        if event.severity >= self.rules.open_severity and is_confirmed:
            return self._begin(watch, watch.alarms[-1:], event)
        return None

    def _begin(self, watch: _Watch, evidence: list[tuple[int, _Event]], opening: _Event) -> _Ongoing:
        first_number, first = evidence[0]
        episode = _Ongoing(
            f"{opening.vehicle_id}:{opening.source}", opening.vehicle_id, opening.tenant_id, first.time_s
        )
        for _, alarm in evidence[:-1]:
            episode.add_alarm(alarm)
        episode.add(opening, watch.latest_s, self.rules.close_severity)
        episode.events = watch.seen - first_number + 1
        watch.alarms, watch.seen = [], 0
        return episode

    def _continue(self, watch: _Watch, episode: _Ongoing, event: _Event, changes: list[EpisodeChange]) -> None:
        episode.add(event, watch.latest_s, self.rules.close_severity)
        if episode.calm_events >= self.rules.recovery_events:
            self._forget(watch, "recovery", changes)
        elif episode.has_news(self.rules.update_interval_s):
            changes.append(episode.say("updated"))

    def _forget(self, watch: _Watch, closed_by: ClosedBy, changes: list[EpisodeChange]) -> None:
        """Forget a vehicle, and close its episode where one is open."""
        del self._watched[watch.vehicle_id]
        if watch.episode is not None:
            changes.append(watch.episode.say("closed", closed_by))


def _by_error(entry: tuple[float, str]) -> float:
    return -entry[0]


def _events(block: JudgedBlock, rows: NDArray[np.intp], log_s: NDArray[np.float64]) -> Iterator[_Event]:
    """Yield some rows of a block one by one."""
    places = rows.tolist()
    columns = (block.time_s, log_s, block.is_anomaly, block.severity, block.reconstruction_error)
    return map(
        _Event,
        [block.vehicle_ids[row] for row in places],
        [block.tenant_ids[row] for row in places],
        [f"{block.partition}:{offset}" for offset in block.offsets[rows].tolist()],
        *(column[rows].tolist() for column in columns),
        [block.causes[row] for row in places],
        repeat(block.model_version),
        block.doubtful[rows].tolist(),
        block.usual_interval_s[rows].tolist(),
    )
