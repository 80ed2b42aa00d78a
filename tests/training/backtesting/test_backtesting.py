"""A detector fitted on recordings, and what it says of others; recordings of the tests' own, and the real ones."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest

from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import read_bundle
from fleet.detection.model.network import Network
from fleet.detection.verdicts import weigh
from fleet.detection.windows import VehicleWindows
from fleet.errors import ChannelSpecError, RecordingError
from fleet.events.channels import read_spec
from training.backtesting.bundle import BacktestSettings, calibration_rows, fit_bundle, promise
from training.backtesting.cross_validation import cross_validate, describe_folds
from training.backtesting.histories import gap_after_s, prepare, spec_columns, usual_interval_s, windowed
from training.backtesting.measuring import DETECTOR, compare, event_figures
from training.backtesting.page import report_of
from training.backtesting.recordings import Recordings, read_recordings
from training.backtesting.scores_file import write_scores
from training.backtesting.scoring import score_rows
from training.backtesting.specification import fitted_to, kinds_for, spec_for


def machine(rows, seed=0, vehicles=1, interval_s=1.0, channels=4):
    """Channels that follow one hidden load, each with its own noise, and one that follows none."""
    rng = np.random.default_rng(seed)
    parts = []
    for _ in range(vehicles):
        load = np.convolve(rng.normal(size=rows + 40), np.ones(20) / 4.5, "valid")[:rows]
        related = load[:, None] * np.linspace(1, 2, channels - 1) + 0.2 * rng.normal(size=(rows, channels - 1))
        parts.append(np.column_stack([50 + 10 * related, rng.normal(size=rows)]))
    return Recordings(
        vehicle_names=tuple(f"m{number}" for number in range(vehicles)),
        vehicle=np.repeat(np.arange(vehicles), rows),
        time_s=np.tile(np.arange(rows) * interval_s, vehicles),
        time_text=[f"{second:g}" for second in np.tile(np.arange(rows) * interval_s, vehicles)],
        channels=tuple(f"c{number}" for number in range(channels)),
        values=np.concatenate(parts),
        label=None,
        unreadable_cells={},
    )


def with_bias(recordings, begin, end, channel=1, by=40.0):
    """Add a wrong zero to one channel in some rows, and label them."""
    values, label = recordings.values.copy(), np.zeros(len(recordings), bool)
    values[begin:end, channel] += by
    label[begin:end] = True
    return replace(recordings, values=values, label=label)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A detector fitted on 400 rows of one machine."""
    fitting = machine(400)
    spec = spec_for(fitting, None)
    bundle = fit_bundle(fitting, spec, BacktestSettings(), tmp_path_factory.mktemp("m"), lambda _line: None)
    return fitting, bundle, Network.load(bundle)


class TestRows:
    def test_rows_go_through_the_windows_by_vehicle_and_time_whatever_the_files_order(self):
        recordings = machine(50, vehicles=3)
        spec = spec_for(recordings, None)
        plan = FeaturePlan.of(spec)
        ordered = windowed(plan, prepare(recordings, spec.gap_s), recordings.values)
        shuffle = np.random.default_rng(1).permutation(len(recordings))
        mixed = replace(
            recordings,
            vehicle=recordings.vehicle[shuffle],
            time_s=recordings.time_s[shuffle],
            values=recordings.values[shuffle],
        )
        np.testing.assert_array_equal(ordered, windowed(plan, prepare(mixed, spec.gap_s), mixed.values))

    def test_features_are_those_that_serving_computes(self):
        recordings = machine(300, vehicles=2)
        spec = spec_for(recordings, None)
        plan = FeaturePlan.of(spec)
        windows = VehicleWindows(plan)
        by_time = np.lexsort((recordings.vehicle, recordings.time_s))
        served = np.concatenate(
            [
                windows.push(
                    [recordings.vehicle_names[recordings.vehicle[row]]],
                    recordings.time_s[row : row + 1] + 1e9,
                    recordings.values[row : row + 1],
                ).features
                for row in by_time.tolist()
            ]
        )
        prepared = prepare(replace(recordings, time_s=recordings.time_s + 1e9), spec.gap_s)
        own = np.empty_like(served)
        own[prepared.order] = windowed(plan, prepared, recordings.values)
        np.testing.assert_array_equal(own[by_time], served)

    def test_rows_of_the_same_time_are_spread_up_to_the_next(self):
        coarse = replace(machine(10), time_s=np.floor(np.arange(10) / 5))  # 5 Hz, with times of whole seconds
        prepared = prepare(coarse, 120.0)
        np.testing.assert_allclose(prepared.time_s, np.arange(10) / 5)
        assert prepared.order.tolist() == list(range(10))

    def test_gap_begins_a_new_history_at_any_sampling_rate(self):
        slow = machine(20, interval_s=300.0)
        gap_s = gap_after_s(usual_interval_s(slow))
        assert gap_s == 6000
        assert prepare(slow, gap_s).history.tolist() == [0] * 20
        torn = replace(slow, time_s=slow.time_s + np.where(np.arange(20) >= 12, 1e5, 0.0))
        assert prepare(torn, gap_s).history.tolist() == [0] * 12 + [1] * 8
        assert gap_after_s(0.1) == 120

    def test_calibration_takes_whole_histories_where_there_are_several_else_the_end_of_each(self):
        many = np.repeat(np.arange(10), 30)
        held = calibration_rows(many, 0)
        assert {held[many == number].mean() for number in range(10)} == {0.0, 1.0}
        assert 0.2 <= held.mean() <= 0.4
        two = np.repeat([0, 1], 100)
        held = calibration_rows(two, 0)
        assert held.reshape(2, 100)[:, :70].sum() == 0
        assert held.reshape(2, 100)[:, 71:].all()


class TestSpecification:
    def test_few_rows_leave_out_the_long_memories(self):
        assert "drift" in kinds_for(100_000, 3_000)
        few = kinds_for(400, 400)
        assert "level" in few
        assert not {"slow", "drift"} & set(few)
        assert "slow" not in kinds_for(100_000, 60)  # no history is longer than a minute

    def test_specification_keeps_its_groups_and_loses_what_the_recording_cannot_show(self):
        recordings = replace(machine(400, channels=2), channels=("coolant_c", "rpm"))
        spec = spec_for(recordings, read_spec("kit_obd"))
        assert spec.field_names == read_spec("kit_obd").field_names
        plan = FeaturePlan.of(spec)
        assert set(plan.groups) == {"coolant", "engine_speed"}
        assert not any(name.endswith("_drift") for name in plan.names)

    def test_channel_that_was_never_known_is_not_judged(self):
        recordings = machine(400)
        recordings.values[:, 2] = np.nan
        assert FeaturePlan.of(spec_for(recordings, None)).groups == ("c0", "c1", "c3")


class TestVerdicts:
    def test_400_rows_suffice_to_find_a_wrong_zero_and_name_its_channel(self, fitted):
        fitting, bundle, model = fitted
        faulty = with_bias(machine(600, seed=5), 300, 360)
        scored = score_rows(model, bundle, faulty)
        compared = compare(scored, fitting, faulty, bundle.plan.spec)
        assert compared.figures[DETECTOR].roc_auc > 0.95
        events = event_figures(scored, faulty)
        assert events.found == 1
        assert events.delay_s <= 10
        assert scored.opened.causes[int(np.argmin(np.abs(scored.opened.time_s - 300)))] == "c1"
        assert set(compared.figures) == {"autoencoder", "PCA residual", "Mahalanobis", "max |z|", "nearest neighbours"}

    def test_every_row_gets_a_finite_score_even_without_a_past_or_a_value(self, fitted):
        _, bundle, model = fitted
        recordings = machine(80, seed=6, vehicles=2)
        recordings.values[3:9] = np.nan
        recordings.values[20, 1] = 1e300
        verdicts = score_rows(model, bundle, recordings).verdicts
        assert np.isfinite(verdicts.reconstruction_error).all()
        assert ((verdicts.severity >= 0) & (verdicts.severity <= 1)).all()
        assert verdicts.is_anomaly[20]

    def test_verdicts_come_in_the_files_order(self, fitted):
        _, bundle, model = fitted
        recordings = machine(100, seed=7)
        shuffle = np.random.default_rng(2).permutation(100)
        mixed = replace(recordings, time_s=recordings.time_s[shuffle], values=recordings.values[shuffle])
        straight = score_rows(model, bundle, recordings).verdicts.reconstruction_error
        shuffled = score_rows(model, bundle, mixed).verdicts.reconstruction_error
        np.testing.assert_allclose(shuffled, straight[shuffle], rtol=1e-4)

    def test_scores_are_those_of_the_served_bundle(self, fitted):
        _, bundle, model = fitted
        recordings = machine(50, seed=8)
        scored = score_rows(model, bundle, recordings)
        served = weigh(model.errors(scored.features), read_bundle(bundle.folder.parent, bundle.version)).error
        np.testing.assert_allclose(scored.verdicts.reconstruction_error, served, rtol=1e-5)

    def test_a_slow_recording_opens_episodes_too(self, fitted, tmp_path):
        fitting = machine(400, interval_s=300.0)
        spec = spec_for(fitting, None)
        bundle = fit_bundle(fitting, spec, BacktestSettings(), tmp_path, lambda _line: None)
        faulty = with_bias(machine(300, seed=5, interval_s=300.0), 200, 230)
        scored = score_rows(Network.load(bundle), bundle, faulty)
        inside = [episode for episode, label in zip(scored.episode, faulty.label, strict=True) if label and episode]
        assert len(inside) >= 20
        assert len(set(inside)) == 1

    def test_too_few_rows_are_refused(self, tmp_path):
        few = machine(30)
        with pytest.raises(RecordingError, match="30 rows are too few"):
            fit_bundle(few, spec_for(few, None), BacktestSettings(), tmp_path, print)


class TestOutput:
    def test_scores_are_written_one_row_per_row_with_time_and_vehicle_as_they_came(self, fitted, tmp_path):
        _, bundle, model = fitted
        faulty = with_bias(machine(120, seed=5), 60, 100)
        path = tmp_path / "new folder" / "scores.csv.gz"
        scored = score_rows(model, bundle, faulty)
        write_scores(path, ("t", "car"), faulty, scored, bundle.threshold)
        with gzip.open(path, "rt", newline="") as file:
            rows = list(csv.DictReader(file))
        names = ["t", "car", "score", "threshold", "is_anomaly", "severity", "reason", "episode"]
        assert list(rows[0]) == names
        assert [row["t"] for row in rows] == faulty.time_text
        for row in rows:
            assert row["is_anomaly"] == str(int(float(row["score"]) > float(row["threshold"])))
            assert bool(row["reason"]) == (row["is_anomaly"] == "1")
        assert {row["episode"] for row in rows[75:95]} == {rows[80]["episode"]} != {""}

    def test_report_has_the_tables_and_the_episodes(self, fitted):
        fitting, bundle, model = fitted
        faulty = with_bias(machine(300, seed=5), 200, 240)
        scored = score_rows(model, bundle, faulty)
        compared = compare(scored, fitting, faulty, bundle.plan.spec)
        report = report_of("A backtest", faulty, scored, compared, bundle)
        assert [row[0] for row in report.tables[0].rows] == list(compared.figures)
        assert "c1" in report.episodes[0].signals
        assert report.episodes[0].faulty.any()
        unlabelled = report_of("A backtest", replace(faulty, label=None), scored, None, bundle)
        assert unlabelled.tables == ()
        assert unlabelled.episodes


class TestPromise:
    def test_one_trip_promises_nothing(self):
        assert promise(np.zeros(400, bool), np.zeros(400, np.intp), 0.01).startswith("1 trip is too few")

    def test_many_trips_say_for_how_many_others_it_holds(self):
        trip = np.repeat(np.arange(20), 100)
        is_alarm = (trip == 3) & (np.arange(2_000) % 10 == 0)
        assert promise(is_alarm, trip, 0.01) == (
            "at most twice that in 19 of 20 trips: 95 % confident of 76 to 99 % of others"
        )


class TestCrossValidation:
    def test_every_trip_is_held_out_once_and_faults_are_put_into_it(self):
        said = []
        validation = cross_validate(machine(400, vehicles=4), None, 2, 2, BacktestSettings(), said.append)
        assert sum("2 trips held out" in line for line in said) == 2
        assert 0.5 < validation.figures[DETECTOR].roc_auc <= 1
        assert validation.trips == 4
        told = "\n".join(describe_folds(validation, 0.001))
        assert "PCA residual" in told
        assert "of 4 trips" in told

    def test_more_folds_than_trips_are_refused(self):
        with pytest.raises(RecordingError, match="2 trips cannot make 3 folds"):
            cross_validate(machine(80, vehicles=2), None, 3, 1, BacktestSettings(), print)


@pytest.mark.parametrize(
    ("data_set", "time", "vehicle"), [("kit_obd", "t_s", "trip"), ("nds_blackbox", "time_utc", "drive")]
)
def test_specifications_of_the_real_data_sets_fit_their_columns(project_folder, data_set, time, vehicle):
    path = project_folder.parent / "shared" / "data" / data_set / f"{data_set}_1hz.csv.gz"
    if not path.exists():
        pytest.skip(f"the real recording {data_set} is not on this machine")
    spec = read_spec(data_set)
    recordings = read_recordings(path, time, vehicle, None, spec.field_names)
    plan = FeaturePlan.of(fitted_to(spec, recordings))
    some = recordings.picked(np.flatnonzero(recordings.vehicle < 3))
    features = windowed(plan, prepare(some, spec.gap_s), spec_columns(spec, some))
    assert np.isfinite(features).any(axis=0).mean() > 0.8
    for number, channel in enumerate(spec.fields):
        known = recordings.values[:, number][~np.isnan(recordings.values[:, number])]
        if channel.range is not None:
            inside = (known >= channel.range[0]) & (known <= channel.range[1])
            assert inside.mean() > 0.97, channel.name


def test_unknown_specification_names_those_there_are():
    with pytest.raises(ChannelSpecError, match="kit_obd, nds_blackbox, vehicle_data"):
        read_spec("kit_odb")
