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

if TYPE_CHECKING:  # importing it takes TensorFlow's seconds
    from training.backtesting.measuring import Compared
    from training.backtesting.recordings import Recordings
    from training.backtesting.scoring import Scored

_Time = Annotated[str, typer.Option("--time", help="Name of the column with the time, in seconds or as ISO-8601.")]
_Vehicle = Annotated[str, typer.Option("--vehicle", help="Name of the column with the vehicle, trip or machine.")]
_Channels = Annotated[str | None, typer.Option(show_default="every numeric column", help="Columns to judge, as a,b,c.")]
_Spec = Annotated[str | None, typer.Option(help="A channel specification, by name (kit_obd) or a .toml file.")]
_Rate = Annotated[float, typer.Option(help="Share of ordinary rows that may alarm; it sets the threshold.")]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed and files give the same scores.")]
_Fit = Annotated[Path, typer.Option(help="Recordings of ordinary operation: a CSV file, plain or .gz.")]
_Score = Annotated[Path, typer.Option(help="Recordings to score, in the same form.")]
_Out = Annotated[Path, typer.Option(help="Write the scores to this file: CSV, plain or .gz.")]
_Label = Annotated[str | None, typer.Option(help="Name of the column that is 1 where something was wrong, else 0.")]
_Report = Annotated[Path | None, typer.Option(help="Write a page of plots to this .html file.")]
_Models = Annotated[Path | None, typer.Option(help="Keep the model bundle in this folder, for a running system.")]


def backtest(
    fit: _Fit,
    score: _Score,
    time_column: _Time,
    vehicle_column: _Vehicle,
    out: _Out,
    label: _Label = None,
    channels: _Channels = None,
    spec: _Spec = None,
    false_alarm_rate: _Rate = 0.001,
    report: _Report = None,
    models: _Models = None,
    seed: _Seed = 7,
) -> None:
    """Fit a detector to recordings of ordinary operation, and score others with the code that serves."""
    began_s = time.monotonic()
    described = _described(channels, spec, false_alarm_rate)
    fitting = _read(fit, _Roles(time_column, vehicle_column, None), _named(channels, described), {label})
    scoring = _read(score, _Roles(time_column, vehicle_column, label), list(fitting.channels), set())
    start_tensorflow()
    from training.backtesting.page import report_of
    from training.backtesting.scores_file import write_scores
    from training.backtesting.scoring import score_rows
    from training.report import write_report

    with _models_folder(models) as folder:
        bundle = _fitted(fitting, described, Path(folder), false_alarm_rate, seed)
        _say(f"Fitted in {time.monotonic() - began_s:.1f} s")
        scored = score_rows(Network.load(bundle), bundle, scoring)
    write_scores(out, (time_column, vehicle_column), scoring, scored, bundle.threshold)
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
    recordings: Annotated[Path, typer.Option(help="Recordings of ordinary operation: a CSV file, plain or .gz.")],
    time_column: _Time,
    vehicle_column: _Vehicle,
    channels: _Channels = None,
    spec: _Spec = None,
    folds: Annotated[
        int, typer.Option(min=2, help="How many parts the trips are cut into; each is held out once.")
    ] = 3,
    draws: Annotated[int, typer.Option(min=1, help="How often faults are drawn anew for each part.")] = 5,
    false_alarm_rate: _Rate = 0.001,
    seed: _Seed = 7,
) -> None:
    """Put faults into held-out trips of recordings without labels, and measure how many are found, beside baselines."""
    began_s = time.monotonic()
    described = _described(channels, spec, false_alarm_rate)
    read = _read(recordings, _Roles(time_column, vehicle_column, None), _named(channels, described), set())
    start_tensorflow()
    from training.backtesting.bundle import BacktestSettings
    from training.backtesting.cross_validation import cross_validate, describe_folds

    settings = BacktestSettings(false_alarm_rate, seed)
    validation = cross_validate(read, described, folds, draws, settings, _say)
    _say(*describe_folds(validation, false_alarm_rate))
    _say(f"Done in {time.monotonic() - began_s:.1f} s")


class _Roles(NamedTuple):
    """Which columns are no channels."""

    time: str
    vehicle: str
    label: str | None


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


def _read(path: Path, roles: _Roles, wanted: list[str] | None, never: set[str | None]) -> "Recordings":
    """Read a recording's channels: those wanted, or every numeric column that is not in `never`."""
    from training.backtesting.recordings import column_names, read_recordings

    if wanted is None:
        wanted = [name for name in read_recordings(path, *roles).channels if name not in never]
    elif missing := [name for name in wanted if name not in column_names(path)]:
        raise RecordingError(
            f"{path} has no column {missing[0]!r}, which --fit, --channels or --spec names: its columns are"
            f" {', '.join(column_names(path)[:30])}."
        )
    _say(f"Reading {path}")
    read = read_recordings(path, *roles, wanted)
    _say(f"  {len(read):,} rows, {len(read.vehicle_names):,} vehicles, {len(read.channels)} channels")
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
