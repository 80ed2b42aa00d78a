"""The one way of an event through detection; windows, verdicts and episodes have tests of their own."""

import numpy as np
import pytest

from fleet.detection.detector import Detector, EventBlock
from fleet.detection.episodes import EpisodeTracker
from fleet.detection.verdicts import Scores
from fleet.detection.windows import VehicleWindows
from tests.small_detector import PLAN, made_up_bundle

BUNDLE = made_up_bundle()
START_S = 1_700_000_000.0
ALARM = 3.2  # above the threshold of 3, and not severe enough to open an episode alone


def driven(seconds: range, appended: bool = True) -> EventBlock:
    """One vehicle, an event a second; only its speed is known."""
    count = len(seconds)
    signals = np.full((count, len(PLAN.spec.fields)), np.nan)
    signals[:, PLAN.spec.field_names.index("speed")] = 50.0 + np.arange(count) % 3
    time_s = START_S + np.array(seconds, float)
    offsets = np.array(seconds, np.int64)
    return EventBlock(4, offsets, ["v"] * count, [None] * count, time_s, signals, time_s + 0.1 if appended else None)


def scored(errors: list[float]) -> Scores:
    """Scores with these errors; everything else is nothing special."""
    none = Scores.none(len(errors))
    return Scores(np.array(errors, np.float32), none.aspect, none.explained, none.largest, none.share, none.expected)


def test_what_enters_has_the_features_of_the_windows() -> None:
    entered = Detector(PLAN).enter(driven(range(20)))
    block = driven(range(20))
    expected = VehicleWindows(PLAN).push(block.vehicle_ids, block.time_s, block.signals, block.appended_at_s)
    np.testing.assert_array_equal(entered.features, expected.features)
    assert len(entered) == 20


@pytest.mark.parametrize("appended", [True, False])
def test_alarms_open_an_episode_that_is_named_by_its_place_in_the_log(appended: bool) -> None:
    detector = Detector(PLAN)
    entered = detector.enter(driven(range(6), appended))
    conclusion = detector.conclude(entered, scored([0, 0, ALARM, ALARM, ALARM, 0]), BUNDLE)
    assert conclusion.verdicts.is_anomaly.tolist() == [False, False, True, True, True, False]
    assert conclusion.episode_ids == [None, None, None, None, "v:4:4", "v:4:4"]
    [opened] = conclusion.changes
    assert (opened.change, opened.source) == ("opened", "4:4")


def test_what_could_not_be_scored_changes_no_episode() -> None:
    detector = Detector(PLAN)
    entered = detector.enter(driven(range(3)))
    conclusion = detector.conclude(entered, scored([ALARM] * 3), BUNDLE, np.array([False, True, False]))
    assert conclusion.changes == []


def test_a_repeat_changes_no_episode() -> None:
    detector = Detector(PLAN)
    seconds = np.array([0, 0, 0])
    block = driven(range(3))
    same = EventBlock(
        4, block.offsets, block.vehicle_ids, block.tenant_ids, START_S + seconds, block.signals[[0, 0, 0]], None
    )
    entered = detector.enter(same)
    assert entered.windowed.repeat.tolist() == [False, True, True]
    assert detector.conclude(entered, scored([ALARM] * 3), BUNDLE).changes == []


def test_how_the_log_is_cut_into_blocks_does_not_matter() -> None:
    errors = [0, ALARM, ALARM, 0, ALARM, ALARM, 0, 0, ALARM, 0]
    whole = Detector(PLAN)
    expected = whole.conclude(whole.enter(driven(range(10))), scored(errors), BUNDLE)
    cut = Detector(PLAN)
    # The second block enters before the first one is concluded, as while a scorer works.
    first, second = cut.enter(driven(range(4))), cut.enter(driven(range(4, 10)))
    parts = [cut.conclude(first, scored(errors[:4]), BUNDLE), cut.conclude(second, scored(errors[4:]), BUNDLE)]
    assert parts[0].episode_ids + parts[1].episode_ids == expected.episode_ids
    assert parts[0].changes + parts[1].changes == expected.changes


def test_its_episodes_are_those_of_a_tracker_that_goes_on() -> None:
    detector = Detector(PLAN)
    detector.conclude(detector.enter(driven(range(3))), scored([ALARM] * 3), BUNDLE)
    continued = Detector(PLAN)
    continued.windows.restore(detector.windows.snapshot())
    continued.episodes = EpisodeTracker.restore(detector.episodes.snapshot())
    entered = continued.enter(driven(range(3, 4)))
    assert continued.conclude(entered, scored([ALARM]), BUNDLE).episode_ids == ["v:4:2"]
