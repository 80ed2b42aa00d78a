"""Clients of the live feed against a real WebSocket server: what they were shown, and what they missed."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection, serve

from faults import screens
from faults.cases.clients import wrong_with
from faults.screens import Screen, Sockets
from fleet.errors import LocalServiceError
from simulator.local_kafka import free_port

PATIENCE_S = 20.0


def frame(*sources: str, scored_at_s: float | None = None) -> bytes:
    at_s = time.time() if scored_at_s is None else scored_at_s
    return msgspec.json.encode([{"source": source, "scoredAt": at_s} for source in sources])


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def shown(*frames: Sequence[str], late_s: float = 0.0) -> Screen:
    """A screen that was shown these frames, and never was connected."""
    screen = Screen("http://127.0.0.1:1")
    for sources in frames:
        screen.take(frame(*sources, scored_at_s=time.time() - late_s))
    return screen


def sources(partition: int, *offsets: int) -> list[str]:
    return [f"{partition}:{offset}" for offset in offsets]


def test_a_screen_that_was_shown_everything_in_time_has_nothing_wrong() -> None:
    screen = shown([*sources(0, 5, 6), *sources(1, 9)], sources(0, 7), sources(1, 10, 11))
    assert (screen.events, screen.not_next) == (6, 0)
    assert list(wrong_with(screen, dropped=1)) == []
    assert screen.is_over({0: 7, 1: 11})


@pytest.mark.parametrize(
    "offsets", [(5, 7, 8), (5, 6, 6, 7), (5, 7, 6), (5, 6, 5)], ids=["missing", "twice", "swapped", "back"]
)
def test_a_screen_notices_each_event_that_is_not_the_next_of_its_partition(offsets: tuple[int, ...]) -> None:
    screen = shown(sources(1, 0, 1), sources(0, *offsets))
    assert screen.not_next >= 1
    [sentence] = wrong_with(screen, dropped=1)
    assert "out of their turn" in sentence


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=40), st.integers(1, 7))
def test_a_screen_counts_what_is_not_next_however_it_is_framed(events: list[tuple[int, int]], size: int) -> None:
    names = [f"{partition}:{offset}" for partition, offset in events]
    screen = shown(*(names[i : i + size] for i in range(0, len(names), size)))
    last: dict[int, int] = {}
    wrong = 0
    for partition, offset in events:
        wrong += partition in last and offset != last[partition] + 1
        last[partition] = offset
    assert (screen.events, screen.not_next, screen.last_offset) == (len(events), wrong, last)


def test_a_screen_is_not_over_before_the_last_event_of_every_partition() -> None:
    screen = shown(sources(0, 1, 2), sources(1, 4))
    assert screen.is_over({0: 2, 1: 4})
    assert not screen.is_over({0: 3, 1: 4})
    assert not screen.is_over({0: 2, 1: 4, 2: 0})
    assert screen.is_over({0: 2, 2: -1})


def test_a_screen_that_was_cut_off_is_over_and_that_is_said() -> None:
    screen = shown(sources(0, 1))
    screen.failure = "received 1013"
    assert screen.is_over({0: 99})
    assert list(wrong_with(screen, dropped=1)) == ["the normal client was cut off: received 1013"]


def test_what_was_shown_late_is_said_and_so_is_nothing_shown() -> None:
    assert list(wrong_with(shown(sources(0, 1), late_s=0.5), dropped=1)) == []
    [late] = wrong_with(shown(sources(0, 1), late_s=1.5), dropped=1)
    assert "ms late (p99)" in late
    [nothing] = wrong_with(shown(), dropped=1)
    assert "nan ms late" in nothing


def test_drops_that_nobody_counted_are_said() -> None:
    assert list(wrong_with(shown(sources(0, 1)), dropped=0)) == [
        "what the others did not take was neither dropped nor counted"
    ]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.sampled_from([50, 95, 99]))
def test_lateness_is_numpys_percentile_of_arrival_after_scoring(late_s: list[float], percentile: int) -> None:
    now_s = 1_000.0
    screen = Screen("http://127.0.0.1:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screens.time, "time", lambda: now_s)
        for number, seconds in enumerate(late_s):
            screen.take(frame(f"0:{number}", scored_at_s=now_s - seconds))
    assert screen.late_ms(percentile) == pytest.approx(np.percentile(late_s, percentile) * 1000, abs=1e-6)


class Feed:
    """A live feed: sends what it is told to whoever is connected, and counts who is there."""

    def __init__(self) -> None:
        self.connected: set[ServerConnection] = set()
        self.paths: list[str] = []
        self._server = serve(self._serve, "127.0.0.1", 0, compression=None)
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        for connection in list(self.connected):
            connection.close()
        self._server.shutdown()
        self._thread.join(PATIENCE_S)

    def send(self, content: bytes) -> None:
        for connection in list(self.connected):
            connection.send(content.decode())

    def cut(self) -> None:
        for connection in list(self.connected):
            connection.close(1013, "too slow")

    def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        self.connected.add(connection)
        try:
            for _ in connection:
                pass
        finally:
            self.connected.discard(connection)


@pytest.fixture
def feed() -> Iterator[Feed]:
    feed = Feed()
    yield feed
    feed.close()


def test_a_screen_reads_the_real_feed_as_the_page_does(feed: Feed) -> None:
    with Screen(feed.url) as screen:
        until(lambda: len(feed.connected) == 1)
        feed.send(frame("0:1", "0:2"))
        until(lambda: screen.is_over({0: 2}))
    assert feed.paths == ["/ws/telemetry?batch=true"]
    assert (screen.events, screen.not_next, screen.failure) == (2, 0, None)
    until(lambda: not feed.connected)


def test_a_screen_that_the_feed_closes_says_so(feed: Feed) -> None:
    with Screen(feed.url) as screen:
        until(lambda: len(feed.connected) == 1)
        feed.cut()
        until(lambda: screen.failure is not None)
    assert screen.failure is not None
    assert "too slow" in screen.failure


def test_a_feed_that_is_not_there_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screens, "TIMEOUT_S", 0.5)
    with pytest.raises(LocalServiceError, match=r"let nobody in: .*refused"), Screen(f"http://127.0.0.1:{free_port()}"):
        pass


def test_a_crowd_takes_everything_until_it_is_dropped_at_once(feed: Feed) -> None:
    with Sockets(feed.url) as sockets:
        for _ in range(5):
            sockets.reading("?batch=true")
        until(lambda: len(feed.connected) == 5)
        for _ in range(40):
            feed.send(b"x" * 100_000)  # more than any buffer on the way: who does not read holds this up
        sockets.drop_all()
        until(lambda: not feed.connected)


def test_clients_that_never_read_and_that_read_slowly_stay_until_the_context_is_left(feed: Feed) -> None:
    with Sockets(feed.url) as sockets:
        sockets.never_reading()
        sockets.slow(50_000)
        until(lambda: len(feed.connected) == 2)
        feed.send(frame("0:1"))
        assert len(feed.connected) == 2
    until(lambda: not feed.connected)


def test_a_refused_client_is_no_client() -> None:
    with serve(lambda _: None, "127.0.0.1", 0, process_request=lambda c, _: c.respond(503, "full\n")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        with Sockets(url) as sockets, pytest.raises(LocalServiceError, match=r"refused a client: .*503"):
            sockets.reading("")
        server.shutdown()
