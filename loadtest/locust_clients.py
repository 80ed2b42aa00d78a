"""Clients of the gateway, driven by Locust, in a process of their own (`python -m loadtest.locust_clients`).

Open loop: when each request is due is fixed beforehand, and its latency counts from then; a request that found every
client waiting for an answer goes on waiting at the system's cost. What is this process's own fault shows as lateness:
of clients that woke up too late, and of a metronome that runs beside them.

It says "ready" on its standard output, is told "start UNIX_SECONDS" and "stop" on its standard input, and ends by
itself when that closes. Locust replaces Python's sockets by cooperative ones: hence the process, and the first import.

Neighbours: `clients` runs it, `client_plan` has both files' shapes, `bodies` what is sent.
"""

import contextlib
import itertools
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import gevent
import msgspec
import numpy as np
import websocket
from gevent.event import Event
from locust import FastHttpUser, User, constant, task
from locust.env import Environment
from locust.exception import StopUser

from loadtest.bodies import predict_bodies, score_bodies
from loadtest.client_plan import (
    OVERTIME_S,
    PATHS,
    REQUEST_TIMEOUT_S,
    ClientPlan,
    PartFindings,
    Requests,
    SealedLateness,
)
from loadtest.lateness import Lateness
from loadtest.samples import Samples
from simulator.child_process import leave_signals_to_the_parent

BEAT_S = 0.02
SPAWNED_PER_S = 100
CONNECT_TIMEOUT_S = 10.0
RECEIVE_S = 1.0
RECONNECT_S = 1.0
LATE_FRAMES_S = 8.0
LONGEST_AFTER_END_S = 900.0
JSON_HEADERS = {"Content-Type": "application/json"}


class Stage:
    """What all clients of this process share: the start, the end, and how late the process itself is."""

    def __init__(self, plan: ClientPlan, part: int) -> None:
        self.plan, self.part = plan, part
        self.begun, self.ended = Event(), Event()
        self.start_s = self.ended_at_s = float("inf")
        self.lateness = Lateness(plan.seconds)

    def begin(self, start_s: float) -> None:
        """Let everything begin at a Unix time."""
        self.start_s = start_s
        self.begun.set()

    def end(self) -> None:
        """Let everything end: what waits for the start, too."""
        self.ended_at_s = min(self.ended_at_s, time.time())
        self.ended.set()
        self.begun.set()

    def note_late(self, due_s: float, now_s: float) -> None:
        """Enter that something due was begun at `now_s`; only the test's own time counts."""
        if 0 <= (offset_s := due_s - self.start_s) < self.plan.seconds:
            self.lateness.note(offset_s, now_s - due_s, 1)


class Queue:
    """Requests of one kind in this process: when each is due, taken by whichever client is free."""

    def __init__(self, stage: Stage, kind: Requests) -> None:
        self._stage = stage
        due_s = kind.profile.due_s(np.arange(stage.part, kind.profile.events, stage.plan.parts))
        self._offsets_s = iter(due_s.tolist())
        self.left = len(due_s)
        self.samples, self.all_busy = Samples(), 0

    def take(self) -> float | None:
        """Wait until the next request is due and return when that is, in Unix seconds; None when there is none."""
        stage = self._stage
        stage.begun.wait()
        offset_s: float | None = next(self._offsets_s, None)
        if offset_s is None or self.is_over():
            return None
        self.left -= 1
        due_s = stage.start_s + offset_s
        if (early_s := due_s - time.time()) > 0:
            if stage.ended.wait(early_s):
                return None
            stage.note_late(due_s, time.time())
        else:
            self.all_busy += 1
        return due_s

    @property
    def start_s(self) -> float:
        """When the test began, in Unix seconds."""
        return self._stage.start_s

    def is_over(self) -> bool:
        """Tell whether nothing is sent any more."""
        return self._stage.ended.is_set() or time.time() > self._stage.start_s + self._stage.plan.seconds + OVERTIME_S

    def close(self) -> None:
        """Count what was due and found no free client to the end."""
        if self.left and time.time() > self._stage.start_s + self._stage.plan.seconds:
            self.samples.fail("never sent: every client was waiting for an answer", self.left)
        self.left = 0


class RequestUser(FastHttpUser):
    """One client that sends what is due, one request at a time."""

    abstract = True
    insecure = False
    network_timeout = REQUEST_TIMEOUT_S
    connection_timeout = REQUEST_TIMEOUT_S
    wait_time = constant(0)
    queue: ClassVar[Queue]
    path: ClassVar[str]
    bodies: ClassVar[Iterator[bytes]]
    is_right: ClassVar[Callable[[bytes], bool]]

    @task
    def send(self) -> None:
        """Send the next request that is due."""
        due_s = self.queue.take()
        if due_s is None:
            raise StopUser
        options: dict[str, Any] = {"data": next(self.bodies), "headers": JSON_HEADERS, "catch_response": True}
        with self.client.post(self.path, **options) as response:
            latency_ms = (time.time() - due_s) * 1000
            response.request_meta["response_time"] = latency_ms  # Locust's own counts from the sending
            problem = _problem(response, type(self).is_right)
            if problem is None:
                self.queue.samples.add(due_s - self.queue.start_s, latency_ms)
                response.success()
            else:
                self.queue.samples.fail(problem)
                response.failure(problem)


def _problem(response: Any, is_right: Callable[[bytes], bool]) -> str | None:
    """Say what is wrong with an answer, None when nothing is."""
    if response.status_code != 200:
        error = response.error if not response.status_code else None
        return type(error).__name__ if error else f"status {response.status_code}"
    return None if is_right(response.content or b"") else "not the answer to what was sent"


class FeedUser(User):
    """One client of the live feed: counts this run's events, and measures the oldest of each frame."""

    abstract = True
    wait_time = constant(0)
    stage: ClassVar[Stage]
    url: ClassVar[str]
    samples: ClassVar[Samples]
    received: ClassVar[list[int]]
    connected: ClassVar[list[int]]

    def on_start(self) -> None:
        """Take a place in the books."""
        self._number = len(self.received)
        self.received.append(0)
        self._mark = b'"loadtestRun":"%b"' % self.stage.plan.run.encode()
        self._last_at_s = 0.0

    @task
    def follow(self) -> None:
        """Read until the test is over; a connection that breaks is counted, and made again."""
        try:
            socket = websocket.create_connection(
                self.url, timeout=CONNECT_TIMEOUT_S, suppress_origin=True, skip_utf8_validation=True
            )
        except (OSError, websocket.WebSocketException) as error:
            self._broken(f"no connection: {type(error).__name__}")
            return
        if self._number not in self.connected:
            self.connected.append(self._number)
        with contextlib.closing(socket):
            socket.settimeout(RECEIVE_S)
            self._read(socket)
        if self.stage.ended.is_set():
            raise StopUser

    def _read(self, socket: websocket.WebSocket) -> None:
        while not self._is_through():
            try:
                kind, frame = socket.recv_data()
            except websocket.WebSocketTimeoutException:
                continue
            except (OSError, websocket.WebSocketException) as error:
                self._broken(f"broken: {type(error).__name__}")
                return
            if kind == websocket.ABNF.OPCODE_CLOSE:
                self._broken(f"closed with {int.from_bytes(frame[:2], 'big')}")
                return
            self._take(frame)

    def _is_through(self) -> bool:
        """At the end, read on until nothing of this run has come for a moment: what is late is not lost."""
        if not self.stage.ended.is_set():
            return False
        now_s = time.time()
        return now_s - self._last_at_s > RECEIVE_S or now_s > self.stage.ended_at_s + LATE_FRAMES_S

    def _take(self, frame: bytes) -> None:
        now_s = time.time()
        first = frame.find(self._mark)
        if first < 0:
            return
        self._last_at_s = now_s
        self.received[self._number] += frame.count(self._mark)
        due_s = due_at(frame, first)
        self.samples.add(due_s - self.stage.start_s, (now_s - due_s) * 1000)

    def _broken(self, reason: str) -> None:
        self.samples.fail(reason)
        if self.stage.ended.wait(RECONNECT_S):
            raise StopUser


def due_at(frame: bytes, begin: int) -> float:
    """Read `loadtestDueAt` of the event whose run stands at `begin`: the generator writes it two fields later."""
    name = b'"loadtestDueAt":'
    value = frame.index(name, begin) + len(name)
    end = min(place for mark in (b",", b"}") if (place := frame.find(mark, value)) >= 0)
    return float(frame[value:end])


def user_classes(stage: Stage) -> tuple[list[type[User]], dict[str, Queue]]:
    """Make the classes of clients that this process needs, each with its number, and the queues of the requests."""
    plan, classes, queues = stage.plan, [], {}
    for name, kind in plan.requests.items():
        queues[name] = Queue(stage, kind)
        number = _part(kind.clients, stage)
        bodies = predict_bodies(plan.seed) if name == "predict" else score_bodies(plan.seed, kind.events)
        attributes = {
            "queue": queues[name],
            "path": PATHS[name],
            "bodies": itertools.cycle(bodies),
            "is_right": staticmethod(_has_verdicts(kind.events)),
            "fixed_count": number,
        }
        if number:
            classes.append(type(f"{name.title()}User", (RequestUser,), attributes))
    return classes, queues


def feed_class(stage: Stage) -> type[FeedUser]:
    """Make the class of this process's clients of the live feed."""
    plan = stage.plan
    url = plan.gateway.replace("http", "ws", 1).rstrip("/") + "/ws/telemetry"
    attributes = {
        "stage": stage,
        "url": f"{url}?{plan.feed_query}" if plan.feed_query else url,
        "samples": Samples(),
        "received": [],
        "connected": [],
        "fixed_count": _part(plan.feed_clients, stage),
    }
    return type("FeedClient", (FeedUser,), attributes)


def _part(count: int, stage: Stage) -> int:
    return len(range(stage.part, count, stage.plan.parts))


def _has_verdicts(events: int) -> Callable[[bytes], bool]:
    return lambda body: body.count(b'"is_anomaly"') == events


def _beat(stage: Stage) -> None:
    """Wake up every 20 ms: how late that is, everything in this process is."""
    stage.begun.wait()
    due_s = stage.start_s
    while not stage.ended.is_set():
        gevent.sleep(max(due_s - time.time(), 0.0))
        now_s = time.time()
        stage.note_late(due_s, now_s)
        due_s += BEAT_S * max(1, int((now_s - due_s) / BEAT_S) + 1)


def _obey(stage: Stage) -> None:
    """Take what the parent says; its end is an end here too."""
    while not stage.ended.is_set():
        if not select.select([sys.stdin], [], [], 0.1)[0]:
            continue
        words = sys.stdin.readline().split()
        if words[:1] == ["start"]:
            stage.begin(float(words[1]))
        else:
            stage.end()


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def run(plan: ClientPlan, part: int) -> PartFindings:
    """Run this process's share of a stage."""
    stage = Stage(plan, part)
    classes, queues = user_classes(stage)
    feed = feed_class(stage)
    if feed.fixed_count:
        classes.append(feed)
    runner = Environment(user_classes=classes, host=plan.gateway.rstrip("/")).create_local_runner()
    beats = [gevent.spawn(_obey, stage), gevent.spawn(_beat, stage)]
    runner.start(sum(kind.fixed_count for kind in classes), spawn_rate=SPAWNED_PER_S, wait=False)
    while len(feed.connected) < feed.fixed_count and not stage.ended.is_set():
        gevent.sleep(BEAT_S)
    _say("ready")
    stage.begun.wait()
    cpu_before_s = time.process_time()
    for queue in queues.values():
        while queue.left and not stage.ended.is_set() and not queue.is_over():
            gevent.sleep(BEAT_S)
    stage.ended.wait(max(stage.start_s + plan.seconds - time.time(), 0.0))
    cpu_share = (time.process_time() - cpu_before_s) / max(time.time() - stage.start_s, 1e-3)
    _say("done")
    stage.ended.wait(plan.seconds + LONGEST_AFTER_END_S)
    stage.end()
    for queue in queues.values():
        queue.close()
    gevent.joinall([*beats, *(greenlet for greenlet in runner.user_greenlets)], timeout=REQUEST_TIMEOUT_S + 1)
    runner.quit()
    return PartFindings(
        SealedLateness.of(stage.lateness),
        {name: queue.samples.sealed() for name, queue in queues.items()},
        {name: queue.all_busy for name, queue in queues.items()},
        feed.samples.sealed(),
        feed.received,
        cpu_share,
    )


def main(plan_file: str, part: str, findings_file: str) -> None:
    """Read the plan, run this part of it, write what was found."""
    leave_signals_to_the_parent()
    plan = msgspec.msgpack.decode(Path(plan_file).read_bytes(), type=ClientPlan)
    Path(findings_file).write_bytes(msgspec.msgpack.encode(run(plan, int(part))))


if __name__ == "__main__":
    main(*sys.argv[1:])
