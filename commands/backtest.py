"""`fleet backtest` and `fleet crossvalidate`: how the detector does on one's own recordings, before it goes live."""

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from commands.train import start_tensorflow
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.network import Network
from fleet.errors import ChannelSpecError, RecordingError
from fleet.events.channels import ChannelSpec, read_spec
from fleet.settings import ModelSettings
from recordings.rows import names_of
from recordings.summary import summary

if TYPE_CHECKING:  # importing it takes TensorFlow's seconds
    from training.backtesting.measuring import Compared
    from training.backtesting.recordings import Recordings
    from training.backtesting.scoring import Scored

_BY_NAME = "by the columns' names"
_Time = Annotated[str | None, typer.Option("--time", show_default=_BY_NAME, help="Name of the column with the time.")]
_Vehicle = Annotated[
    str | None,
    typer.Option("--vehicle", show_default=_BY_NAME, help="Name of the column with the vehicle, trip or machine."),
]
_DayFirst = Annotated[
    bool | None, typer.Option("--day-first/--month-first", help="Whether 01/11/2026 is in November or in January.")
]
_Channels = Annotated[str | None, typer.Option(show_default="every numeric column", help="Columns to judge, as a,b,c.")]
_Spec = Annotated[str | None, typer.Option(help="A channel specification, by name (kit_obd) or a .toml file.")]
_Rate = Annotated[float, typer.Option(help="Share of ordinary rows that may alarm; it sets the threshold.")]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed and files give the same scores.")]
_Fit = Annotated[Path, typer.Option(help="Recordings of ordinary operation: a CSV file, plain or gzipped.")]
_Score = Annotated[Path, typer.Option(help="Recordings to score, in the same form.")]
_Out = Annotated[Path, typer.Option(help="Write the scores to this file: CSV, plain or .gz.")]
_Label = Annotated[str | None, typer.Option(help="Name of the column that is 1 where something was wrong, else 0.")]
_Report = Annotated[Path | None, typer.Option(help="Write a page of plots to this .html file.")]
_Models = Annotated[Path | None, typer.Option(help="Keep the model bundle in this folder, for a running system.")]


def backtest(
    fit: _Fit,
    score: _Score,
    out: _Out,
    time_column: _Time = None,
    vehicle_column: _Vehicle = None,
    label: _Label = None,
    channels: _Channels = None,
    spec: _Spec = None,
    false_alarm_rate: _Rate = 0.001,
    report: _Report = None,
    models: _Models = None,
    day_first: _DayFirst = None,
    seed: _Seed = 7,
) -> None:
    """Fit a detector to recordings of ordinary operation, and score others with the code that serves."""
    began_s = time.monotonic()
    described = _described(channels, spec, false_alarm_rate)
    columns = _Columns(time_column, vehicle_column, label, day_first)
    fitting = _read(fit, columns, _named(channels, described), fits=True)
    scoring = _read(score, columns, list(fitting.channels))
    start_tensorflow()
    from training.backtesting.page import report_of
    from training.backtesting.scores_file import write_scores
    from training.backtesting.scoring import score_rows
    from training.report import write_report

    with _models_folder(models) as folder:
        bundle = _fitted(fitting, described, Path(folder), false_alarm_rate, seed)
        _say(f"Fitted in {time.monotonic() - began_s:.1f} s")
        scored = score_rows(Network.load(bundle), bundle, scoring)
    write_scores(out, scoring.roles, scoring, scored, bundle.threshold)
    alarms = f"{scored.verdicts.is_anomaly.sum():,} alarms, {len(scored.opened.time_s):,} episodes"
    _say(f"Scored {len(scoring):,} rows: {alarms}; wrote {out}")
    compared = _compared(scored, fitting, scoring, bundle) if label else None
    if report is not None:
        write_report(report_of(f"Backtest of {score.name}", scoring, scored, compared, bundle), report)
        _say(f"Wrote {report}")
    _say(f"Done in {time.monotonic() - began_s:.1f} s")


def _fitted(
    fitting: "Recordings", described: ChannelSpec | None, folder: Path, false_alarm_rate: float, seed: int
) -> ModelBundle:
    from training.backtesting.bundle import BacktestSettings, fit_bundle
    from training.backtesting.specification import spec_for

    settings = BacktestSettings(false_alarm_rate, seed)
    return fit_bundle(fitting, spec_for(fitting, described), settings, folder, _say)


def _compared(scored: "Scored", fitting: "Recordings", scoring: "Recordings", bundle: ModelBundle) -> "Compared":
    """Measure and tell what was reached on labelled rows."""
    from training.backtesting.measuring import compare, describe, describe_events, event_figures

    compared = compare(scored, fitting, scoring, bundle.plan.spec)
    events = describe_events(event_figures(scored, scoring), bundle.metrics["false_alarm_rate"])
    _say(*describe(compared.figures), *events)
    return compared


def crossvalidate(
    recordings: Annotated[Path, typer.Option(help="Recordings of ordinary operation: a CSV file, plain or gzipped.")],
    time_column: _Time = None,
    vehicle_column: _Vehicle = None,
    channels: _Channels = None,
    spec: _Spec = None,
    folds: Annotated[
        int, typer.Option(min=2, help="How many parts the trips are cut into; each is held out once.")
    ] = 3,
    draws: Annotated[int, typer.Option(min=1, help="How often faults are drawn anew for each part.")] = 5,
    false_alarm_rate: _Rate = 0.001,
    day_first: _DayFirst = None,
    seed: _Seed = 7,
) -> None:
    """Put faults into held-out trips of recordings without labels, and measure how many are found, beside baselines."""
    began_s = time.monotonic()
    described = _described(channels, spec, false_alarm_rate)
    columns = _Columns(time_column, vehicle_column, None, day_first)
    read = _read(recordings, columns, _named(channels, described), fits=True)
    start_tensorflow()
    from training.backtesting.bundle import BacktestSettings
    from training.backtesting.cross_validation import cross_validate, describe_folds

    settings = BacktestSettings(false_alarm_rate, seed)
    validation = cross_validate(read, described, folds, draws, settings, _say)
    _say(*describe_folds(validation, false_alarm_rate))
    _say(f"Done in {time.monotonic() - began_s:.1f} s")


class _Columns(NamedTuple):
    """What the options say of a recording's columns."""

    time: str | None
    vehicle: str | None
    label: str | None
    day_first: bool | None


def _described(channels: str | None, spec: str | None, false_alarm_rate: float) -> ChannelSpec | None:
    """Return the specification that the options name, if they name one. Raises FleetError where they contradict."""
    if channels is not None and spec is not None:
        raise ChannelSpecError("--channels and --spec are both given: a specification names its channels; drop one.")
    if not 1e-7 <= false_alarm_rate <= 0.2:
        raise RecordingError(f"--false-alarm-rate is {false_alarm_rate:g}: give a share between 1e-7 and 0.2.")
    return read_spec(spec) if spec else None


def _named(channels: str | None, described: ChannelSpec | None) -> list[str] | None:
    """Return the columns that the options name; None: every numeric one."""
    if described is not None:
        return list(described.field_names)
    if channels is None:
        return None
    names = [name.strip() for name in channels.split(",") if name.strip()]
    if not names:
        raise RecordingError("--channels names no column: give them as a,b,c.")
    return names


def _read(path: Path, columns: _Columns, wanted: list[str] | None, *, fits: bool = False) -> "Recordings":
    """Read a recording's channels, those wanted or every numeric column, and say what it was taken for.

    One that `fits` has no labels: their column is no channel.
    """
    from training.backtesting.recordings import read_recordings

    _say(f"Reading {path}")
    label, ignored = (None, {columns.label or ""}) if fits else (columns.label, set[str]())
    read = read_recordings(path, columns.time, columns.vehicle, label, wanted, ignored, columns.day_first)
    said = summary(read.form, read.vehicle, read.time_s)
    _say(f"  {said}; time from {read.roles[0]}; {len(read.channels)} channels: {names_of(read.channels)}")
    for name, count in read.unreadable_cells.items():
        if count:
            _say(f"  {count:,} cells of {name} hold no number: unknown")
    return read


def _models_folder(models: Path | None) -> AbstractContextManager[str]:
    if models is None:
        return TemporaryDirectory(prefix="fleet-backtest-")
    return nullcontext(str(ModelSettings(folder=models).absolute_folder))


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)
