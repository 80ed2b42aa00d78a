"""How rows, alarms and opened episodes become the figures of an evaluation."""

from typing import Any

import numpy as np
import pytest

from fleet.detection.episodes import EpisodeRules
from fleet.detection.verdicts import judge
from tests.small_detector import PLAN, LoadedDetector
from training.dataset import EVALUATION, Rows, collect, plan_drives
from training.episodes import OpenedEpisodes
from training.evaluate import (
    AFTER_END_S,
    TARGETS,
    Evaluation,
    FaultResult,
    Judged,
    RowMeasures,
    describe,
    false_episodes,
    fault_results,
    judge_rows,
    ordinary_rows,
)

FAULTS = ("overspeed", "fuel_leak")
SECONDS = 2_000


def judged(opened: list[tuple[int, float, str]], alarms: Any = ()) -> Judged:
    """Two vehicles for 2,000 s: the first speeds from 100 to 160 s, the second leaks from 500 to 900 s."""
    time_s = np.tile(np.arange(float(SECONDS)), 2)
    vehicle = np.repeat([0, 1], SECONDS)
    truth = np.full(2 * SECONDS, -1)
    truth[100:160] = 0
    truth[SECONDS + 500 : SECONDS + 900] = 1
    nothing = np.zeros((2 * SECONDS, 1), np.float32)
    rows = Rows(nothing, np.zeros(2 * SECONDS, bool), np.zeros(2 * SECONDS, bool), vehicle, time_s, truth, FAULTS)
    alarm = np.zeros(2 * SECONDS, bool)
    alarm[list(alarms)] = True
    vehicles, times, causes = zip(*opened, strict=True) if opened else ((), (), ())
    closed_s = np.array(times, float) + 30.0
    episodes = OpenedEpisodes(np.array(vehicles, np.intp), np.array(times, float), closed_s, list(causes))
    return Judged(PLAN.features, rows, alarm.astype(float), alarm, episodes)


def test_a_fault_is_found_by_the_first_episode_that_opens_within_it():
    results, right, found = fault_results(
        judged([(0, 103.0, "overspeed"), (0, 150.0, "gps_jump"), (1, 100.0, "fuel_leak")], range(110, 160))
    )
    speeding, leak = results["overspeed"], results["fuel_leak"]
    assert (speeding.stretches, speeding.found, speeding.delay_s, speeding.cause_right) == (1, 1.0, 3.0, 1.0)
    assert (leak.stretches, leak.found) == (1, 0.0)
    assert not np.isfinite(leak.delay_s)
    assert np.isnan(leak.cause_right)
    assert (right, found) == (1, 1)
    assert speeding.rows_found == pytest.approx(50 / (60 - TARGETS["overspeed"].delay_s), rel=0.03)


def test_a_wrong_cause_counts_as_found_and_as_wrong():
    results, right, found = fault_results(judged([(0, 101.0, "stuck_sensor"), (1, 600.0, "fuel_theft")]))
    assert results["overspeed"].cause_right == 0.0
    assert results["fuel_leak"].cause_right == 1.0, "a theft and a leak are one thing at two speeds"
    assert (right, found) == (1, 2)


def test_a_fault_that_the_drives_end_cuts_off_is_not_counted():
    cut_off, seen = judged([]), judged([])
    cut_off.rows.truth[SECONDS - 3 : SECONDS] = 0
    seen.rows.truth[SECONDS - 30 : SECONDS] = 0
    assert fault_results(cut_off)[0]["overspeed"].stretches == 1
    assert fault_results(seen)[0]["overspeed"].stretches == 2


def test_episodes_outside_of_faults_and_of_their_wake_are_false():
    just_after, long_after = 160 + AFTER_END_S / 2, 160 + AFTER_END_S + 50
    opened = [(0, 120.0, "a"), (0, just_after, "b"), (0, long_after, "c"), (1, 120.0, "d"), (1, 899.0, "e")]
    assert false_episodes(judged(opened)) == [2, 3]


def test_ordinary_rows_leave_out_faults_and_their_wake():
    rows = judged([]).rows
    ordinary = ordinary_rows(rows)
    assert not (ordinary & rows.faulty).any()
    assert ordinary[:100].all()
    assert not ordinary[160 : int(159 + AFTER_END_S)].any()
    assert ordinary[int(165 + AFTER_END_S) : SECONDS].all()
    assert ordinary[SECONDS : SECONDS + 500].all(), "another vehicle's fault is none of its"


def test_rows_are_judged_as_ingest_judges_them(detector: LoadedDetector):
    from commands.train import make_fleet

    drives = plan_drives(5, EVALUATION, 2.5, (0,), 0.2, habits={}, duration_s=600.0)
    rows = collect(PLAN, make_fleet, drives, lambda _line: None, "test")
    result = judge_rows(detector.model, detector.bundle, rows, EpisodeRules())
    verdicts = judge(detector.scores(rows.features), detector.bundle)
    np.testing.assert_allclose(result.error, verdicts.reconstruction_error, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(result.alarm, result.error > detector.bundle.threshold)
    alarms = {(v, t) for v, t in zip(rows.vehicle[result.alarm], rows.timestamp_s[result.alarm], strict=True)}
    opened = list(zip(result.opened.vehicle, result.opened.time_s, strict=True))
    assert opened, "a fifth of the time is faulty"
    assert set(opened) <= alarms, "an episode opens with an alarm"
    assert set(result.opened.causes) <= {aspect.cause for aspect in PLAN.aspects}


def test_what_misses_its_aim_is_marked():
    rows = {"autoencoder": RowMeasures(0.99, 0.9, 0.9, 0.8), "PCA": RowMeasures(0.9, 0.5, 0.5, 0.4)}
    faults = {"overspeed": FaultResult(40, 1.0, 1.0, 1.0, 1.0), "gps_jump": FaultResult(40, 0.5, np.inf, 0.5, 0.5)}
    evaluation = Evaluation(
        faults=faults,
        rows=rows,
        cause_right=0.93,
        false_alarm_rate=0.0006,
        nominal_rate=0.0005,
        false_alarm_rate_at_home=0.0004,
        false_episodes_per_hour=0.02,
        false_episodes_per_hour_at_home=0.01,
        false_causes={"overspeed": 3},
        alarms_by_sender={"all signals": 0.0006},
    )
    lines = describe(evaluation)
    [speeding] = [line for line in lines if line.startswith("overspeed")]
    [jump] = [line for line in lines if line.startswith("gps_jump")]
    assert not speeding.endswith("<")
    assert jump.endswith("<")
    text = "\n".join(lines)
    for part in ("PCA", "0.0500%", "0.0600%", "overspeed 3", "false alarms, all signals"):
        assert part in text
