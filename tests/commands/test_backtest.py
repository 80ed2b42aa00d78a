"""`fleet backtest` and `fleet crossvalidate` as a user calls them."""

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from commands.main import commands
from fleet.detection.model.bundle import read_bundle
from fleet.errors import FleetError


def write(path, rows, fault=None, label=None, seed=0, trips=1):
    """A recording of a pump: pressure follows speed, flow follows both."""
    rng = np.random.default_rng(seed)
    names = ["when", "pump", "speed", "pressure", "flow", "note"] + ([label] if label else [])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for trip in range(trips):
            speed = 1000 + 200 * np.sin(np.arange(rows) / 30 + trip) + 5 * rng.normal(size=rows)
            pressure = speed / 100 + 0.2 * rng.normal(size=rows)
            flow = speed / 10 - pressure + 0.5 * rng.normal(size=rows)
            for row in range(rows):
                faulty = fault is not None and fault[0] <= row < fault[1]
                values = [f"{speed[row]:.2f}", f"{pressure[row] + 40 * faulty:.3f}", f"{flow[row]:.2f}", "ok"]
                writer.writerow([f"{row * 0.5:g}", f"p{trip}", *values, *([int(faulty)] if label else [])])
    return str(path)


def run(*arguments):
    return CliRunner().invoke(commands, arguments)


ROLES = ("--time", "when", "--vehicle", "pump")


def test_backtest_writes_scores_report_and_bundle_and_prints_the_figures(tmp_path):
    fit = write(tmp_path / "fit.csv", 500, label="wrong")
    score = write(tmp_path / "score.csv", 400, fault=(250, 300), label="wrong", seed=1)
    out, page, models = tmp_path / "scores.csv", tmp_path / "page.html", tmp_path / "models"
    places = ("--out", str(out), "--report", str(page), "--models", str(models))
    result = run("backtest", "--fit", fit, "--score", score, *ROLES, "--label", "wrong", *places)
    assert result.exit_code == 0, result.output
    for words in ("3 channels", "ROC AUC", "VUS-PR", "Mahalanobis", "PCA residual", "realised", "stretches found"):
        assert words in result.output
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 400
    assert (rows[7]["when"], rows[7]["pump"]) == ("3.5", "p0")
    assert np.mean([row["is_anomaly"] == "1" for row in rows[250:300]]) > 0.8
    assert np.mean([row["is_anomaly"] == "1" for row in rows[:250]]) < 0.05
    assert "<svg" in page.read_text()
    assert read_bundle(models).plan.spec.field_names == ("speed", "pressure", "flow")


def test_recordings_of_one_vehicle_are_read_by_the_names_of_their_columns(tmp_path):
    score = tmp_path / "score.csv"
    rows = "".join(f"{second};{second % 7},5;{second % 5}\n" for second in range(80))
    score.write_text("time;pressure_bar;flow\n" + rows)
    out = tmp_path / "scores.csv"
    result = run("backtest", "--fit", str(score), "--score", str(score), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "semicolons, decimal commas, UTF-8; 1 vehicle, 80 rows, 1 Hz; time from time; 2 channels" in result.output
    assert next(csv.DictReader(out.open())).items() >= {"time": "0", "vehicle": "recording"}.items()


def test_backtest_without_labels_takes_named_channels_alone(tmp_path):
    fit, score = write(tmp_path / "fit.csv", 400), write(tmp_path / "score.csv", 100, seed=1)
    out = tmp_path / "scores.csv"
    result = run("backtest", "--fit", fit, "--score", score, *ROLES, "--channels", "pressure, speed", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "2 channels" in result.output
    assert "ROC" not in result.output
    assert len(out.read_text().splitlines()) == 101


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--channels", "speed,torque"), "has no column 'torque'"),
        (("--channels", ","), "--channels names no column"),
        (("--channels", "speed", "--spec", "kit_obd"), "drop one"),
        (("--spec", "no_such"), "There is no channel specification 'no_such'"),
        (("--spec", "kit_obd"), "has no column 'speed_kmh'"),
        (("--false-alarm-rate", "2"), "--false-alarm-rate is 2"),
        (("--label", "wrong"), "has no column 'wrong'"),
    ],
)
def test_backtest_says_in_one_sentence_what_is_wrong(tmp_path, options, sentence):
    fit, score = write(tmp_path / "fit.csv", 70), write(tmp_path / "score.csv", 5)
    result = run("backtest", "--fit", fit, "--score", score, *ROLES, "--out", str(tmp_path / "out.csv"), *options)
    assert isinstance(result.exception, FleetError)
    assert sentence in str(result.exception)
    assert not (tmp_path / "out.csv").exists()


def test_crossvalidate_prints_the_table_beside_baselines(tmp_path):
    recording = write(tmp_path / "trips.csv", 300, trips=4)
    result = run("crossvalidate", "--recordings", recording, *ROLES, "--folds", "2", "--draws", "1")
    assert result.exit_code == 0, result.output
    for words in ("Fold 2 of 2", "autoencoder", "Mahalanobis", "faults found by an episode", "without faults"):
        assert words in result.output
