"""The sections of the fault suite and of the evaluation, made from JSON files as the commands write them."""

import math
from dataclasses import replace

import msgspec

from faults.report import as_json
from faults.trial import Result
from reference.quality import evaluation_section, faults_section
from training.evaluate import Evaluation, FaultResult, RowMeasures
from training.evaluation_page import evaluation_values

MET = Result(8, "kill -9 Kafka", 7, 2_000.0, 40_000, 0, 0, 0, 4.2, 10.0, {"Ingest": 410.0, "Scorer": 620.0}, [], [])
EVALUATION = Evaluation(
    faults={
        "overspeed": FaultResult(40, 1.0, 1.0, 1.0, 1.0),
        "gps_jump": FaultResult(40, 0.0, math.nan, math.nan, 0.5),
    },
    rows={"autoencoder": RowMeasures(0.99, 0.893, 0.9, 0.8), "PCA": RowMeasures(0.9, 0.286, 0.5, 0.4)},
    cause_right=0.963,
    false_alarm_rate=0.00026,
    nominal_rate=0.0003,
    false_alarm_rate_at_home=0.0002,
    false_episodes_per_hour=0.044,
    false_episodes_per_hour_at_home=0.02,
    false_causes={"overspeed": 3},
    alarms_by_sender={"all signals": 0.0003},
)


def faults_lines(*results: Result) -> list[str]:
    return faults_section({"seed": 7, "rate": 2_000.0, "cases": msgspec.json.decode(as_json(results))})


def evaluation_lines(contaminated: list[float]) -> list[str]:
    results = {
        "seeds": [1, 2, 3],
        "vehicle_hours_trained_on": 360,
        **evaluation_values(EVALUATION),
        "average_precision_contaminated": contaminated,
        "average_precision_of_the_same_seed": 0.9,
    }
    return evaluation_section(msgspec.json.decode(msgspec.json.encode(results)))


def test_case_that_met_its_targets_says_so():
    assert "| 8 | kill -9 Kafka | 0 | 0 | 0 | 4.2 | 10 | 410 | 620 | met |" in faults_lines(MET)


def test_case_that_was_late_or_failed_is_not_taken_for_met():
    late, never = replace(MET, normal_after_s=10.1), replace(MET, normal_after_s=None)
    failed = replace(MET, lost=None, failures=["an event was lost", "the page was gone"])
    lines = faults_lines(MET, late, never, failed)
    assert "| 8 | kill -9 Kafka | 0 | 0 | 0 | 10.1 | 10 | 410 | 620 | late |" in lines
    assert "| 8 | kill -9 Kafka | 0 | 0 | 0 | never | 10 | 410 | 620 | late |" in lines
    assert "| 8 | kill -9 Kafka | ? | 0 | 0 | 4.2 | 10 | 410 | 620 | an event was lost; the page was gone |" in lines
    assert "1 of 4 cases met every target; the seed was 7." in lines


def test_fault_stands_beside_its_aim():
    assert "| overspeed | 40 | 1.000 | ≥ 0.99 | 1 | ≤ 2 | 100% |" in evaluation_lines([])


def test_fault_that_was_never_found_has_no_delay():
    assert "| gps jump | 40 | 0.000 | ≥ 0.99 | never | ≤ 1 |  |" in evaluation_lines([])


def test_worst_rates_and_baselines_are_there():
    lines = evaluation_lines([])
    assert "3 detectors were trained from scratch, each on 360 vehicle-hours." in lines
    assert "| false episodes per vehicle-hour, new city | 0.044 |" in lines
    assert "| false alarm rate, promised | 0.030% |" in lines
    assert "| PCA | 0.900 | 0.286 | 0.500 | 0.400 |" in lines


def test_contaminated_training_is_told_only_where_it_was_measured():
    assert not any("unlabelled" in line for line in evaluation_lines([]))
    assert any("average precision is 0.870, and 0.900 without them." in line for line in evaluation_lines([0.87]))
