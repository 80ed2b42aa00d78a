"""`fleet train` and `fleet evaluate`: the simulator drives, training learns, a model bundle comes out.

The only place where `training` meets `simulator`: neither imports the other.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from fleet.model_bundle import CURRENT, read_bundle
from fleet.settings import ModelSettings
from simulator.city import City
from simulator.vehicles import SimulatedFleet
from training.dataset import FleetRequest

# Name, latitude, longitude; the number in a list of cities is the seed of its roads. Córdoba, which `fleet simulate`
# drives in, is kept for evaluation.
_CITIES = (
    ("Córdoba", -31.41, -64.18),
    ("Rosario", -32.95, -60.66),
    ("Mendoza", -32.89, -68.84),
    ("Salta", -24.79, -65.41),
    ("Neuquén", -38.95, -68.06),
    ("La Plata", -34.92, -57.95),
    ("Tucumán", -26.82, -65.22),
)
_FIRST_DAY_S = 1_764_558_000.0  # midnight in Argentina, 1 December 2025

_ModelsFolder = Annotated[Path, typer.Option("--models", help="Folder of model bundles.")]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same data and model.")]


def train(
    models: _ModelsFolder = Path("models"),
    seed: _Seed = 7,
    vehicles: Annotated[int, typer.Option(min=1, help="Vehicles to train on.")] = 1_000,
    events: Annotated[int, typer.Option(min=2, help="Events of each vehicle.")] = 400,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training events.")] = 16,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of ordinary events that may alarm, for the threshold.")
    ] = 0.001,
    skip_evaluation: Annotated[bool, typer.Option(help="Write the model without measuring it.")] = False,
) -> None:
    """Train a model bundle on simulated vehicles, calibrate it, and measure what it reached."""
    _say("Starting TensorFlow")
    _start_tensorflow()
    from training.train import TrainingPlan, train_bundle

    plan = TrainingPlan(
        seed=seed,
        vehicles=vehicles,
        calibration_vehicles=max(1, vehicles * 4 // 5),
        events_per_vehicle=events,
        epochs=epochs,
        false_alarm_rate=false_alarm_rate,
    )
    bundle = train_bundle(_make_fleet, _absolute(models), plan, _say)
    if not skip_evaluation:
        evaluate(models, bundle.version, seed, vehicles, events)


def evaluate(
    models: _ModelsFolder = Path("models"),
    version: Annotated[str, typer.Option(help="Which bundle.")] = CURRENT,
    seed: _Seed = 7,
    vehicles: Annotated[int, typer.Option(min=1, help="Vehicles to evaluate on.")] = 1_000,
    events: Annotated[int, typer.Option(min=2, help="Events of each vehicle.")] = 400,
) -> None:
    """Measure a model bundle on vehicles with labelled faults that it has not seen, beside simple baselines."""
    bundle = read_bundle(_absolute(models), version)
    _start_tensorflow()
    from training.evaluate import EvaluationPlan, describe, evaluate_bundle

    plan = EvaluationPlan(seed=seed, vehicles=vehicles, events_per_vehicle=events)
    for line in describe(evaluate_bundle(bundle, _make_fleet, plan, _say), bundle):
        _say(line)


def _make_fleet(request: FleetRequest) -> SimulatedFleet:
    name, latitude, longitude = _CITIES[request.city]
    city = City.generate(name, latitude, longitude, seed=request.city)
    start_s = _FIRST_DAY_S + 3600 * request.start_hour
    return SimulatedFleet(request.seed, request.first, request.count, city, request.fault_rate, start_s)


def _start_tensorflow() -> None:
    """Import TensorFlow, which takes seconds, without what its native code says: absent GPUs read like errors."""
    with _native_chatter_hidden():
        from fleet.autoencoder import start_runtime

        start_runtime()


@contextlib.contextmanager
def _native_chatter_hidden() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _absolute(models: Path) -> Path:
    return ModelSettings(folder=models).absolute_folder


def _say(line: str) -> None:
    print(line, flush=True)
