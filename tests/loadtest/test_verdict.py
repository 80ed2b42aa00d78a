import dataclasses
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from loadtest.arrivals import Arrivals
from loadtest.client_plan import Findings
from loadtest.generator import KEPT_UP_LATENESS_MS, Load, Produced
from loadtest.lateness import Lateness
from loadtest.monitor import PipelineSeries, PipelineState
from loadtest.readers import Reader, ScoredTopicReader
from loadtest.report import describe
from loadtest.run import Outcome
from loadtest.samples import Samples
from loadtest.thresholds import Answers, Feed, Generator, Pipeline, Thresholds, WayOut
from loadtest.verdict import State, judge, why_too_slow
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


# Each limit by itself: as much as it allows passes, a little more fails, and it is named


def _failed(outcome: Outcome, thresholds: Thresholds) -> list[str]:
    return [check.name for check in judge(outcome, thresholds).checks if check.state is State.FAILED]


def _produced(outcome: Outcome, **changes: Any) -> Outcome:
    """The same with another generator's figures."""
    progress = msgspec.structs.replace(outcome.produced.progress, **changes.pop("progress", {}))
    return dataclasses.replace(outcome, produced=dataclasses.replace(outcome.produced, progress=progress, **changes))


@pytest.mark.parametrize(("percentile", "limits"), [(p, WayOut(**{f"p{p}_ms": 20.0})) for p in (50, 95, 99)])
def test_verdict_judges_each_percentile_of_a_way_out(percentile: int, limits: WayOut) -> None:
    thresholds = Thresholds(scored=limits)
    assert _failed(_outcome(latency_ms=19.9), thresholds) == []
    assert _failed(_outcome(latency_ms=20.1), thresholds) == [f"scored topic p{percentile}"]


@pytest.mark.parametrize("name", ["duplicated", "reordered"])
def test_verdict_fails_one_event_twice_or_out_of_order_whatever_the_thresholds(name: str) -> None:
    outcome = _outcome()
    arrivals = outcome.readers[0].arrivals
    if name == "duplicated":
        arrivals.take(np.array([5]), np.array([0.0]), 9e9)
    else:
        reader = _reader(20.0, missing=0)
        reader.arrivals = Arrivals(LOAD.events, LOAD.vehicles)
        order = [LOAD.vehicles, 0, *range(1, LOAD.vehicles), *range(LOAD.vehicles + 1, LOAD.events)]
        reader.arrivals.take(np.array(order), np.zeros(LOAD.events), 1.0)
        outcome = dataclasses.replace(outcome, readers=[reader])
    assert _failed(outcome, Thresholds()) == [f"scored topic {name}"]
    assert _failed(outcome, Thresholds(scored=WayOut(**{name: 1}))) == []
    assert not outcome.is_clean


def test_verdict_does_not_let_one_event_that_came_twice_hide_one_that_is_lost() -> None:
    outcome = _outcome(missing=1)
    outcome.readers[0].arrivals.take(np.array([5]), np.array([0.0]), 9e9)
    assert _failed(outcome, Thresholds()) == ["scored topic lost", "scored topic duplicated"]


def test_verdict_fails_a_reader_that_ended_early() -> None:
    outcome = _outcome()
    outcome.readers[0].failure = "it was closed"
    assert _failed(outcome, Thresholds()) == ["scored topic ended early"]
    assert not outcome.is_clean


@pytest.mark.parametrize("progress", [{"failed": 1}, {"waiting": 1}])
def test_verdict_fails_an_event_that_kafka_did_not_acknowledge(progress: dict[str, int]) -> None:
    outcome = _produced(_outcome(), progress=progress)
    assert _failed(outcome, Thresholds()) == ["events that Kafka did not acknowledge"]
    assert not outcome.is_clean


@pytest.mark.parametrize("lateness_ms", [99.9, 100.0, 100.1])
def test_verdict_is_void_beyond_the_generators_limit_and_not_at_it(lateness_ms: float) -> None:
    verdict = judge(_produced(_outcome(), lateness_p99_ms=lateness_ms), LIMITS)
    is_void = lateness_ms > 100
    assert verdict.state is (State.GENERATOR_TOO_SLOW if is_void else State.PASSED)
    assert any("behind their own due times (p99; the limit is 100)" in why for why in verdict.slowness) is is_void


def test_verdict_is_void_when_events_that_were_due_were_never_sent() -> None:
    verdict = judge(_produced(_outcome(), progress={"skipped": 40}), LIMITS)
    assert verdict.state is State.GENERATOR_TOO_SLOW
    assert verdict.slowness == ["the producers never sent 40 events that were due"]


def test_verdict_takes_the_generators_limit_from_the_thresholds() -> None:
    outcome = _produced(_outcome(), lateness_p99_ms=150.0)
    assert judge(outcome, Thresholds(generator=Generator(lateness_p99_ms=150.0))).state is State.PASSED
    assert judge(outcome, Thresholds(generator=Generator(lateness_p99_ms=149.0))).state is State.GENERATOR_TOO_SLOW
    assert why_too_slow(_produced(_outcome(), lateness_p99_ms=KEPT_UP_LATENESS_MS)) == []
    assert len(why_too_slow(_produced(_outcome(), lateness_p99_ms=KEPT_UP_LATENESS_MS + 0.1))) == 1


@pytest.mark.parametrize(("busy_share", "is_void"), [(0.5, False), (0.9, False), (0.91, True)])
def test_verdict_is_void_when_a_reader_measured_itself(busy_share: float, is_void: bool) -> None:
    outcome = _outcome()
    arrivals = outcome.readers[0].arrivals
    arrivals.first_at_s, arrivals.last_at_s = 0.0, 10.0
    outcome.readers[0].busy_s = 10.0 * busy_share
    verdict = judge(outcome, Thresholds())
    assert bool(verdict.slowness) is is_void
    if is_void:
        assert verdict.slowness == ["the reader of the scored topic was busy for 91% of the time: it measured itself"]


@pytest.mark.parametrize(("late_s", "is_void"), [(0.1, False), (0.2, True)])
def test_verdict_is_void_when_the_clients_were_late(late_s: float, is_void: bool) -> None:
    outcome = _with_clients([10.0], {}, [100])
    assert outcome.findings is not None
    outcome.findings.lateness.note(0.5, late_s, 100)
    verdict = judge(outcome, Thresholds(predict=Answers(p99_ms=5)))
    assert verdict.state is (State.GENERATOR_TOO_SLOW if is_void else State.FAILED)
    assert any("the clients' processes were 200 ms behind" in why for why in verdict.slowness) is is_void


@pytest.mark.parametrize(
    ("thresholds", "name"),
    [
        (Thresholds(predict=Answers(failed_share=0.19)), "/predict failed share"),
        (Thresholds(predict=Answers(p50_ms=9.9, failed_share=1)), "/predict p50"),
        (Thresholds(feed=Feed(p99_ms=9.9)), "feed p99"),
        (Thresholds(feed=Feed(lost=2)), "feed lost"),
        (Thresholds(pipeline=Pipeline(lag_max=699)), "largest lag"),
        (Thresholds(pipeline=Pipeline(lag_at_end=-1)), "lag at the end"),
        (Thresholds(pipeline=Pipeline(oldest_unscored_max_s=0.4)), "oldest event that waited"),
        (Thresholds(pipeline=Pipeline(unanswered=0)), "gateway did not answer"),
    ],
)
def test_verdict_judges_each_limit_by_itself(thresholds: Thresholds, name: str) -> None:
    outcome = _with_clients([10.0] * 4, {"status 503": 1}, [100, 97])
    assert outcome.pipeline is not None
    outcome.pipeline.unanswered = 1
    outcome.pipeline.states[0] = msgspec.structs.replace(outcome.pipeline.states[0], oldest_unscored_seconds=0.5)
    assert _failed(outcome, thresholds) == [name]


def test_verdict_passes_what_is_exactly_at_each_limit() -> None:
    outcome = _with_clients([10.0] * 4, {"status 503": 1}, [100, 97])
    assert outcome.pipeline is not None
    outcome.pipeline.unanswered = 1
    limits = Thresholds(
        predict=Answers(p50_ms=10, failed_share=0.2),
        feed=Feed(p99_ms=10, lost=3),
        pipeline=Pipeline(lag_max=700, lag_at_end=0, unanswered=1),
    )
    assert _failed(outcome, limits) == []


def test_verdict_fails_a_pipeline_of_which_nothing_is_known() -> None:
    outcome = dataclasses.replace(_outcome(), pipeline=PipelineSeries())
    limits = Thresholds(pipeline=Pipeline(lag_max=10**9, oldest_unscored_max_s=1e9, lag_at_end=10**9))
    assert _failed(outcome, limits) == ["largest lag", "lag at the end", "oldest event that waited"]


def test_verdict_fails_broken_connections_of_the_feed() -> None:
    outcome = _with_clients([10.0], {}, [100])
    assert outcome.findings is not None
    frames = Samples()
    frames.add(0.5, 10.0)
    frames.fail("closed", 2)
    outcome = dataclasses.replace(outcome, findings=msgspec.structs.replace(outcome.findings, feed=frames.sealed()))
    assert _failed(outcome, Thresholds(feed=Feed(broken=2))) == []
    assert _failed(outcome, Thresholds(feed=Feed(broken=1))) == ["feed connections broken"]


def test_verdict_of_a_void_test_still_fails_for_its_books_alone() -> None:
    outcome = _produced(_outcome(latency_ms=900.0, missing=1), lateness_p99_ms=900.0)
    assert _failed(outcome, LIMITS) == ["scored topic lost"]
    assert judge(outcome, LIMITS).state is State.FAILED
