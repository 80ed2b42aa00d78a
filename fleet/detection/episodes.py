"""Verdicts -> episodes: when a vehicle's alarms become one, how it goes on, and when it is over.

On the event's way: the verdicts of `fleet.detection.verdicts` come in, in the log order of one partition
(`fleet.ingest.worker` sees to that order); what changes goes to the episodes topic, and each event that belongs to an
open episode gets its id in the scored record (`fleet.records.scored`). No clock, no I/O: time is what the events and
the log's append times say, so a replay gives the same episodes, however the stream is cut into blocks.

Only vehicles with an open episode, or with an alarm among their latest events, are remembered here, and only their
events cost Python. `fleet.detection.silence` says which vehicles have fallen silent: that is an episode, too.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.detection.features import TIMING_CAUSES
from fleet.detection.judged import JudgedBlock
from fleet.detection.silence import Heard, Silence, SilenceWatch
from fleet.records.episode import ClosedBy, Episode

Floats: TypeAlias = NDArray[np.float64]

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
    silent_after_s: float = 600.0
    """A vehicle is not called silent before, whatever its rhythm: networks have holes of some minutes."""
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
    silent: list[Episode] = []  # not in states from before there were any
    heard: Heard | None = None


class EpisodeTracker:
    """The episodes of one partition's vehicles; at most one is open per vehicle.

    A vehicle that has fallen silent has one of its own. Its episode before that is over.
    """

    def __init__(self, rules: EpisodeRules | None = None) -> None:
        self.rules = rules or EpisodeRules()
        self._watched: OrderedDict[str, _Watch] = OrderedDict()  # the longest silent, by the log's time, first
        self._silences = SilenceWatch(self.rules.silent_after_s, self.rules.max_vehicles)
        self._silent: dict[str, Episode] = {}  # by vehicle: those that nothing is heard of
        self._evictions = 0
        self._log_s = -np.inf
        self._silent_from_s = -np.inf  # nobody has been silent for too long before this time of the log

    def __len__(self) -> int:
        """Count the vehicles with an alarm among their latest events, or with an open episode."""
        return len(self._watched) + len(self._silent)

    @property
    def evictions(self) -> int:
        """Count the vehicles that were forgotten because there were too many."""
        return self._evictions + self._silences.evictions

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
        silences = deque(self._silences.hear(block))
        for row, event in self._events_that_matter(block, log_s, silences):
            self._note_silences(silences, row, block, log_s, changes)
            self._pass_time(event.log_s, changes)
            self._end_silence(event.vehicle_id, event.source, event.log_s, "recovery", changes)
            episode_ids[row] = self._take(event, changes)
        self._log_s = float(log_s[-1])
        self._note_silences(silences, len(log_s), block, log_s, changes)
        self._pass_time(self._log_s, changes)
        return episode_ids, changes

    def snapshot(self) -> bytes:
        """Return all that is remembered; `restore` continues from it exactly."""
        silent, heard = list(self._silent.values()), self._silences.snapshot()
        return msgspec.msgpack.encode(
            _Snapshot(self._log_s, self._evictions, list(self._watched.values()), silent, heard)
        )

    @classmethod
    def restore(cls, snapshot: bytes, rules: EpisodeRules | None = None) -> "EpisodeTracker":
        """Build a tracker that continues where a snapshot was taken. Raises ValueError for what is no snapshot."""
        kept = msgspec.msgpack.decode(snapshot, type=_Snapshot)
        tracker = cls(rules)
        tracker._log_s, tracker._evictions = kept.log_s, kept.evictions
        tracker._watched.update((watch.vehicle_id, watch) for watch in kept.watched)
        tracker._silent.update((episode.vehicle_id, episode) for episode in kept.silent)
        if kept.heard is not None:
            tracker._silences.restore(kept.heard)
        return tracker

    def _events_that_matter(
        self, block: JudgedBlock, log_s: Floats, silences: Iterable[Silence]
    ) -> list[tuple[int, _Event]]:
        """Pick the events of vehicles that are remembered, or that alarm or are silent in this block."""
        ids = block.vehicle_ids
        new = {silence.vehicle_id for silence in silences}
        matters = _among(self._watched, ids) | _among(self._silent, ids) | _among(new, ids)
        if (alarms := block.is_anomaly & block.counted & ~matters).any():
            matters |= _among({ids[row] for row in np.flatnonzero(alarms).tolist()}, ids)
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

    def _note_silences(
        self, silences: deque[Silence], until: int, block: JudgedBlock, log_s: Floats, changes: list[EpisodeChange]
    ) -> None:
        """Begin the silences that were noticed by the events of a block up to one."""
        while silences and silences[0].row <= until:
            silence = silences.popleft()
            at_s, source = float(log_s[silence.row]), f"{block.partition}:{block.offsets[silence.row]}"
            self._pass_time(at_s, changes)
            if silence.is_forgotten:
                self._end_silence(silence.vehicle_id, source, at_s, "silence", changes)
                continue
            if (watch := self._watched.get(silence.vehicle_id)) is not None:
                self._forget(watch, "silence", changes)
            episode = self._silent[silence.vehicle_id] = silence.episode(source, at_s, block.model_version)
            changes.append(EpisodeChange("opened", source, episode))

    def _end_silence(
        self, vehicle_id: str, source: str, at_s: float, closed_by: ClosedBy, changes: list[EpisodeChange]
    ) -> None:
        """Close a vehicle's silence, where there is one."""
        if (episode := self._silent.pop(vehicle_id, None)) is not None:
            ended = msgspec.structs.replace(
                episode, state="closed", updated_at=at_s, closed_at=at_s, closed_by=closed_by
            )
            changes.append(EpisodeChange("closed", source, ended))

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
                self._evictions += 1
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


def _among(names: Collection[str], ids: Sequence[str]) -> NDArray[np.bool_]:
    """Say of each vehicle whether its name is among some."""
    return np.fromiter(map(names.__contains__, ids), np.bool_, len(ids)) if names else np.zeros(len(ids), np.bool_)


def _by_error(entry: tuple[float, str]) -> float:
    return -entry[0]


def _events(block: JudgedBlock, rows: NDArray[np.intp], log_s: Floats) -> Iterator[_Event]:
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
