"""A live log of made-up events, sessions on it, and a client that follows their frames."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from fleet.client.state import FeedState, Loss
from fleet.delivery.feed.block import FeedBlock, Place, read_blocks
from fleet.delivery.feed.cursor import CursorKey
from fleet.delivery.feed.live_log import LiveLog
from fleet.delivery.feed.recovery import RecoveryLimits
from fleet.delivery.feed.selection import EpisodeItem
from fleet.delivery.feed.session import EVERYONE, House, Identity, Session, SignInRefusedError

NOW_S = 1_796_000_000.0
KEY = CursorKey("secret", "fleet")
PARTITIONS = 2
Record = tuple[Place, bytes]


def scored(partition: int, offset: int, vehicle: str, *, alarm: bool = False, **fields: Any) -> Record:
    event = {
        "vehicleId": vehicle,
        "timestamp": NOW_S,
        "is_anomaly": alarm,
        "anomalyType": "overspeed" if alarm else None,
        "severity": 0.7 if alarm else 0.1,
        "source": f"{partition}:{offset}",
        "latitude": 0.0,
        "longitude": 0.0,
        **fields,
    }
    return Place(partition, offset), json.dumps({k: v for k, v in event.items() if v is not ...}).encode()


FAR_BACK = RecoveryLimits(1_000, 1_000.0)


def house(limits: RecoveryLimits = FAR_BACK, episodes: Sequence[EpisodeItem] = ()) -> House:
    return House(limits, 0.0, sign_in, lambda: episodes)


def sign_in(token: str) -> Identity:
    if token == "wrong":
        raise SignInRefusedError("The token is not known: ask for another.")
    return Identity(tenant=token)


def live_log(most_events: int = 10_000, start: dict[int, int] | None = None, epoch: str = "topic") -> LiveLog:
    first = dict.fromkeys(range(PARTITIONS), 0) if start is None else start
    return LiveLog(epoch, first, KEY, most_events=most_events, max_vehicles=1_000, began_s=NOW_S)


def append(log: LiveLog, records: Iterable[Record], at_s: float = NOW_S, episodes: Sequence[EpisodeItem] = ()) -> None:
    for block in read_blocks(list(records), log.head, at_s, episodes):
        log.append(block)


def block_of(records: Iterable[Record]) -> FeedBlock:
    [block] = read_blocks(list(records), {}, NOW_S)
    return block


class Client:
    """A session with one subscription, and what a client makes of its frames."""

    def __init__(self, log: LiveLog, **subscription: Any) -> None:
        self.losses: list[Loss] = []
        self.state = FeedState(self.losses.append, snapshot=subscription.get("snapshot", False))
        self.sources: list[str] = []
        self.frames: list[dict[str, Any]] = []
        self.now_s = NOW_S
        self._subscription = subscription
        self.connect(log)

    def connect(self, log: LiveLog, resume: str | None = None, of: House | None = None) -> None:
        self.session = Session(log, of or house(), EVERYONE, self.now_s)
        self.say(type="subscribe", id="a", **self._subscription, **({"resume": resume} if resume else {}))

    def cut(self) -> None:
        for subscription in self.session.subscriptions.values():
            subscription.end()

    def say(self, **message: Any) -> None:
        self.session.receive(json.dumps(message), self.now_s)

    def read(self, frames: int | None = None) -> list[dict[str, Any]]:
        """Take what is due, or so many rounds of it."""
        read: list[dict[str, Any]] = []
        while frames is None or len(read) < frames:
            texts = self.session.take(self.now_s)
            if not texts:
                break
            read += map(json.loads, texts)
        for message in read:
            self.sources += [event["source"] for event in self.state.apply(message)]
            self.state.come_to(message)
        self.frames += read
        return read

    @property
    def lost(self) -> int:
        return sum(loss.events or 0 for loss in self.losses)


def of_type(frames: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [frame for frame in frames if frame["type"] == kind]
