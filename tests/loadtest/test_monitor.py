"""The monitor against a real gateway's answers: what it knows, what it counts as unanswered, and how it ends."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import monitor
from loadtest.monitor import PipelineMonitor, PipelineSeries, PipelineState
from simulator.local_kafka import free_port

PATIENCE_S = 20.0
FULL = b'{"lag":7,"oldestUnscoredSeconds":1.5,"eventsPerSecond":99.5,"replicas":{"Ingest":2},"dropped":3,"clients":4}'


class Gateway:
    """Answers with what is in `answers`, one after the other; the last for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = [(200, FULL)]
        self.asked: list[str] = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gateway.asked.append(self.path)
                status, body = gateway.answers.pop(0) if len(gateway.answers) > 1 else gateway.answers[0]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr(monitor, "INTERVAL_S", 0.02)
    gateway = Gateway()
    yield gateway
    gateway.close()


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_monitor_keeps_every_answer_with_its_time(gateway: Gateway) -> None:
    watch = PipelineMonitor(gateway.url + "/")
    watch.start()
    until(lambda: len(watch.series.states) >= 3)
    watch.stop()
    assert set(gateway.asked) == {"/v1/pipeline"}
    assert watch.series.states[0] == PipelineState(7, 1.5, 99.5, {"Ingest": 2}, 3, 4)
    assert len(watch.series.times_s) == len(watch.series.states)
    assert watch.series.times_s == sorted(watch.series.times_s)
    assert watch.series.unanswered == 0


def test_monitor_asks_a_last_time_when_it_is_stopped_and_only_once(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "INTERVAL_S", 3_600.0)
    watch = PipelineMonitor(gateway.url)
    watch.start()
    gateway.answers = [(200, b'{"lag":0}')]
    watch.stop()
    watch.stop()
    assert [state.lag for state in watch.series.states] == [0]


def test_monitor_that_never_began_asks_nothing(gateway: Gateway) -> None:
    watch = PipelineMonitor(gateway.url)
    watch.stop()
    assert gateway.asked == []


@pytest.mark.parametrize(
    "answer", [(500, b"no"), (404, b"{}"), (200, b"<html>"), (200, b'{"lag":"many"}'), (200, b"[]")]
)
def test_monitor_counts_what_is_no_answer_and_goes_on(gateway: Gateway, answer: tuple[int, bytes]) -> None:
    gateway.answers = [answer, answer, (200, FULL)]
    watch = PipelineMonitor(gateway.url)
    watch.start()
    until(lambda: bool(watch.series.states))
    watch.stop()
    assert watch.series.unanswered == 2
    assert watch.series.last_problem


@pytest.mark.parametrize("url", [f"http://127.0.0.1:{free_port()}", "no address"], ids=["nobody listens", "no address"])
def test_monitor_counts_a_gateway_that_is_not_there(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(monitor, "INTERVAL_S", 0.01)
    watch = PipelineMonitor(url)
    watch.start()
    until(lambda: watch.series.unanswered >= 2)
    watch.stop()
    assert watch.series.states == []
    assert watch.series.lag_max is None


_states = st.lists(
    st.builds(
        PipelineState,
        lag=st.none() | st.integers(0, 100),
        oldest_unscored_seconds=st.none() | st.floats(0, 100),
        dropped=st.integers(0, 20),
    ),
    max_size=20,
)


@given(_states)
def test_series_sums_up_what_was_known(states: list[PipelineState]) -> None:
    series = PipelineSeries([0.0] * len(states), states)
    lags = [state.lag for state in states if state.lag is not None]
    ages = [state.oldest_unscored_seconds for state in states if state.oldest_unscored_seconds is not None]
    assert series.lag_max == (max(lags) if lags else None)
    assert series.oldest_unscored_max_s == (max(ages) if ages else None)
    rises = [max(b.dropped - a.dropped, 0) for a, b in itertools.pairwise(states)]
    assert series.dropped == sum(rises)
