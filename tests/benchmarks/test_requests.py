"""Requests: every answer is compared with the one of a quiet moment; what is wrong leaves no figures."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest
from aiohttp import web

from benchmarks import requests
from benchmarks.figures import WINDOWS
from benchmarks.requests import PREDICT, SCORE, Asked, Course, errors_in, result_of
from benchmarks.verdicts import BenchmarkError

POINT = Course("/predict", clients=2, events=1)
BLOCK = Course("/v1/score", clients=2, events=3)
SECONDS = 6.0
Answer = Callable[[int, bytes], web.Response]


def asked(answered_s: list[float], took_s: float = 0.010) -> Asked:
    return Asked(np.array(answered_s), np.full(len(answered_s), took_s), cpu_s=0.5)


def test_figures_are_of_the_answers_within_the_time() -> None:
    times_s = [-0.5, *np.linspace(0.0, SECONDS, 600, endpoint=False), SECONDS + 0.1]
    result = result_of("system", SCORE, SECONDS, asked(times_s), {"gateway": 0.602, "clients": 0.5})
    assert result.per_second == pytest.approx((100.0,) * 3)
    assert result.events_per_second == pytest.approx((100_000.0,) * 3)
    assert result.latency_ms[50] == result.latency_ms[99] == pytest.approx((10.0,) * 3)
    assert result.cpu_us["gateway"] == pytest.approx(1_000.0)


@pytest.mark.parametrize("silent", range(WINDOWS))
def test_a_third_of_the_time_without_any_answer_leaves_no_figures(silent: int) -> None:
    times_s = [s for s in np.linspace(0.0, SECONDS, 60, endpoint=False).tolist() if int(s / 2) != silent]
    with pytest.raises(BenchmarkError, match=r"/predict answered nothing for 2\.0 s"):
        result_of("system", PREDICT, SECONDS, asked(times_s), {})


def score(*errors: float) -> bytes:
    return msgspec.json.encode({"verdicts": [{"reconstruction_error": error, "more": 1} for error in errors]})


def test_errors_are_read_from_one_verdict_or_one_of_each_event() -> None:
    assert errors_in(POINT, 200, b'{"reconstruction_error":0.5,"is_anomaly":false}') == [0.5]
    assert errors_in(BLOCK, 200, score(0.1, 0.2, 0.3)) == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("errors", [[], [0.1], [0.1] * 2, [0.1] * 4])
def test_a_block_that_is_not_judged_event_by_event_is_refused(errors: list[float]) -> None:
    with pytest.raises(BenchmarkError, match=f"/v1/score judged {len(errors)} of 3 events"):
        errors_in(BLOCK, 200, score(*errors))


@pytest.mark.parametrize("status", [201, 400, 429, 500, 503])
def test_any_other_status_is_refused_with_the_answers_words(status: int) -> None:
    with pytest.raises(BenchmarkError, match=f"/v1/score answered {status}: too many"):
        errors_in(BLOCK, status, b"too many requests")


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"verdicts":[{}]}', b'{"reconstruction_error":null}'])
def test_an_answer_without_errors_is_refused(answer: bytes) -> None:
    for course in (POINT, BLOCK):
        with pytest.raises((msgspec.DecodeError, BenchmarkError)):
            errors_in(course, 200, answer)


@asynccontextmanager
async def gateway(answer: Answer) -> AsyncIterator[str]:
    """A real server; `answer` is given how many requests came before, and the body."""
    count = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return answer(count - 1, await request.read())

    app = web.Application()
    app.add_routes([web.post(course.path, handle) for course in (POINT, BLOCK)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


BODIES = [b"1", b"2", b"3"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "WARM_UP_S", 0.1)
    monkeypatch.setattr(requests, "predict_bodies", lambda seed: BODIES)
    monkeypatch.setattr(requests, "score_bodies", lambda seed, events: BODIES)


def said(error: float) -> web.Response:
    return web.Response(body=msgspec.json.encode({"reconstruction_error": error}))


async def ask(answer: Answer, seconds: float = 0.3) -> Asked:
    async with gateway(answer) as url:
        return await requests._ask_all(url, POINT, seconds)


async def test_clients_ask_again_and_again_until_the_time_is_over() -> None:
    found = await ask(lambda _, body: said(float(body)))
    assert len(found.answered_s) == len(found.took_s) > 2 * POINT.clients
    assert (found.answered_s < 0).any()  # the warm-up
    assert sum(found.answered_s > 0.3) == POINT.clients  # each one's last
    assert (found.took_s > 0).all()
    assert found.cpu_s > 0


@pytest.mark.parametrize("error", [1.5e-4, -1.5e-4, 1.0])
async def test_another_answer_to_the_same_request_is_refused(error: float) -> None:
    with pytest.raises(BenchmarkError, match="/predict gave the same request another answer under load"):
        await ask(lambda count, body: said(float(body) + error * (count == 20)), seconds=30.0)


async def test_answers_that_differ_within_the_contract_are_the_same() -> None:
    assert len((await ask(lambda count, body: said(float(body) + 0.9e-4 * (count >= 3)))).took_s)


async def test_one_refusal_under_load_leaves_no_figures() -> None:
    def busy(count: int, body: bytes) -> web.Response:
        return web.Response(status=503, text="later") if count == 20 else said(float(body))

    with pytest.raises(BenchmarkError, match="/predict answered 503: later"):
        await ask(busy, seconds=30.0)
