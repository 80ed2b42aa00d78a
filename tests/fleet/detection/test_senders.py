"""What is said of a sender is what its events show, and each sender has its turn."""

from itertools import chain

import numpy as np
import pytest

from fleet.detection.senders import SenderReports, unit_sentence
from fleet.detection.windows import VehicleWindows
from fleet.records.sender import SenderReport
from tests.fleet.detection.windows_harness import BUILT_IN, NAN, START_S, usual_drive

COUNT = 300
EVERY_S = 10.0


def reported(time_s, signals, appended_s, rejected=0) -> SenderReport:
    """Push one vehicle's events and return what is then said of its sender."""
    windows = VehicleWindows(BUILT_IN, idle_s=1e9)
    senders = SenderReports(windows, EVERY_S)
    rows = np.full((len(time_s), len(BUILT_IN.spec.fields)), NAN)
    for name, values in signals.items():
        rows[:, BUILT_IN.spec.field_names.index(name)] = values
    windows.push(["v"] * len(time_s), np.asarray(time_s), rows, np.asarray(appended_s))
    senders.heard(["v"], ["acme"])
    for _ in range(rejected):
        senders.rejected(b"v")
    end_s = float(np.max(appended_s))
    assert senders.due(end_s) == []
    [report] = senders.due(end_s + EVERY_S)
    return report


def usual(interval_s=1.0, **changed):
    time_s, signals = usual_drive(COUNT, interval_s)
    return time_s, {**signals, **changed}


def kinds(report: SenderReport) -> list[tuple[str, str | None]]:
    return [(finding.kind, finding.signal) for finding in report.findings]


def test_a_usual_sender_has_a_rhythm_and_a_delay_and_no_finding():
    time_s, signals = usual(2.0)
    report = reported(time_s, signals, time_s + 0.25)
    assert (report.vehicle_id, report.tenant_id, report.events) == ("v", "acme", COUNT)
    assert (report.repeats, report.late, report.dead_letters, report.clock_behind) == (0, 0, 0, 0.0)
    assert report.interval == pytest.approx(2.0, rel=0.01)
    assert report.interval_standing is None
    assert report.delay == pytest.approx(0.25, rel=0.01)
    assert report.signals["speed"].sent == 1.0
    assert report.findings == []


def test_resolution_and_presence_of_signals_are_what_comes():
    time_s, signals = usual()
    signals["temperature"] = np.round(signals["temperature"])
    signals["battery"] = np.where(np.arange(COUNT) % 4 == 0, signals["battery"], NAN)
    report = reported(time_s, signals, time_s)
    assert report.signals["temperature"].resolution == 1.0
    assert report.signals["battery"].sent == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("unit", "factor"), [("knots", 1 / 1.852), ("mph", 1 / 1.609344), ("m/s", 1 / 3.6)])
def test_a_speed_in_another_unit_is_said_with_the_likely_one(unit, factor):
    time_s, signals = usual()
    report = reported(time_s, {**signals, "speed": signals["speed"] * factor}, time_s)
    assert kinds(report) == [("unit", "speed")]
    assert f"Is it in {unit}?" in report.findings[0].detail


def test_a_signal_that_is_only_ever_a_filling_is_absent():
    time_s, signals = usual(temperature=-40.0)
    report = reported(time_s, signals, time_s)
    assert kinds(report) == [("absent", "temperature")]
    assert report.signals["temperature"].sent == 0.0


def test_a_clock_that_was_set_back_is_said_with_how_far():
    time_s, signals = usual()
    appended_s = time_s + 0.2
    time_s[COUNT // 2 :] -= 7200.0
    report = reported(time_s, signals, appended_s)
    assert kinds(report) == [("clock", None)]
    assert report.clock_behind == pytest.approx(7200, rel=0.01)


def test_delay_repeats_and_dead_letters_are_said():
    time_s, signals = usual()
    assert kinds(reported(time_s, signals, time_s + 120.0)) == [("delay", None)]
    twice = {name: np.repeat(np.broadcast_to(values, COUNT), 2) for name, values in signals.items()}
    report = reported(np.repeat(time_s, 2), twice, np.repeat(time_s, 2))
    assert kinds(report) == [("repeats", None)]
    assert (report.events, report.repeats) == (2 * COUNT, COUNT)
    report = reported(time_s, signals, time_s, rejected=30)
    assert kinds(report) == [("deadLetters", None)]
    assert report.dead_letters == 30


def test_late_events_are_counted():
    time_s, signals = usual()
    order = np.concatenate([np.arange(0, 100), np.arange(110, COUNT), np.arange(100, 110)])
    late = {name: np.broadcast_to(values, COUNT)[order] for name, values in signals.items()}
    assert reported(time_s[order], late, np.full(COUNT, time_s[-1] + 1.0)).late == 10


def test_each_sender_that_is_heard_has_one_turn_in_every_round():
    windows = VehicleWindows(BUILT_IN, idle_s=1e9)
    senders, ids = SenderReports(windows, EVERY_S), [f"v{number}" for number in range(50)]
    nothing = np.full((50, len(BUILT_IN.spec.fields)), NAN)
    said = []
    for second in range(40):
        at_s = np.full(50, START_S + second + 0.5)
        heard = 50 if second < 20 else 25
        windows.push(ids[:heard], at_s[:heard], nothing[:heard], at_s[:heard])
        said.append([report.vehicle_id for report in senders.due(START_S + second + 0.5)])
    assert max(map(len, said)) <= 5
    first, last = list(chain(*said[1:11])), list(chain(*said[-10:]))
    assert sorted(first) == sorted(ids)
    assert sorted(last) == sorted(ids[:25])


def test_a_log_whose_time_leaps_or_goes_back_gives_each_sender_one_turn():
    windows = VehicleWindows(BUILT_IN, idle_s=1e9)
    senders, ids = SenderReports(windows, EVERY_S), [f"v{number}" for number in range(50)]
    senders.due(START_S)
    leap_s = np.full(50, START_S + 3600.0)
    windows.push(ids, leap_s, np.full((50, len(BUILT_IN.spec.fields)), NAN), leap_s)
    assert sorted(report.vehicle_id for report in senders.due(START_S + 3600.0)) == sorted(ids)
    assert senders.due(START_S + 100.0) == []
    assert senders.due(START_S + 3600.9) == []


def test_a_ratio_of_no_unit_is_said_without_one():
    assert unit_sentence("speed", 0.8) == "speed is 0.80 of what its positions say."
