"""How many requests the gateway answers: `/predict` with a point each, `/v1/score` with a block of events each.

A closed loop: so many clients, each of which asks again once it is answered. They live in a process of their own, and
compare every answer with the one that the same body was given while nobody else asked.

Neighbours: `running_system` answers, `loadtest.bodies` has what simulated vehicles ask; an open loop of requests is the
load test's.
"""

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import aiohttp
import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.costs import cpu_seconds, spent
from benchmarks.figures import WINDOWS, Figure, in_windows, percentiles
from benchmarks.running_system import RunningSystem
from benchmarks.verdicts import BenchmarkError
from loadtest.bodies import predict_bodies, score_bodies

SEED = 5
PERCENTILES = (50, 99)
WARM_UP_S = 1.5
# Of errors of the same event in different batches: the contract's.
TOLERANCE = 1e-4

Say = Callable[[str], None]


class Course(NamedTuple):
    """What is asked: by how many clients, of how many events a request."""

    path: str
    clients: int
    events: int


PREDICT = Course("/predict", clients=32, events=1)
SCORE = Course("/v1/score", clients=8, events=1_000)


@dataclass(frozen=True, slots=True)
class RequestResult:
    """What a course came to; CPU microseconds are those of a request, by role, with the clients' own."""

    system: str
    course: Course
    per_second: Figure
    latency_ms: Mapping[int, Figure]
    cpu_us: Mapping[str, float]

    @property
    def events_per_second(self) -> Figure:
        """Events judged a second."""
        return Figure(*(value * self.course.events for value in self.per_second))


class Asked(NamedTuple):
    """N answers: when they came (seconds since the end of the warm-up), how long they took; what the clients used."""

    answered_s: NDArray[np.float64]
    took_s: NDArray[np.float64]
    cpu_s: float


class _Judged(msgspec.Struct, gc=False):
    reconstruction_error: float


class _Verdicts(msgspec.Struct, gc=False):
    verdicts: list[_Judged]


def run(system: RunningSystem, seconds: float, say: Say) -> list[RequestResult]:
    """Measure a running system with each course, `seconds` of each after a warm-up. Raises FleetError."""
    results = []
    for course in (PREDICT, SCORE):
        results.append(_measured(system, course, seconds))
        say(_line(results[-1]))
    return results


def _measured(system: RunningSystem, course: Course, seconds: float) -> RequestResult:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        before = cpu_seconds(system.roles())
        asked = process.submit(_ask, system.url, course, seconds).result()
        cpu_s = {**spent(before, cpu_seconds(system.roles())), "clients": asked.cpu_s}
    return result_of(system.name, course, seconds, asked, cpu_s)


def result_of(system: str, course: Course, seconds: float, asked: Asked, cpu_s: Mapping[str, float]) -> RequestResult:
    """Turn answers into figures. Raises BenchmarkError where none came for a whole window."""
    windows = in_windows(asked.took_s, asked.answered_s, 0.0, seconds)
    if not all(map(len, windows)):
        raise BenchmarkError(f"{course.path} answered nothing for {seconds / WINDOWS:.1f} s.")
    return RequestResult(
        system,
        course,
        Figure.of(len(window) / (seconds / WINDOWS) for window in windows),
        percentiles([window * 1000 for window in windows], PERCENTILES),
        {role: used / len(asked.took_s) * 1e6 for role, used in cpu_s.items()},
    )


def _ask(url: str, course: Course, seconds: float) -> Asked:
    return asyncio.run(_ask_all(url, course, seconds))


async def _ask_all(url: str, course: Course, seconds: float) -> Asked:
    """Let all clients ask, in the process that is theirs."""
    bodies = predict_bodies(SEED) if course.events == 1 else score_bodies(SEED, course.events)
    connector = aiohttp.TCPConnector(limit=course.clients)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(url, connector=connector, headers=headers) as session:
        expected = [await _errors(session, course, body) for body in bodies]
        answered_s: list[float] = []
        took_s: list[float] = []
        cpu_began_s, began_s = time.process_time(), time.monotonic() + WARM_UP_S

        async def client(first: int) -> None:
            for place in itertools.count(first):
                asked_s = time.monotonic()
                errors = await _errors(session, course, bodies[place % len(bodies)])
                now_s = time.monotonic()
                if not np.allclose(errors, expected[place % len(bodies)], rtol=0.0, atol=TOLERANCE):
                    raise BenchmarkError(f"{course.path} gave the same request another answer under load.")
                answered_s.append(now_s - began_s)
                took_s.append(now_s - asked_s)
                if now_s > began_s + seconds:
                    return

        await asyncio.gather(*(client(first * len(bodies) // course.clients) for first in range(course.clients)))
        cpu_s = time.process_time() - cpu_began_s
    return Asked(np.array(answered_s), np.array(took_s), cpu_s)


async def _errors(session: aiohttp.ClientSession, course: Course, body: bytes) -> Sequence[float]:
    async with session.post(course.path, data=body) as response:
        answer = await response.read()
    return errors_in(course, response.status, answer)


def errors_in(course: Course, status: int, answer: bytes) -> Sequence[float]:
    """Return the errors of all events of a request. Raises BenchmarkError for anything but a verdict on each."""
    if status != 200:
        raise BenchmarkError(f"{course.path} answered {status}: {answer[:300].decode('utf-8', 'replace')}")
    if course.path == PREDICT.path:
        return [msgspec.json.decode(answer, type=_Judged).reconstruction_error]
    verdicts = msgspec.json.decode(answer, type=_Verdicts).verdicts
    if len(verdicts) != course.events:
        raise BenchmarkError(f"{course.path} judged {len(verdicts):,} of {course.events:,} events.")
    return [verdict.reconstruction_error for verdict in verdicts]


def _line(result: RequestResult) -> str:
    late = " / ".join(f"{figure.median:,.0f}" for figure in result.latency_ms.values())
    return f"  {result.system}: {result.course.path} {result.per_second.median:,.0f} requests/s, p50 / p99 {late} ms"
