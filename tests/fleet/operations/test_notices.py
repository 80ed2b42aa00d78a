"""Notices of episodes: each change once, in order, signed, and tried until somebody takes it."""

import hashlib
import hmac
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet import kafka as fleet_kafka
from fleet.operations import notices
from fleet.operations.notices import EpisodeChanges, NoticeFilter, Notifier, Webhook
from fleet.settings import KafkaSettings, TopicNames
from tests.deployments.gateway_harness import episode, wait_until

SECRET = "made-up"


class Receiver:
    """Somebody else's web server: takes what comes, or answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.taken: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.answers.pop(0) if receiver.answers else 204
                if status < 300:
                    receiver.taken.append(json.loads(body))
                    receiver.headers.append(dict(self.headers))
                    receiver.bodies.append(body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def ids(self) -> list[str]:
        return [notice["noticeId"] for notice in self.taken]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def settings(kafka: Any) -> KafkaSettings:
    run = uuid.uuid4().hex[:8]
    names = TopicNames(**{name: f"{name}-{run}" for name in TopicNames.model_fields})
    made = KafkaSettings(application_id=f"notices-{run}", topics=names, partitions=2)
    fleet_kafka.ensure_topics(made)
    return made


@pytest.fixture
def notifying(
    settings: KafkaSettings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Start a notifier; calling what it returns ends it."""
    monkeypatch.setattr(notices, "FIRST_BACK_OFF_S", 0.05)
    monkeypatch.setattr(notices, "LONGEST_BACK_OFF_S", 0.05)
    ends: list[Callable[[], None]] = []

    def start(
        wanted: NoticeFilter | None = None, given_up_after_s: float = 3600
    ) -> tuple[Notifier, Callable[[], None]]:
        webhook = Webhook(receiver.url, SECRET)
        changes = EpisodeChanges(wanted or NoticeFilter())
        notifier = Notifier(settings, changes, webhook, given_up_after_s=given_up_after_s)
        stopping, said = threading.Event(), list[str]()
        thread = threading.Thread(target=notifier.run, args=(stopping, said.append), daemon=True)
        thread.start()
        wait_until(lambda: notices.READY in said, "the notifier", 30)

        def end() -> None:
            stopping.set()
            thread.join(30)
            assert not thread.is_alive()

        ends.append(end)
        return notifier, end

    yield start
    for end in ends:
        end()


def publish(settings: KafkaSettings, *records: tuple[bytes, bytes]) -> None:
    producer = fleet_kafka.telemetry_producer("test")
    for key, value in records:
        producer.produce(settings.topics.episodes, value, key)
    assert producer.flush(30) == 0


CLOSED = {"state": "closed", "closed_at": 1764533900.0, "closed_by": "recovery"}


def test_each_episode_is_told_of_when_it_begins_and_when_it_ends(notifying, settings, receiver):
    publish(settings, episode("V0", 1))  # before anybody wanted to know
    notifier, _ = notifying()
    publish(settings, episode("V1", 1), episode("V1", 1, events=9), episode("V1", 1, **CLOSED), episode("V0", 1))
    publish(settings, episode("V2", 2, **CLOSED))
    wait_until(lambda: len(receiver.taken) == 3, "the notices", 30)
    assert sorted(receiver.ids) == ["V1:0:1/closed", "V1:0:1/opened", "V2:0:2/closed"]
    assert receiver.ids.index("V1:0:1/opened") < receiver.ids.index("V1:0:1/closed")
    [ended] = [notice for notice in receiver.taken if notice["noticeId"] == "V1:0:1/closed"]
    assert ended["episode"] == json.loads(episode("V1", 1, **CLOSED)[1])
    assert notifier.counts == {"sent": 3}


def test_a_request_is_signed_with_its_time(notifying, settings, receiver):
    notifying()
    publish(settings, episode("V1", 1))
    wait_until(lambda: receiver.taken, "the notice", 30)
    [headers], [body] = receiver.headers, receiver.bodies
    signed = headers["X-Fleet-Sent-At"].encode() + b"." + body
    right = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Fleet-Signature"] == f"sha256={right}"


def test_a_request_that_fails_is_sent_again_and_what_follows_waits(notifying, settings, receiver):
    receiver.answers = [503, 429, 500]
    notifier, _ = notifying()
    publish(settings, episode("V1", 1), episode("V1", 1, **CLOSED))
    wait_until(lambda: len(receiver.taken) == 2, "the notices", 30)
    assert receiver.ids == ["V1:0:1/opened", "V1:0:1/closed"]
    assert notifier.counts == {"failed": 3, "sent": 2}


def test_what_is_refused_or_too_old_holds_nothing_up(notifying, settings, receiver):
    receiver.answers = [422]
    notifier, end = notifying()
    publish(settings, episode("V1", 1), episode("V1", 1, **CLOSED))
    wait_until(lambda: len(receiver.taken) == 1, "the second notice", 30)
    assert (receiver.ids, notifier.counts) == (["V1:0:1/closed"], {"refused": 1, "sent": 1})
    end()
    receiver.answers = [503]
    hurried, _ = notifying(given_up_after_s=0)
    publish(settings, episode("V1", 9))
    wait_until(lambda: hurried.counts["given_up"] == 1, "the end of trying", 30)


def test_after_a_restart_nothing_is_told_again_and_nothing_is_left_out(notifying, settings, receiver):
    _, end = notifying()
    publish(settings, episode("V1", 1))
    wait_until(lambda: len(receiver.taken) == 1, "the notice", 30)
    end()
    publish(settings, episode("V1", 1, events=12), episode("V1", 1, **CLOSED), episode("V2", 2))
    notifying()
    wait_until(lambda: len(receiver.taken) == 3, "what came meanwhile", 30)
    assert sorted(receiver.ids) == ["V1:0:1/closed", "V1:0:1/opened", "V2:0:2/opened"]


def test_somebody_may_want_to_know_of_some_episodes_alone(notifying, settings, receiver):
    notifying(NoticeFilter(0.7, frozenset({"overspeed"})))
    publish(
        settings,
        episode("V1", 1, severity=0.6),
        episode("V1", 1, severity=0.9),
        episode("V2", 2, severity=0.9, cause="silent"),
    )
    wait_until(lambda: receiver.taken, "the notice", 30)
    assert receiver.ids == ["V1:0:1/opened"], "when it has become severe enough"


STATES = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["open", "closed"])), max_size=30)


@given(STATES, st.integers(0, 30))
def test_no_change_is_told_twice_in_a_row_and_what_was_known_is_not_told(records, known):
    changes, told = EpisodeChanges(NoticeFilter()), dict[str, str]()
    for place, (number, state) in enumerate(records):
        _, value = episode("V", number, state=state)
        name, change = f"V:0:{number}", "opened" if state == "open" else "closed"
        if place < known:
            changes.remember(value)
        else:
            notice = changes.notice(value)
            assert (notice is None) == (told.get(name) == change)
        told[name] = change
    assert changes.notice(None) is None
    assert changes.notice(b"{") is None
