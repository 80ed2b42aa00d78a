from collections.abc import Sequence

import numpy as np
import pytest

from loadtest.arrivals import Arrivals
from loadtest.client_plan import Findings
from loadtest.generator import Load, Produced
from loadtest.lateness import Lateness
from loadtest.monitor import PipelineSeries, PipelineState
from loadtest.readers import Reader, ScoredTopicReader
from loadtest.report import describe
from loadtest.run import Outcome
from loadtest.samples import Samples
from loadtest.thresholds import Answers, Feed, Pipeline, Thresholds, WayOut
from loadtest.verdict import State, judge
from simulator.sender import Progress

LOAD = Load("run", 100.0, 10, 1.0, "telemetry")


def _reader(latency_ms: float, missing: int = 0) -> Reader:
    reader = ScoredTopicReader("scored", LOAD.run, Arrivals(LOAD.events, LOAD.vehicles))
    due_s = LOAD.profile.due_s(np.arange(LOAD.events - missing))
    for event, due in enumerate(due_s):
        reader.arrivals.take(np.array([event]), np.array([due]), due + latency_ms / 1000)
    return reader


def _outcome(latency_ms: float = 20.0, lateness_s: float = 0.001, missing: int = 0, held_up: bool = False) -> Outcome:
    lateness = Lateness(LOAD.seconds)
    lateness.note(0.0, lateness_s, LOAD.events, held_up)
    produced = Produced(Progress(100, 100), 100.0, lateness.percentile_ms(99), lateness)
    return Outcome(LOAD, produced, [_reader(latency_ms, missing)])


def _states(outcome: Outcome, thresholds: Thresholds) -> dict[str, State]:
    return {check.name: check.state for check in judge(outcome, thresholds).checks}


LIMITS = Thresholds(scored=WayOut(p50_ms=50, p99_ms=100))


def test_verdict_passes_what_keeps_every_limit() -> None:
    assert judge(_outcome(), LIMITS).state is State.PASSED


def test_verdict_fails_what_is_too_slow_by_the_systems_fault() -> None:
    verdict = judge(_outcome(latency_ms=80.0), LIMITS)
    assert verdict.state is State.FAILED
    assert [check.name for check in verdict.checks if check.state is State.FAILED] == ["scored topic p50"]


def test_verdict_of_a_slow_generator_is_void_and_counts_nothing_against_the_system() -> None:
    outcome = _outcome(latency_ms=900.0, lateness_s=0.8)
    verdict = judge(outcome, LIMITS)
    assert verdict.state is State.GENERATOR_TOO_SLOW
    assert {check.state for check in verdict.checks if check.unit == "ms"} == {State.NOT_JUDGED}
    words = "\n".join(describe(outcome, verdict))
    assert "GENERATOR TOO SLOW" in words
    assert "800 ms behind their own due times" in words


def test_verdict_judges_the_books_of_a_slow_generator_too() -> None:
    verdict = judge(_outcome(lateness_s=0.8, missing=1), LIMITS)
    assert verdict.state is State.FAILED
    assert [check.name for check in verdict.checks if check.state is State.FAILED] == ["scored topic lost"]


def test_verdict_takes_kafkas_push_back_for_the_systems_fault() -> None:
    verdict = judge(_outcome(latency_ms=900.0, lateness_s=0.8, held_up=True), LIMITS)
    assert verdict.state is State.FAILED
    assert not verdict.slowness


def test_verdict_fails_a_limit_of_which_nothing_was_measured() -> None:
    states = _states(_outcome(missing=LOAD.events), LIMITS)
    assert states["scored topic p99"] is State.FAILED


def test_verdict_lets_losses_pass_that_the_thresholds_allow() -> None:
    assert judge(_outcome(missing=2), Thresholds(scored=WayOut(lost=2))).state is State.PASSED
    assert judge(_outcome(missing=2), Thresholds()).state is State.FAILED


def _with_clients(latencies_ms: Sequence[float], failures: dict[str, int], received: list[int]) -> Outcome:
    answers, frames = Samples(), Samples()
    for latency_ms in latencies_ms:
        answers.add(0.5, latency_ms)
    for reason, count in failures.items():
        answers.fail(reason, count)
    frames.add(0.5, 10.0)
    sealed = answers.sealed()
    findings = Findings({"predict": sealed}, {"predict": 0}, frames.sealed(), received, Lateness(LOAD.seconds), 0.1)
    series = PipelineSeries([1.0, 2.0], [PipelineState(lag=700, dropped=1), PipelineState(lag=0, dropped=4)])
    plain = _outcome()
    return Outcome(plain.load, plain.produced, plain.readers, None, findings, series)


def test_verdict_judges_requests_the_feed_and_the_pipeline() -> None:
    outcome = _with_clients([10.0] * 98 + [90.0] * 2, {"status 503": 25}, [100, 97])
    limits = Thresholds(
        predict=Answers(p50_ms=20, p99_ms=50, failed_share=0.1),
        feed=Feed(p99_ms=15, lost=2),
        pipeline=Pipeline(lag_max=500, lag_at_end=0),
    )
    states = _states(outcome, limits)
    assert states["/predict p50"] is State.PASSED
    assert states["/predict p99"] is State.FAILED
    assert states["/predict failed share"] is State.FAILED  # 25 of 125
    assert states["feed p99"] is State.PASSED
    assert states["feed lost"] is State.FAILED  # 3
    assert states["largest lag"] is State.FAILED
    assert states["lag at the end"] is State.PASSED
    assert outcome.pipeline is not None
    assert outcome.pipeline.dropped == 3


def test_report_says_that_what_is_missing_may_yet_come_while_there_is_lag() -> None:
    plain = _outcome(missing=5)
    for lag, is_said in ((700, True), (0, False)):
        series = PipelineSeries([1.0], [PipelineState(lag=lag)])
        outcome = Outcome(plain.load, plain.produced, plain.readers, pipeline=series)
        assert ("may yet come" in "\n".join(describe(outcome))) is is_said


def test_page_shows_the_verdict_and_every_plot_and_nothing_from_outside() -> None:
    from loadtest.page import render

    outcome = _with_clients([10.0, 20.0], {}, [100])
    page = render(outcome, judge(outcome, LIMITS), "fleet loadtest --rate 100 '<b>'")
    for heading in ("Limits", "Rate", "Latency: scored topic", "Latency: POST /predict", "Lag", "Replicas", "Losses"):
        assert f"<h2>{heading}</h2>" in page
    assert "Passed: every limit was kept." in page
    assert "&lt;b&gt;" in page
    assert page.count("<svg") >= 7
    assert "<script" not in page
    assert 'href="http' not in page


@pytest.mark.parametrize("slow", [True, False])
def test_page_says_when_the_generator_was_too_slow(slow: bool) -> None:
    from loadtest.page import render

    outcome = _outcome(lateness_s=0.8 if slow else 0.001)
    assert ("Generator too slow" in render(outcome, judge(outcome, LIMITS), "")) is slow
    assert ("Generator too slow" in render(outcome, None, "")) is slow
