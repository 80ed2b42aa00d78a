"""Which vehicles have fallen silent against their own rhythm, by the times at which the log took their events.

`fleet.detection.episodes` makes episodes of it. Nothing here looks at a sender's clock, nor at this machine's: a sender
that delivers in batches or late is not silent between two deliveries, and a replay notices the same silences.

A silence is counted in busy time: the log's time, in which a step from one event to the next counts for a minute at
most. While nobody is heard, the log is silent and not the vehicles.
"""

from collections.abc import Sequence
from itertools import pairwise, repeat
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fleet.detection.judged import JudgedBlock
from fleet.records.episode import Episode

SILENT: Final = "silent"
# The same for every silence: how bad it is says its length.
SEVERITY_OF_SILENCE: Final = 0.75
# The longest step of the log that counts in full.
LONGEST_STEP_S: Final = 60.0
# Silences are looked for, and pauses learnt, once in so much busy time.
TICK_S: Final = 5.0
# So many times the pause that is usual is a silence: deliveries fall out once, and twice.
USUAL_PAUSES: Final = 3.0
# A vehicle is not judged before so many of its pauses are known, while it moves or while it stands.
KNOWN_PAUSES: Final = 10.0
# A vehicle that stands may be switched off, unless it went on reporting for so long.
REPORTS_PARKED_S: Final = 3600.0
# For so long a pause is remembered, and a vehicle that is not heard.
REMEMBERED_S: Final = 7 * 86_400.0
# Of the mean pause, which only words use.
_MEAN_PAUSES: Final = 30.0
# More than needed is forgotten, so that a fleet that is too large does not pay for this at every tick.
_KEPT_OF_FULL: Final = 15 / 16

VOICE: Final = np.dtype(
    [
        ("heard_s", "<f8"),  # the log's time of its latest event
        ("busy_s", "<f8"),  # the same in busy time
        ("moved_s", "<f8"),  # busy time when it was last heard moving, or first heard
        ("pauses", "<f4", 2),  # how many are known, moving and standing
        ("mean_s", "<f4", 2),  # of the log's time
        ("longest_s", "<f4", 2),  # in busy time; fading
        ("second_s", "<f4", 2),  # what has happened twice is usual
        ("stands", "<u4"),  # when it was last heard
        ("is_silent", "<u4"),
    ]
)
"""What is remembered of a vehicle. The fields are columns of the episodes' snapshot."""


class Silence(NamedTuple):
    """A vehicle that has fallen silent, or that has been for so long that it is forgotten."""

    row: int
    """The event of the block by which it was noticed."""
    vehicle_id: str
    tenant_id: str | None
    heard_s: float
    """The log's time of its latest event."""
    usual_pause_s: float
    """The mean from event to event, or from delivery to delivery."""
    is_forgotten: bool

    def episode(self, source: str, noticed_s: float, model_version: str) -> Episode:
        """Return the open episode of a silence; `source` is the event by which it was noticed."""
        return Episode(
            episode_id=f"{self.vehicle_id}:{source}",
            vehicle_id=self.vehicle_id,
            tenant_id=self.tenant_id,
            state="open",
            opened_at=self.heard_s,
            updated_at=noticed_s,
            closed_at=None,
            cause=SILENT,
            severity=SEVERITY_OF_SILENCE,
            peak_error=0.0,
            events=0,
            anomalous_events=0,
            worst=[],
            closed_by=None,
            model_version=model_version,
            usual_pause=self.usual_pause_s,
        )


class Heard(msgspec.Struct):
    """All that is remembered of when vehicles were heard."""

    log_s: float
    busy_s: float
    tick_s: float
    vehicle_ids: list[str]
    tenant_ids: list[str | None]
    voices: bytes


class SilenceWatch:
    """When one partition's vehicles were heard: at most `max_vehicles`, and those that a few seconds bring.

    `shortest_s` is the shortest silence, for whatever rhythm.
    """

    def __init__(self, shortest_s: float, max_vehicles: int) -> None:
        self.evictions = 0
        self._shortest_s, self._max_vehicles = shortest_s, max_vehicles
        self._row_of: dict[str, int] = {}
        self._tenant_ids: list[str | None] = []
        self._voices = np.zeros(0, VOICE)
        self._log_s, self._busy_s, self._tick_s = -np.inf, 0.0, -np.inf
        self._next_look_s = -np.inf  # nobody can have fallen silent before

    def hear(self, block: JudgedBlock) -> list[Silence]:
        """Take the next events of the partition, and return what is noticed, in order.

        Only counted ones: a message that is sent again and again says nothing of its vehicle.
        """
        rows = np.flatnonzero(block.counted)
        if not len(rows):
            return []
        log_s, busy_s = self._times(block.appended_at_s[rows])
        noticed: list[Silence] = []
        # Cut where a tick begins, so that the result does not depend on how the stream is cut.
        begin_s = TICK_S * np.arange(busy_s[0] // TICK_S + 1.0, busy_s[-1] // TICK_S + 1.0)
        starts = np.unique(np.searchsorted(busy_s, begin_s))
        for start, end in pairwise([0, *starts.tolist(), len(rows)]):
            tick_s = TICK_S * float(busy_s[start] // TICK_S)
            if tick_s > self._tick_s:
                self._tick_s = tick_s
                noticed += self._look(int(rows[start]), float(busy_s[start]))
            run = slice(start, end)
            self._enter(block, rows[run], log_s[run], busy_s[run])
        self._log_s, self._busy_s = float(log_s[-1]), float(busy_s[-1])
        return noticed

    def snapshot(self) -> Heard:
        """Return all that is remembered; `restore` continues from it exactly."""
        voices = self._voices[: len(self._row_of)].tobytes()
        return Heard(self._log_s, self._busy_s, self._tick_s, list(self._row_of), list(self._tenant_ids), voices)

    def restore(self, heard: Heard) -> None:
        """Continue where a snapshot was taken. Raises ValueError for what is no snapshot."""
        self._log_s, self._busy_s, self._tick_s = heard.log_s, heard.busy_s, heard.tick_s
        self._row_of = {vehicle_id: row for row, vehicle_id in enumerate(heard.vehicle_ids)}
        self._tenant_ids = list(heard.tenant_ids)
        self._voices = np.frombuffer(heard.voices, VOICE).copy()
        if not len(self._row_of) == len(self._tenant_ids) == len(self._voices):
            raise ValueError("the snapshot of silences names other vehicles than it holds")

    def _times(self, appended_at_s: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the log's time and the busy time, by event."""
        before_s = self._log_s if np.isfinite(self._log_s) else float(appended_at_s[0])
        log_s = np.maximum.accumulate(np.concatenate(([before_s], appended_at_s)))
        steps_s = np.minimum(np.diff(log_s), LONGEST_STEP_S)
        return log_s[1:], np.add.accumulate(np.concatenate(([self._busy_s], steps_s)))[1:]

    def _look(self, row: int, busy_s: float) -> list[Silence]:
        """Find those who have fallen silent, the one first that was due first, and forget whom nobody hears."""
        too_many = len(self._row_of) > self._max_vehicles
        if busy_s < self._next_look_s and not too_many:
            return []
        due_s = self._due_s()
        silent = np.flatnonzero(due_s < busy_s)
        self._voices["is_silent"][silent] = 1
        due_in_order_s = due_s[silent]
        due_s[silent] = np.inf
        ids = list(self._row_of)
        in_order = sorted(zip(due_in_order_s.tolist(), [ids[i] for i in silent.tolist()], silent.tolist(), strict=True))
        noticed = [self._silence(row, name, place, is_forgotten=False) for _, name, place in in_order]
        noticed += self._forget(row, self._unheard(busy_s, too_many))
        first_heard_s = self._voices["busy_s"][: len(self._row_of)].min(initial=np.inf)
        self._next_look_s = min(due_s.min(initial=np.inf), busy_s + self._shortest_s, first_heard_s + REMEMBERED_S)
        return noticed

    def _due_s(self) -> NDArray[np.float64]:
        """Return after which busy time each vehicle is silent; infinite for those who are not judged."""
        voices = self._voices[: len(self._row_of)]
        states = np.arange(len(voices)), voices["stands"]
        allowed_s = np.maximum(USUAL_PAUSES * voices["second_s"][states].astype(np.float64), self._shortest_s)
        reports_parked = voices["busy_s"] - voices["moved_s"] >= REPORTS_PARKED_S
        is_judged = (voices["pauses"][states] >= KNOWN_PAUSES) & ((voices["stands"] == 0) | reports_parked)
        is_judged &= voices["is_silent"] == 0
        due_s: NDArray[np.float64] = np.where(is_judged, voices["busy_s"] + allowed_s, np.inf)
        return due_s

    def _silence(self, row: int, vehicle_id: str, place: int, *, is_forgotten: bool) -> Silence:
        voice = self._voices[place]
        mean_s = float(voice["mean_s"][voice["stands"]])
        return Silence(row, vehicle_id, self._tenant_ids[place], float(voice["heard_s"]), mean_s, is_forgotten)

    def _unheard(self, busy_s: float, too_many: bool) -> NDArray[np.intp]:
        """Return whom to forget: who was not heard for long, and of too many those unheard the longest."""
        heard_s = self._voices["busy_s"][: len(self._row_of)]
        if not too_many:
            return np.flatnonzero(heard_s < busy_s - REMEMBERED_S)
        return np.argsort(heard_s, kind="stable")[: len(heard_s) - max(int(_KEPT_OF_FULL * self._max_vehicles), 1)]

    def _forget(self, row: int, places: NDArray[np.intp]) -> list[Silence]:
        if not len(places):
            return []
        ids = list(self._row_of)
        gone = {place: ids[place] for place in np.sort(places).tolist()}
        forgotten = [self._silence(row, name, place, is_forgotten=True) for place, name in gone.items()]
        kept = np.delete(np.arange(len(ids)), places)
        self._voices = self._voices[kept]
        self._tenant_ids = [self._tenant_ids[place] for place in kept.tolist()]
        self._row_of = {ids[place]: new for new, place in enumerate(kept.tolist())}
        self.evictions += len(gone)
        return forgotten

    def _enter(
        self, block: JudgedBlock, rows: NDArray[np.intp], log_s: NDArray[np.float64], busy_s: NDArray[np.float64]
    ) -> None:
        """Note that vehicles were heard, all within one tick."""
        ids = _picked(block.vehicle_ids, rows)
        places = np.fromiter(map(self._row_of.get, ids, repeat(-1)), np.intp, len(ids))
        if (new := np.flatnonzero(places < 0)).size:
            self._take_in([ids[i] for i in new.tolist()], [block.tenant_ids[row] for row in rows[new].tolist()])
            places = np.fromiter(map(self._row_of.__getitem__, ids), np.intp, len(ids))
            first, at = np.unique(places[new], return_index=True)
            self._voices["busy_s"][first] = self._voices["moved_s"][first] = busy_s[new][at]
        voices, stands = self._voices, block.stands[rows]
        earlier = np.flatnonzero(voices["busy_s"][places] < self._tick_s)
        who, at = np.unique(places[earlier], return_index=True)
        self._learn(who, log_s[earlier[at]], busy_s[earlier[at]])
        # Of several events of a vehicle, the last one's stays.
        voices["heard_s"][places], voices["busy_s"][places], voices["stands"][places] = log_s, busy_s, stands
        voices["moved_s"][places[~stands]] = busy_s[~stands]
        voices["is_silent"][places] = 0

    def _take_in(self, ids: Sequence[str], tenant_ids: Sequence[str | None]) -> None:
        for vehicle_id, tenant_id in zip(ids, tenant_ids, strict=True):
            if vehicle_id not in self._row_of:
                self._row_of[vehicle_id] = len(self._row_of)
                self._tenant_ids.append(tenant_id)
        if (lacking := len(self._row_of) - len(self._voices)) > 0:
            self._voices = np.concatenate((self._voices, np.zeros(max(lacking, len(self._voices), 64), VOICE)))

    def _learn(self, who: NDArray[np.intp], log_s: NDArray[np.float64], busy_s: NDArray[np.float64]) -> None:
        """Let the pauses that some vehicles have just ended enter what is usual for them, each once."""
        voices: Any = self._voices
        states = who, voices["stands"][who]
        pause_s = (busy_s - voices["busy_s"][who]).astype(np.float32)
        left = np.maximum(1.0 - np.maximum(pause_s, TICK_S) / REMEMBERED_S, 0.0).astype(np.float32)
        longest_s, second_s = voices["longest_s"][states] * left, voices["second_s"][states] * left
        voices["second_s"][states] = np.where(pause_s > longest_s, longest_s, np.maximum(second_s, pause_s))
        voices["longest_s"][states] = np.maximum(longest_s, pause_s)
        known, mean_s = voices["pauses"][states] + 1, voices["mean_s"][states]
        of_log_s = (log_s - voices["heard_s"][who]).astype(np.float32)
        of_log_s = np.where(known > KNOWN_PAUSES, np.minimum(of_log_s, USUAL_PAUSES * mean_s), of_log_s)
        voices["mean_s"][states] = mean_s + (of_log_s - mean_s) / np.minimum(known, _MEAN_PAUSES)
        voices["pauses"][states] = known


def _picked(ids: Sequence[str], rows: NDArray[np.intp]) -> Sequence[str]:
    """Pick some of the ids by increasing row; mostly these are all of a run."""
    run = ids[int(rows[0]) : int(rows[-1]) + 1]
    return run if len(run) == len(rows) else [ids[row] for row in rows.tolist()]
