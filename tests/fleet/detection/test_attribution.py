"""What an alarm is called, with a real small detector."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest

from commands.train import make_fleet
from fleet.detection.attribution import score, warm_up
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.network import Network
from fleet.detection.verdicts import judge
from fleet.detection.weighing import _weigh_plain, rarities, sum_by_aspect
from tests.small_detector import PLAN, LoadedDetector
from training.dataset import EVALUATION, collect, plan_drives

ORDINARY = {
    "latitude": -31.41,
    "longitude": -64.18,
    "speed": 52.0,
    "temperature": 88.0,
    "battery": 80.0,
    "fuelLevel": 60.0,
    "weather": "clear",
    "roadType": "urban",
    "speedLimit": 60.0,
    "night": False,
    "trafficLevel": 2,
}


def records(count: int, first: int = 0, second: int = 0, **fields: Any) -> list[bytes]:
    """Single events of as many vehicles."""
    vehicles = range(first, first + count)
    sent = ({"vehicleId": f"v{v}", "timestamp": 1764533865 + second, **ORDINARY, **fields} for v in vehicles)
    return [json.dumps(event).encode() for event in sent]


def features_of(detector: LoadedDetector, values: list[bytes]) -> Any:
    """Return the features of events whose vehicles have been ordinary a second before: they have all signals."""
    return detector.features(records(len(values)) + values)[len(values) :]


@pytest.mark.parametrize("degrees", [150, 900, 1e30, -300])
def test_an_impossible_temperature_is_the_temperatures_fault(detector: LoadedDetector, degrees: float) -> None:
    scores = detector.scores(features_of(detector, records(3, second=1, temperature=degrees)))
    plan = detector.bundle.plan
    assert (scores.error > detector.bundle.threshold).all()
    assert scores.explained.all()
    assert {plan.groups[plan.aspect_group[aspect]] for aspect in scores.aspect} == {"temperature"}
    assert {name for row in scores.largest[:, :1] for name in detector.bundle.feature_names[row]} <= {
        "temperature_level",
        "temperature_stepped",
    }


@pytest.mark.parametrize(("name", "value"), [("temperature", 150.0), ("battery", 1.0), ("temperature", -80.0)])
def test_of_an_alarm_it_is_said_what_was_expected(detector: LoadedDetector, name: str, value: float) -> None:
    scores = detector.scores(features_of(detector, records(1, second=1, **{name: value})))
    [expected] = judge(scores, detector.bundle).expected
    assert expected is not None
    low, likely, high = expected[f"{name}_level"]
    assert low <= likely <= high
    assert not low <= value <= high
    assert low <= ORDINARY[name] <= high
    assert set(expected) <= set(judge(scores, detector.bundle).contributions[0])


def test_ordinary_values_are_between_their_bounds(detector: LoadedDetector) -> None:
    drives = plan_drives(11, EVALUATION, 4.0, (3,), 0.0, duration_s=1200.0)
    features = collect(PLAN, make_fleet, drives, lambda _line: None, "ordinary").features
    is_said = ~np.isnan(detector.bundle.possible[0])
    low, _, high = detector.model.expectations(features)[:, :, is_said].transpose(1, 0, 2)
    values = features[:, : detector.bundle.judged][:, is_said]
    is_inside = ((low <= values) & (values <= high))[~np.isnan(values)]
    assert is_inside.mean() > 0.95, "a small detector knows little of other cities"


def test_a_healthy_event_has_no_cause(detector: LoadedDetector) -> None:
    scores = detector.scores(detector.features(records(2)))
    assert not scores.explained.any()
    assert judge(scores, detector.bundle).causes == [None, None]
    assert judge(scores, detector.bundle).expected == [None, None]


@pytest.mark.parametrize("most", [0, 1, 5, 8, 100])
def test_no_more_alarms_are_explained_than_the_bound_allows_the_largest_first(
    detector: LoadedDetector, most: int
) -> None:
    degrees = np.random.default_rng(3).permutation(np.linspace(140, 900, 8))
    faulty = [records(1, i, 1, temperature=float(value))[0] for i, value in enumerate(degrees)]
    features = features_of(detector, faulty + records(2, 8, 1))
    scores = detector.scores(features, most)
    assert (scores.error[:8] > detector.bundle.threshold).all()
    assert scores.explained.sum() == min(most, 8)
    assert [bool(expected) for expected in scores.expected] == scores.explained.tolist()
    if 0 < most < 8:
        assert scores.error[scores.explained].min() >= scores.error[:8][~scores.explained[:8]].max()
    unexplained = detector.scores(features, 0)
    np.testing.assert_array_equal(scores.error, unexplained.error)
    np.testing.assert_array_equal(scores.aspect[~scores.explained], unexplained.aspect[~scores.explained])


def test_the_explanation_of_an_event_does_not_depend_on_its_block(detector: LoadedDetector) -> None:
    features = features_of(detector, [records(1, i, 1, **{name: value})[0] for i, (name, value) in enumerate(FAULTY)])
    together = detector.scores(features)
    alone = [detector.scores(features[i : i + 1]).aspect[0] for i in range(len(features))]
    assert together.aspect.tolist() == alone


def test_once_warm_no_alarm_waits_for_the_compiler(detector: LoadedDetector) -> None:
    features = features_of(detector, records(3, second=1, temperature=900))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        warm, at_the_end = fresh.submit(compiled_when_warm_and_at_the_end, detector.bundle, features).result()
    assert warm == at_the_end == [1, 1, 1]


def compiled_when_warm_and_at_the_end(bundle: ModelBundle, features: Any) -> tuple[list[int], list[int]]:
    """Count the variants that the compiler has made of each function, before the first alarm and after it."""

    def compiled() -> list[int]:
        functions: list[Any] = [rarities, sum_by_aspect, _weigh_plain]
        return [len(function.signatures) for function in functions]

    network = Network.load(bundle)
    warm_up(network, bundle)
    warm = compiled()
    assert score(network, bundle, features, 10).explained.all()
    return warm, compiled()


FAULTY = [("temperature", 160.0), ("battery", 1.0), ("speed", 190.0), ("fuelLevel", -50.0), ("temperature", -80.0)]
