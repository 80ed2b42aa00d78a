"""One subscription: its place in the live log, and the frames that lead from there to the head.

It has no queue of its own: it goes from block to block and takes of each what it wants. What it is passed over is
counted, and said at the place where it is missing.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import msgspec

from fleet.delivery.feed.block import MAX_BLOCK_BYTES, Chosen, FeedBlock, Sent
from fleet.delivery.feed.cursor import Positions, is_reached, later
from fleet.delivery.feed.delta import DeltaEncoder
from fleet.delivery.feed.live_log import LiveLog
from fleet.delivery.feed.messages import (
    Episodes,
    Heartbeat,
    Leave,
    Lost,
    Mode,
    PaceSaid,
    ServerMessage,
    Snapshot,
    text_of,
)
from fleet.delivery.feed.pace import Pace
from fleet.delivery.feed.presence import Presence
from fleet.delivery.feed.selection import EpisodeItem, Selection
from fleet.delivery.feed.snapshot import MAX_FRAME_BYTES, SnapshotParts, pieces

# Between two frames the event loop serves others; a subscription that little fits looks at many blocks for one.
_BLOCKS_AT_ONCE: Final = 256
_ENOUGH_BYTES: Final = MAX_FRAME_BYTES - MAX_BLOCK_BYTES


class Wants(NamedTuple):
    """What a subscription asked for."""

    selection: Selection = Selection()
    mode: Mode = "events"
    interval_s: float = 0.0
    delta: bool = False


@dataclass(slots=True)
class _Unsaid:
    """What has happened on the way and must be said with the next frames."""

    lost: int = 0
    lost_from: Positions | None = None
    left: set[str] = field(default_factory=set)
    episodes: dict[str, bytes] = field(default_factory=dict)
    # In the mode `latest`: anomalies, one slot for each vehicle, and how many events came together for both.
    anomalies: list[Sent] = field(default_factory=list)
    latest: dict[str, bytes] = field(default_factory=dict)
    passed: int = 0

    def lose(self, count: int, before: Positions) -> None:
        if count:
            self.lost += count
            self.lost_from = self.lost_from or before

    def conflate(self, chosen: Chosen) -> None:
        anomalies, latest = chosen.conflated
        for vehicle_id, _ in anomalies:
            self.latest.pop(vehicle_id, None)
        self.anomalies += anomalies
        self.latest.update(latest)
        self.passed += len(chosen)


class Subscription:
    """A follower of the live log; `positions` is its place, as its cursor says it."""

    def __init__(self, name: str, wants: Wants, log: LiveLog, *, resumed_at: Positions | None = None) -> None:
        self.name, self.wants = name, wants
        self.positions: Positions = log.head if resumed_at is None else resumed_at
        self.next_number = log.next_number
        self.is_live = False
        self._log = log
        self._floor = resumed_at  # what stands before it was sent over an earlier socket
        self._token: str | None = None
        self._pace = Pace(wants.mode, wants.interval_s)
        self._presence = Presence(client_has_more=resumed_at is not None)
        self._deltas = DeltaEncoder(log.max_vehicles) if wants.delta else None
        self._ready: deque[ServerMessage] = deque()
        self._snapshot: SnapshotParts | None = None
        self._unsaid = _Unsaid()
        self._sent_at_s = float("-inf")
        self._has_caught_up = resumed_at is None
        self._events_begin = f'{{"type":"events","id":{msgspec.json.encode(name).decode()},"cursor":"'

    # Its place ---------------------------------------------------------------------------------------------------

    def go_live(self, number: int) -> None:
        """Follow the live log from a block on."""
        self.next_number, self.is_live = number, True
        self._log.followers.add(self)

    def come_to(self, positions: Positions) -> None:
        """Note that nothing is left of the log before these positions."""
        self.positions, self._floor, self._token = positions, None, None

    def end(self) -> None:
        """Follow no longer."""
        self.is_live = False
        self._log.followers.discard(self)

    @property
    def token(self) -> str:
        """The cursor of what was sent."""
        if self._token is None:
            self._token = self._log.token(self.positions, self._log.at_s)
        return self._token

    def due_at_s(self) -> float | None:
        """Say when the next frame may be sent; None while nothing waits."""
        if self._ready or self._snapshot is not None:
            return float("-inf")
        if self.is_live and self.next_number < self._log.next_number:
            return self._sent_at_s + self._pace.interval_s
        return None

    def heartbeat(self, now_s: float) -> Heartbeat | None:
        """Say where it has come to; None while something that stands before is still to be said."""
        if self._unsaid != _Unsaid() or self._snapshot is not None:
            return None
        is_behind = self.is_live and self.next_number < self._log.next_number
        lag_s = max(now_s - self._log.block(self.next_number).at_s, 0.0) if is_behind else 0.0
        # Written anew: while nothing comes, the place does not grow old.
        cursor = self._log.token(self.positions, now_s)
        return Heartbeat(id=self.name, cursor=cursor, lag_ms=round(lag_s * 1000, 1))

    # What is said beside events ----------------------------------------------------------------------------------

    def say(self, message: ServerMessage) -> None:
        """Send a message before anything else."""
        self._ready.append(message)

    def begin_snapshot(self) -> None:
        """Send the latest events of the vehicles that fit and that the client does not show yet."""
        if self._snapshot is not None:  # another one is under way, of what was wanted before
            self._presence.leave([event.vehicle_id for event in self._snapshot.rest])
        chosen = self._log.snapshot().select(self.wants.selection)
        new = [
            Sent(vehicle_id, body)
            for vehicle_id, body in zip(chosen.vehicle_ids, chosen.bodies, strict=True)
            if not self._presence.has(vehicle_id)
        ]
        self._presence.enter([event.vehicle_id for event in new])
        self._snapshot = SnapshotParts(new)

    def say_episodes(self, episodes: Iterable[EpisodeItem]) -> None:
        """Send those of some episodes that fit."""
        fitting = {e.episode_id: e.body for e in episodes if self._wants_episode(e)}
        if fitting:
            raw = list(map(msgspec.Raw, fitting.values()))
            self.say(Episodes(id=self.name, cursor=self.token, items=raw))

    def change(self, wants: Wants) -> None:
        """Want something else from here on: what no longer fits leaves, what newly fits comes."""
        self.wants, self._pace = wants, Pace(wants.mode, wants.interval_s)
        self._deltas = DeltaEncoder(self._log.max_vehicles) if wants.delta else None
        self._unsaid.latest.clear()
        gone = self._presence.shown.difference(self._log.snapshot().select(wants.selection).vehicle_ids)
        if gone:
            self._presence.leave(gone)
            self.say(Leave(id=self.name, vehicles=sorted(gone)))
        self.begin_snapshot()

    # What is sent ------------------------------------------------------------------------------------------------

    def take(self, now_s: float) -> list[str]:
        """Give out the next frames, in order; none where none is due."""
        if self._ready:
            return [text_of(self._ready.popleft())]
        if self._snapshot is not None:
            return [self._snapshot_part(self._snapshot, now_s)]
        due_at_s = self.due_at_s()
        if due_at_s is None or due_at_s > now_s:
            return []
        # Who resumes is far behind without being slow, and one block, however large, may come at once.
        waiting_share = self._log.waiting(self.next_number + 1) / self._log.most_events
        if self._has_caught_up and self._pace.judge(waiting_share):
            return [text_of(self._pace_said())]
        frames = self._walk(now_s)
        if self.next_number >= self._log.next_number:
            self._sent_at_s, self._has_caught_up = now_s, True
        return frames

    def replay(self, block: FeedBlock, now_s: float) -> list[str]:
        """Lay out what was read from the log, as if it were live."""
        before, token = self.positions, self.token
        texts = self._add(block, now_s)
        return self._frames(texts, before, token, now_s)

    def skip(self, block: FeedBlock) -> None:
        """Go past a block that is about to be forgotten, and note what is missed."""
        before, chosen = self.positions, self._choose(block)
        self._note_left(self._presence.missed(chosen))
        self._note_episodes(block)
        if self._pace.mode == "latest":
            self._unsaid.conflate(chosen)
            missed = len(self._unsaid.anomalies)
            self._unsaid.anomalies.clear()
            self._unsaid.passed -= missed
        else:
            missed = len(chosen)
        self._unsaid.lose(missed, before)
        self._move(block)
        self.next_number += 1

    def _walk(self, now_s: float) -> list[str]:
        """Go on from block to block, up to the head or as much as a frame holds."""
        before, token = self.positions, self.token
        texts: list[str] = []
        size = 0
        last = min(self._log.next_number, self.next_number + _BLOCKS_AT_ONCE)
        while self.next_number < last and size < _ENOUGH_BYTES:
            added = self._add(self._log.block(self.next_number), now_s)
            texts += added
            size += sum(map(len, added))
            self.next_number += 1
        return self._frames(texts, before, token, now_s)

    def _add(self, block: FeedBlock, now_s: float) -> list[str]:
        """Go past a block; return the text of its events, unless they wait in their slots for a frame."""
        chosen = self._choose(block)
        if self.wants.selection.can_be_left:
            self._note_left(self._presence.leaving(chosen))
            self._unsaid.left -= chosen.entered
        self._note_episodes(block)
        self._move(block)
        if self._pace.mode == "latest":
            self._unsaid.conflate(chosen)
            return []
        if not chosen:
            return []
        if self._deltas is None:
            return [chosen.text]
        return [_joined(self._cut(zip(chosen.vehicle_ids, chosen.bodies, strict=True), now_s))]

    def _choose(self, block: FeedBlock) -> Chosen:
        return (block if self._floor is None else block.since(self._floor)).select(self.wants.selection)

    def _move(self, block: FeedBlock) -> None:
        if self._floor is not None and is_reached(self._floor, block.end):
            self._floor = None
        if self._floor is None:
            self.positions, self._token = block.end, self._log.token_after(block)
        else:
            self.positions, self._token = later(self._floor, block.end), None

    def _note_left(self, vehicle_ids: set[str]) -> None:
        self._unsaid.left |= vehicle_ids
        for vehicle_id in vehicle_ids:
            self._unsaid.latest.pop(vehicle_id, None)

    def _note_episodes(self, block: FeedBlock) -> None:
        self._unsaid.episodes.update((e.episode_id, e.body) for e in block.episodes if self._wants_episode(e))

    def _wants_episode(self, episode: EpisodeItem) -> bool:
        fits = self.wants.selection.wants_episode(episode)
        return fits and (self.wants.selection.viewport is None or self._presence.has(episode.vehicle_id))

    # How it is laid out ------------------------------------------------------------------------------------------

    def _frames(self, texts: list[str], before: Positions, token: str, now_s: float) -> list[str]:
        """Lay out what is unsaid and the events; a cursor moves with the last frame of what belongs together."""
        unsaid, self._unsaid = self._unsaid, _Unsaid()
        events = [*unsaid.anomalies, *(Sent(*slot) for slot in unsaid.latest.items())]
        if self._pace.conflates_unasked:
            unsaid.lose(unsaid.passed - len(events), before)
        parts = [",".join(texts)] if texts else []
        parts += [_joined(piece) for piece in pieces(self._cut(events, now_s))]
        frames = [self._lost(unsaid)] if unsaid.lost else []
        frames += [self._events_frame(part, token) for part in parts[:-1]]
        frames += [self._events_frame(part, self.token) for part in parts[-1:]]
        return frames + self._said_after(unsaid)

    def _said_after(self, unsaid: _Unsaid) -> list[str]:
        """Lay out what belongs after the events: who left, and what became of episodes."""
        said: list[ServerMessage] = []
        if unsaid.left:
            said.append(Leave(id=self.name, vehicles=sorted(unsaid.left)))
            if self._deltas is not None:
                self._deltas.forget(unsaid.left)
        if unsaid.episodes:
            raw = list(map(msgspec.Raw, unsaid.episodes.values()))
            said.append(Episodes(id=self.name, cursor=self.token, items=raw))
        return list(map(text_of, said))

    def _cut(self, events: Iterable[tuple[str, bytes]], now_s: float) -> list[Sent]:
        """Return events as they are to be sent: whole, or what changed."""
        if self._deltas is None:
            return [Sent(*event) for event in events]
        encode = self._deltas.encode
        return [Sent(vehicle_id, encode(vehicle_id, body, now_s)) for vehicle_id, body in events]

    def _events_frame(self, text: str, token: str) -> str:
        # By hand: the text of the events is made once for all subscriptions that are sent the same.
        return f'{self._events_begin}{token}","items":[{text}]}}'

    def _lost(self, unsaid: _Unsaid) -> str:
        assert unsaid.lost_from is not None
        self._log.lost += unsaid.lost
        from_ = self._log.token(unsaid.lost_from, self._log.at_s)
        return text_of(Lost(id=self.name, count=unsaid.lost, from_=from_, to=self.token, reason="slow"))

    def _pace_said(self) -> PaceSaid:
        interval_ms = round(self._pace.interval_s * 1000)
        reason: Literal["slow", "as_asked"] = "slow" if self._pace.is_slowed else "as_asked"
        return PaceSaid(id=self.name, mode=self._pace.mode, interval_ms=interval_ms, reason=reason)

    def _snapshot_part(self, snapshot: SnapshotParts, now_s: float) -> str:
        part, last, events = snapshot.take()
        if last:
            self._snapshot = None
        raw = [msgspec.Raw(event.body) for event in self._cut(events, now_s)]
        return text_of(Snapshot(id=self.name, part=part, last=last, cursor=self.token, vehicles=raw))


def _joined(events: Sequence[Sent]) -> str:
    return b",".join([event.body for event in events]).decode("utf-8", "replace")
