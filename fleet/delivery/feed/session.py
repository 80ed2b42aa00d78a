"""One client's side of the conversation: its messages come in, and frames go out. No socket, thread or clock is known.

Whoever carries a session (`deployments.web.feed`) calls `receive` for each message, sends what `take` gives out until
nothing is due, and closes the socket where `close` says so. What only Kafka can answer waits in `recovering`.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec import UNSET, structs

from fleet.delivery.feed.cursor import BadCursorError, Cursor, Positions
from fleet.delivery.feed.live_log import LiveLog
from fleet.delivery.feed.messages import (
    MAX_MESSAGE_BYTES,
    RETRIED_CLOSES,
    Auth,
    Close,
    CloseCode,
    Error,
    ErrorCode,
    Goodbye,
    Heartbeat,
    Limits,
    Lost,
    MalformedMessageError,
    Ping,
    RecoveryReason,
    Subscribe,
    Subscribed,
    SubscriptionId,
    Unsubscribe,
    Update,
    Welcome,
    read_message,
    text_of,
)
from fleet.delivery.feed.recovery import Edges, GoOn, NotRecovered, RecoveryLimits, distance, plan_recovery
from fleet.delivery.feed.selection import EpisodeItem, Selection
from fleet.delivery.feed.subscription import Subscription, Wants
from fleet.errors import FleetError

AUTH_TIMEOUT_S: Final = 5.0
HEARTBEAT_S: Final = 10.0
MAX_SUBSCRIPTIONS: Final = 8
MESSAGES_PER_MINUTE: Final = 120
_RATE_WINDOW_S: Final = 60.0
# Senders' partitions may be a little apart: episodes from shortly before a cursor are sent again.
_EPISODES_AGAIN_S: Final = 60.0


class Identity(NamedTuple):
    """Who is signed in: `tenant` None may see every tenant's events; who is signed in for ever has no `until_s`."""

    tenant: str | None = None
    until_s: float | None = None
    holder: object = None
    """What the house knows them by."""


EVERYONE: Final = Identity()
"""Who need not sign in."""


class SignInRefusedError(FleetError):
    """A token that is not, or no longer, taken."""


@dataclass(frozen=True, slots=True)
class House:
    """What all sessions of a gateway share."""

    limits: RecoveryLimits
    default_interval_s: float
    sign_in: Callable[[str], Identity]
    """Takes a token; raises SignInRefusedError."""
    episodes: Callable[[], Iterable[EpisodeItem]]
    """Gives all episodes that are known, the one that changed last first."""


class Recovering(NamedTuple):
    """A subscription that goes on where only Kafka can tell."""

    subscription: Subscription
    cursor: Cursor
    snapshot: bool


class Session:
    """One socket's subscriptions; `identity` is None where the client has to sign in first."""

    def __init__(self, log: LiveLog, house: House, identity: Identity | None, now_s: float) -> None:
        self.close: Close | None = None
        self.recovering: deque[Recovering] = deque()
        self.subscriptions: dict[str, Subscription] = {}
        self._log, self._house = log, house
        self._identity: Identity | None = None
        self._ready: deque[str] = deque()
        self._began_s = self._beat_s = self._window_began_s = now_s
        self._received = 0
        if identity is not None:
            self._welcome(identity)

    @property
    def identity(self) -> Identity | None:
        """Who is signed in; None before somebody is."""
        return self._identity

    # What comes in -----------------------------------------------------------------------------------------------

    def receive(self, text: str | bytes, now_s: float) -> None:
        """Follow a client's message; a wrong one is answered with an error, or ends the session."""
        if len(text) > MAX_MESSAGE_BYTES:
            self.end(CloseCode.TOO_LARGE, f"a message has more than {MAX_MESSAGE_BYTES} bytes")
            return
        if self._is_too_fast(now_s):
            self.end(CloseCode.RATE, f"more than {MESSAGES_PER_MINUTE} messages in a minute", retry_after_s=60.0)
            return
        try:
            message = read_message(text)
        except MalformedMessageError as malformed:
            self._refuse(None, "malformed", str(malformed))
            self.end(CloseCode.MALFORMED, str(malformed))
            return
        if isinstance(message, Auth):
            self._sign_in(message)
        elif self._identity is None:
            self.end(CloseCode.UNAUTHENTICATED, "sign in first: send auth with a token")
        elif isinstance(message, Subscribe):
            self._subscribe(message, self._identity, now_s)
        elif isinstance(message, Update):
            self._update(message)
        elif isinstance(message, Unsubscribe):
            self._unsubscribe(message)
        elif isinstance(message, Ping):
            self._say_heartbeats(now_s)

    def _is_too_fast(self, now_s: float) -> bool:
        if now_s - self._window_began_s >= _RATE_WINDOW_S:
            self._window_began_s, self._received = now_s, 0
        self._received += 1
        return self._received > MESSAGES_PER_MINUTE

    def _sign_in(self, message: Auth) -> None:
        try:
            identity = self._house.sign_in(message.token)
        except SignInRefusedError as refused:
            self._refuse(None, "unauthenticated", str(refused))
            self.end(CloseCode.UNAUTHENTICATED, str(refused))
            return
        if self._identity is None:
            self._welcome(identity)
        elif identity.tenant != self._identity.tenant:
            self._refuse(None, "forbidden", "The token is another tenant's: connect anew with it.")
            self.end(CloseCode.FORBIDDEN, "the token is another tenant's")
        else:
            self._identity = identity

    def _welcome(self, identity: Identity) -> None:
        self._identity, recovery = identity, self._house.limits
        limits = Limits(
            MAX_MESSAGE_BYTES, MESSAGES_PER_MINUTE, MAX_SUBSCRIPTIONS, recovery.most_events, recovery.most_age_s
        )
        welcome = Welcome(limits=limits, heartbeat_ms=round(HEARTBEAT_S * 1000), tenant=identity.tenant)
        self._ready.append(text_of(welcome))

    # Subscriptions -----------------------------------------------------------------------------------------------

    def _subscribe(self, asked: Subscribe, identity: Identity, now_s: float) -> None:
        if asked.id in self.subscriptions or len(self.subscriptions) >= MAX_SUBSCRIPTIONS:
            detail = f"End a subscription first: there is one of this id, or there are {MAX_SUBSCRIPTIONS}."
            self._refuse(asked.id, "too_many_subscriptions", detail)
            return
        selection = Selection(identity.tenant, asked.filter, asked.viewport, asked.fields)
        wants = Wants(selection, asked.mode, self._interval_s(asked.interval_ms), asked.delta)
        if asked.resume is None:
            subscription = self.subscriptions[asked.id] = Subscription(asked.id, wants, self._log)
            self._begin(subscription, None, snapshot=asked.snapshot)
            return
        try:
            cursor = self._log.read_token(asked.resume)
        except BadCursorError as bad:
            self._refuse(asked.id, "bad_cursor", str(bad))
            return
        subscription = Subscription(asked.id, wants, self._log, resumed_at=cursor.positions)
        self.subscriptions[asked.id] = subscription
        self.resume(Recovering(subscription, cursor, asked.snapshot), None, now_s)

    def resume(self, recovering: Recovering, edges: Edges | None, now_s: float) -> bool:
        """Decide where a subscription goes on; `edges` are what Kafka said. Tell whether the log is to be read."""
        subscription, cursor = recovering.subscription, recovering.cursor
        if not self.holds(subscription):
            return False
        try:
            plan = plan_recovery(cursor, self._log, self._house.limits, now_s, edges)
        except BadCursorError as bad:
            self.drop(subscription, "bad_cursor", str(bad))
            return False
        if isinstance(plan, NotRecovered):
            self.begin_anew(recovering, plan.reason)
        elif plan is GoOn.ASK_KAFKA:
            self.recovering.append(recovering)
        else:
            self._say_subscribed(subscription, recovered=True)
            if plan is GoOn.FROM_MEMORY:
                subscription.go_live(self._log.first_after(cursor.positions))
        return plan is GoOn.FROM_LOG

    @property
    def head(self) -> Positions:
        """The end of the live log."""
        return self._log.head

    def holds(self, subscription: Subscription) -> bool:
        """Tell whether a subscription has not been ended."""
        return self.close is None and self.subscriptions.get(subscription.name) is subscription

    def has_caught_up(self, recovering: Recovering) -> bool:
        """Tell whether reading the log is over: the live log holds what follows, or the client is too slow for it."""
        subscription = recovering.subscription
        if not self.holds(subscription):
            return True
        if self._log.reaches_back_to(subscription.positions):
            subscription.say_episodes(self._episodes_since(recovering.cursor.at_s - _EPISODES_AGAIN_S))
            subscription.go_live(self._log.first_after(subscription.positions))
            return True
        if distance(subscription.positions, self._log.head) > self._house.limits.most_events:
            self.begin_anew(recovering, "limit")
            return True
        return False

    def begin_anew(self, recovering: Recovering, reason: RecoveryReason) -> None:
        """Say that a cursor cannot be resumed and why, what is missing, and how the fleet stands now."""
        old = recovering.subscription
        if not self.holds(old):
            return
        old.end()
        subscription = self.subscriptions[old.name] = Subscription(old.name, old.wants, self._log)
        came_to = recovering.cursor._replace(positions=old.positions)
        from_, to = self._log.write_token(came_to), subscription.token
        lost = Lost(id=old.name, count=None, from_=from_, to=to, reason=reason)
        self._begin(subscription, reason, snapshot=True, lost=lost)

    def _begin(
        self, subscription: Subscription, reason: RecoveryReason | None, *, snapshot: bool, lost: Lost | None = None
    ) -> None:
        """Begin at the head: the snapshot, the open episodes and the cursor are of one moment."""
        self._say_subscribed(subscription, recovered=None if reason is None else False, reason=reason)
        if lost is not None:
            subscription.say(lost)
        if snapshot:
            subscription.begin_snapshot()
            subscription.say_episodes(episode for episode in self._house.episodes() if episode.is_open)
        subscription.go_live(self._log.next_number)

    def _say_subscribed(
        self, subscription: Subscription, *, recovered: bool | None, reason: RecoveryReason | None = None
    ) -> None:
        name, cursor = subscription.name, subscription.token
        subscription.say(Subscribed(id=name, recovered=recovered, reason=reason, cursor=cursor))

    def _episodes_since(self, since_s: float) -> list[EpisodeItem]:
        return [episode for episode in self._house.episodes() if episode.published_at_s >= since_s]

    def _update(self, asked: Update) -> None:
        if (subscription := self._named(asked.id)) is None:
            return
        before, selection = subscription.wants, subscription.wants.selection
        changed = {name: value for name, value in structs.asdict(asked).items() if value is not UNSET}
        of_selection = {name: changed[name] for name in ("filter", "viewport", "fields") if name in changed}
        interval_s = self._interval_s(changed["interval_ms"]) if "interval_ms" in changed else before.interval_s
        subscription.change(
            Wants(
                selection._replace(**of_selection),
                changed.get("mode", before.mode),
                interval_s,
                changed.get("delta", before.delta),
            )
        )

    def _unsubscribe(self, asked: Unsubscribe) -> None:
        if (subscription := self._named(asked.id)) is not None:
            subscription.end()
            del self.subscriptions[asked.id]

    def drop(self, subscription: Subscription, code: ErrorCode, detail: str, *, retryable: bool = False) -> None:
        """End a subscription that cannot go on, and say why."""
        subscription.end()
        self.subscriptions.pop(subscription.name, None)
        self._refuse(subscription.name, code, detail, retryable=retryable)

    def _named(self, name: SubscriptionId) -> Subscription | None:
        if name not in self.subscriptions:
            self._refuse(name, "unknown_subscription", f"There is no subscription {name!r} on this socket.")
        return self.subscriptions.get(name)

    def _interval_s(self, interval_ms: int | None) -> float:
        return self._house.default_interval_s if interval_ms is None else interval_ms / 1000

    # What goes out -----------------------------------------------------------------------------------------------

    def say(self, texts: Iterable[str]) -> None:
        """Send frames as soon as the socket takes them."""
        self._ready.extend(texts)

    def take(self, now_s: float) -> list[str]:
        """Give out frames that are due; call it again until there are none."""
        self._check_times(now_s)
        if self._identity is not None and self.close is None and now_s - self._beat_s >= HEARTBEAT_S:
            self._say_heartbeats(now_s)
        frames = list(self._ready)
        self._ready.clear()
        if self.close is None:
            for subscription in self.subscriptions.values():
                frames += subscription.take(now_s)
        return frames

    def due_at_s(self) -> float:
        """Say when to call `take` next, unless something comes before."""
        if self._ready or self.close is not None:
            return float("-inf")
        if self._identity is None:
            return self._began_s + AUTH_TIMEOUT_S
        until_s = self._identity.until_s
        times_s = [one.due_at_s() for one in self.subscriptions.values()]
        return min(time_s for time_s in (*times_s, until_s, self._beat_s + HEARTBEAT_S) if time_s is not None)

    def end(self, code: CloseCode, reason: str, retry_after_s: float | None = None) -> None:
        """Say goodbye; the socket is to be closed once everything that is ready has been sent."""
        if self.close is not None:
            return
        for subscription in self.subscriptions.values():
            subscription.end()
        after_ms = round((retry_after_s or 0.0) * 1000) if code in RETRIED_CLOSES else None
        self._ready.append(text_of(Goodbye(code=code, retry_after_ms=after_ms)))
        self.close = Close(code, reason)

    def _check_times(self, now_s: float) -> None:
        if self._identity is None and now_s - self._began_s >= AUTH_TIMEOUT_S:
            self.end(CloseCode.NO_AUTH_IN_TIME, f"no auth within {AUTH_TIMEOUT_S:g} s")
        elif self._identity is not None and self._identity.until_s is not None and now_s >= self._identity.until_s:
            self.end(CloseCode.UNAUTHENTICATED, "the token has expired")

    def _say_heartbeats(self, now_s: float) -> None:
        self._beat_s = now_s
        beats = [beat for one in self.subscriptions.values() if (beat := one.heartbeat(now_s)) is not None]
        if not beats:
            beats = [Heartbeat(id=None, cursor=self._log.token(self._log.head, now_s), lag_ms=0.0)]
        self._ready.extend(map(text_of, beats))

    def _refuse(self, name: str | None, code: ErrorCode, detail: str, *, retryable: bool = False) -> None:
        self._ready.append(text_of(Error(id=name, code=code, detail=detail, retryable=retryable)))
