"""Tells another system of episodes: each that begins or ends is sent to an address, signed, until it is taken.

It reads the episodes topic as one more reader, so that nothing waits for the other system. What was sent is committed
as the offset of a group of its own: after a restart it goes on there, and may send the last notice again.
"""

import hashlib
import hmac
import logging
import time
import urllib.error
import urllib.request
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from fleet import kafka
from fleet.backoff import BackOff
from fleet.errors import KafkaUnavailableError
from fleet.events.fields import wire_name
from fleet.kafka import Consumer, KafkaException, Message, TopicPartition
from fleet.records.episode import EpisodeSummary, decode_summary
from fleet.settings import KafkaSettings

Change = Literal["opened", "closed"]
REQUEST_TIMEOUT_S: Final = 10.0
FIRST_BACK_OFF_S: Final = 1.0
LONGEST_BACK_OFF_S: Final = 60.0
POLL_S: Final = 0.25
MOST_RECORDS: Final = 500
MOST_KNOWN: Final = 200_000
"""Episodes whose state is remembered; the one that changed longest ago goes first."""
READY: Final = "Episodes are told of from now on."
TAKEN, LATER, REFUSED = range(3)
# What a receiver may say that another try can change.
_AGAIN: Final = frozenset({408, 425, 429})

logger = logging.getLogger(__name__)


class Stopping(Protocol):
    """Tells that the work is to end."""

    def is_set(self) -> bool:
        """Tell whether it is."""

    def wait(self, timeout_s: float, /) -> bool:
        """Wait for that, at most so long; returns whether it is."""


class Notice(msgspec.Struct, frozen=True, rename=wire_name):
    """The body of a request."""

    notice_id: Annotated[str, Meta(description="the same whenever it is sent again")]
    change: Annotated[Change, Meta(description="what has happened to the episode")]
    episode: Annotated[msgspec.Raw, Meta(description="the episode, as its record says it")]


@dataclass(frozen=True, slots=True)
class NoticeFilter:
    """Of which episodes somebody is told; None asks nothing."""

    least_severity: float = 0.0
    causes: frozenset[str] | None = None

    def takes(self, episode: EpisodeSummary) -> bool:
        """Tell whether an episode is one of them."""
        return episode.severity >= self.least_severity and (self.causes is None or episode.cause in self.causes)


class EpisodeChanges:
    """Knows which episodes were told of, and makes notices of what is new. Pure."""

    def __init__(self, wanted: NoticeFilter) -> None:
        self._wanted = wanted
        self._told: OrderedDict[str, Change] = OrderedDict()

    def remember(self, record: bytes | None) -> None:
        """Take a record that is no news."""
        self._noted(record)

    def notice(self, record: bytes | None) -> Notice | None:
        """Return what a record says that was not told before; None where that is nothing."""
        noted = self._noted(record)
        if noted is None:
            return None
        episode, change = noted
        return Notice(f"{episode.episode_id}/{change}", change, msgspec.Raw(record or b""))

    def _noted(self, record: bytes | None) -> tuple[EpisodeSummary, Change] | None:
        try:
            episode = decode_summary(record or b"")
        except (ValueError, RecursionError):
            return None
        change: Change = "opened" if episode.state == "open" else "closed"
        # One that becomes severe enough is told of when it does.
        if not self._wanted.takes(episode) or self._told.get(episode.episode_id) == change:
            return None
        self._told[episode.episode_id] = change
        self._told.move_to_end(episode.episode_id)
        if len(self._told) > MOST_KNOWN:
            self._told.popitem(last=False)
        return episode, change


class Webhook:
    """Somebody else's address. Requests are signed with a secret, where there is one."""

    def __init__(self, url: str, secret: str, timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        self._url, self._secret, self._timeout_s = url, secret.encode(), timeout_s

    def send(self, notice: Notice, now_s: float) -> int:
        """Send a notice; returns TAKEN, LATER where another try may help, or REFUSED."""
        body, sent_at = msgspec.json.encode(notice), str(int(now_s))
        headers = {"Content-Type": "application/json", "X-Fleet-Sent-At": sent_at, "User-Agent": "fleet-notices"}
        if self._secret:
            headers["X-Fleet-Signature"] = f"sha256={signature(self._secret, sent_at, body)}"
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s):
                return TAKEN
        except urllib.error.HTTPError as answer:
            with answer:
                return LATER if answer.code >= 500 or answer.code in _AGAIN else REFUSED
        except OSError:
            return LATER


def signature(secret: bytes, sent_at: str, body: bytes) -> str:
    """Sign a request: HMAC-SHA-256 of the time, a dot, and the body, in hexadecimal digits."""
    return hmac.new(secret, sent_at.encode() + b"." + body, hashlib.sha256).hexdigest()


class Notifier:
    """Follows the episodes topic and sends notices, in each partition's order, one at a time."""

    def __init__(
        self, settings: KafkaSettings, changes: EpisodeChanges, webhook: Webhook, *, given_up_after_s: float
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._settings, self._changes, self._webhook = settings, changes, webhook
        self._given_up_after_s = given_up_after_s

    def run(self, stopping: Stopping, say: Callable[[str], object]) -> None:
        """Work until told to stop; what is worth knowing is said in sentences. Kafka may be away for a while."""
        back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        while not stopping.is_set():
            try:
                self._follow(stopping, say)
            except KafkaUnavailableError as away:
                say(str(away))
                stopping.wait(back_off.next_s())

    def _follow(self, stopping: Stopping, say: Callable[[str], object]) -> None:
        topic = self._settings.topics.episodes
        consumer = kafka.tail_consumer(self._settings, "notices")
        try:
            consumer.assign(list(self._positions(consumer, topic)))
            say(READY)
            while not stopping.is_set():
                for message in kafka.poll_values(consumer, MOST_RECORDS, POLL_S, POLL_S):
                    if not self._told(message, stopping):
                        return
                    self._commit(consumer, message)
        finally:
            consumer.close()

    def _commit(self, consumer: Consumer, message: Message) -> None:
        following = TopicPartition(message.topic(), message.partition(), message.offset() + 1)
        try:
            consumer.commit(offsets=[following], asynchronous=False)
        except KafkaException as exception:
            raise KafkaUnavailableError(kafka.why_away(consumer, exception)) from None

    def _positions(self, consumer: Consumer, topic: str) -> Iterator[TopicPartition]:
        """Begin where the last run has ended, and at the end where there was none; what is before is known."""
        partitions = range(kafka.partition_count(consumer, topic))
        for partition, (committed, _) in kafka.committed_positions(consumer, topic, partitions).items():
            end = kafka.end_offset(self._settings, topic, partition)
            following = end if committed is None else committed
            for records in kafka.read_to_end(self._settings, topic, partition):
                for record in records:
                    if record.offset() < following:
                        self._changes.remember(record.value())
            yield TopicPartition(topic, partition, following)

    def _told(self, message: Message, stopping: Stopping) -> bool:
        """Tell of a record, where it is news; False where the work was stopped before that."""
        notice = self._changes.notice(message.value())
        return notice is None or self._sent(notice, message.timestamp()[1] / 1000, stopping)

    def _sent(self, notice: Notice, published_s: float, stopping: Stopping) -> bool:
        """Send a notice until it is taken, refused or too old; False where the work was stopped before."""
        back_off = BackOff(FIRST_BACK_OFF_S, LONGEST_BACK_OFF_S)
        while (outcome := self._webhook.send(notice, time.time())) == LATER:
            self.counts["failed"] += 1
            if time.time() - published_s > self._given_up_after_s:
                break
            logger.warning("notice_failed", extra={"notice": notice.notice_id, "retry_s": back_off.delay_s})
            if stopping.wait(back_off.next_s()):
                return False
        name = {TAKEN: "sent", REFUSED: "refused", LATER: "given_up"}[outcome]
        self.counts[name] += 1
        if outcome != TAKEN:
            logger.error("notice_" + name, extra={"notice": notice.notice_id})
        return True
