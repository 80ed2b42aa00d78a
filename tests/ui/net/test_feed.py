"""The page's socket: coming back and bearing nonsense. Sockets, timers and randomness are fakes."""

from collections.abc import Callable
from typing import Any

Run = Callable[[str], Any]

FEED = """
    const { Feed } = await load("net/feed");
    const sockets = [], timers = [], events = [], phases = [];
    const feed = new Feed("ws://host/feed", {
      open: (url) => { const s = { url, closed: false, close() { this.closed = true; } }; sockets.push(s); return s; },
      nowMs: () => 5000, random: () => 0.999999,
      setTimer: (run, ms) => timers.push({ run, ms, off: false }) - 1,
      clearTimer: (id) => { if (timers[id]) timers[id].off = true; },
      onEvents: (frame) => events.push(frame),
      onStatus: (status) => phases.push(status.phase),
    });
    const last = () => sockets[sockets.length - 1];
    const ring = () => { const t = timers[timers.length - 1]; if (!t.off) { t.off = true; t.run(); } return t.ms; };
    feed.start();
"""


def test_backoff_doubles_and_stays_within_its_bounds(run: Run) -> None:
    assert run("""
        const { delayMs } = await load("net/backoff");
        const longest = [0, 1, 2, 3, 4, 5, 50, 5000].map((attempt) => Math.round(delayMs(attempt, () => 0.9999999)));
        const shortest = [0, 5000].map((attempt) => delayMs(attempt, () => 0));
        return [longest, shortest];
    """) == [[500, 1000, 2000, 4000, 8000, 10000, 10000, 10000], [250, 5000]]


def test_feed_hands_on_frames_and_counts_what_it_cannot_read(run: Run) -> None:
    assert run(
        FEED
        + """
        last().onopen();
        for (const data of ['[{"a":1},{"a":2}]', '{"a":3}', '[{"a":', 'null', '[]']) last().onmessage({ data });
        return [events, feed.malformedFrames, phases];
        """
    ) == [[[{"a": 1}, {"a": 2}], [{"a": 3}], [None], []], 1, ["connecting", "live"]]


def test_feed_comes_back_and_forgets_its_failures_only_when_a_frame_came(run: Run) -> None:
    assert run(
        FEED
        + """
        const waits = [];
        for (let i = 0; i < 3; i++) { last().onopen(); last().onclose({ reason: "" }); waits.push(Math.round(ring())); }
        last().onopen(); last().onmessage({ data: "[]" }); last().onclose({ reason: "" });
        waits.push(Math.round(ring()));
        return [waits, sockets.length, phases.slice(-3), sockets.slice(0, -1).every((s) => s.closed)];
        """
    ) == [[500, 1000, 2000, 500], 5, ["live", "reconnecting", "reconnecting"], True]


def test_feed_gives_up_a_socket_that_does_not_open_and_ignores_it_from_then_on(run: Run) -> None:
    assert run(
        FEED
        + """
        const old = last(), { onmessage, onopen } = old;
        const waited = ring();
        ring();
        onopen(); onmessage({ data: "[1]" });
        return [waited, sockets.length, old.closed, old.onmessage, events, feed.status.phase];
        """
    ) == [10_000, 2, True, None, [], "reconnecting"]


def test_feed_retries_at_once_when_asked_but_never_twice(run: Run) -> None:
    assert run(
        FEED
        + """
        last().onopen(); feed.cut("silent");
        const { reason, retryAtMs } = feed.status;
        feed.retryNow(); feed.retryNow();
        const pending = timers.filter((timer) => !timer.off).length;
        return [reason, Math.round(retryAtMs), sockets.length, pending];
        """
    ) == ["silent", 5500, 2, 1]
