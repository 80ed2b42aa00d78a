"""`fleet train`: the simulator drives, training learns, a model bundle comes out.

Here and in `commands.evaluate` `training` meets `simulator`: neither imports the other.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet.settings import ModelSettings
from simulator.city import City
from simulator.senders import HabitBlocks, HabitMix, ReportingFleet, Senders
from simulator.vehicles import SimulatedFleet
from training.dataset import FleetRequest

if TYPE_CHECKING:
    from training.train import TrainingPlan

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
    ("Mar del Plata", -38.00, -57.56),
    ("Posadas", -27.37, -55.90),
    ("Bariloche", -41.13, -71.31),
)
_NETWORK_S = (0.02, 0.3)
_FIRST_DAY_S = 1_764_558_000.0  # midnight in Argentina, 1 December 2025

_ModelsFolder = Annotated[Path, typer.Option("--models", help="Folder of model bundles.")]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same data and model.")]


def train(
    models: _ModelsFolder = Path("models"),
    seed: _Seed = 7,
    hours: Annotated[
        float,
        typer.Option(
            min=0.1, help="Vehicle-hours to train on. Calibration takes 1.5 times as many, of other vehicles."
        ),
    ] = 360,
    epochs: Annotated[int, typer.Option(min=1, help="How often training passes over its events.")] = 12,
    false_alarm_rate: Annotated[
        float, typer.Option(help="Share of ordinary events that may alarm; it sets the threshold.")
    ] = 0.00025,
) -> None:
    """Train a model bundle on simulated vehicles, and make it the current one. A running system follows."""
    say("Starting TensorFlow")
    start_tensorflow()
    from training.train import train_bundle

    train_bundle(make_fleet, absolute(models), training_plan(seed, hours, epochs, false_alarm_rate), say)


# Families of habits that are mistakes: what they do is to be found, not learnt.
NO_HABITS_TO_LEARN = ("clock", "unit", "lapse")


def training_plan(seed: int, hours: float, epochs: int, false_alarm_rate: float) -> "TrainingPlan":
    """Return the plan that the command's options mean; half as many vehicle-hours again calibrate."""
    from training.fitting import FitSettings
    from training.train import TrainingPlan

    return TrainingPlan(
        vehicle_hours=hours,
        calibration_vehicle_hours=1.5 * hours,
        habits=HabitMix.without(*NO_HABITS_TO_LEARN).shares,
        fit=FitSettings(false_alarm_rate=false_alarm_rate, epochs=epochs, seed=seed),
    )


def make_fleet(request: FleetRequest) -> ReportingFleet:
    """Place the vehicles that a data set asks for, and give them their senders."""
    name, latitude, longitude = _CITIES[request.city]
    city = City.generate(name, latitude, longitude, seed=request.city)
    start_s = _FIRST_DAY_S + 3600 * request.start_hour
    mix = HabitBlocks(request.blocks) if request.blocks else HabitMix.usual(request.habits)
    senders = Senders(request.seed, request.first, request.count, mix, _NETWORK_S)
    fleet = SimulatedFleet(
        request.seed, request.first, request.count, city, request.fault_rate, start_s, parks_first=senders.parks_first
    )
    return ReportingFleet(fleet, senders, request.first)


def start_tensorflow() -> None:
    """Import TensorFlow, which takes seconds, without what its native code says: absent GPUs read like errors."""
    with _native_chatter_hidden():
        from training.autoencoder import start_runtime

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


def absolute(models: Path) -> Path:
    """Return the folder of bundles, wherever the command was started."""
    return ModelSettings(folder=models).absolute_folder


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
