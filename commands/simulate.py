"""`fleet simulate`: simulated vehicles publish telemetry until Ctrl-C, or for a given time."""

from typing import Annotated

import typer

from commands.stopping import StopFlag
from fleet.kafka import bootstrap_servers
from fleet.settings import TopicNames
from simulator.publisher import FleetPlan, publish_in_one_process, publish_in_processes
from simulator.sender import ProgressReport, sentence
from simulator.senders import HABITS, HabitMix
from simulator.vehicles import FAULTS, HIGHEST_FAULT_RATE

_ALL = ",".join(FAULTS)


_TELEMETRY = TopicNames().telemetry

_Vehicles = Annotated[int, typer.Option(min=1, max=10_000_000, help="How many vehicles to simulate.")]
_RateHz = Annotated[float, typer.Option(min=0.001, max=1_000, help="How many events each vehicle sends per second.")]
_Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same fleet.")]
_First = Annotated[
    int,
    typer.Option(
        min=0, help="Index of the first vehicle. Several simulators with ranges that do not overlap make one fleet."
    ),
]
_Processes = Annotated[int, typer.Option(min=1, max=256, help="How many processes share the vehicles.")]
_FaultRate = Annotated[
    float, typer.Option(min=0, max=HIGHEST_FAULT_RATE, help="Share of its time in which a vehicle is faulty.")
]
_Faults = Annotated[str, typer.Option(help="Kinds of faults that occur, separated by commas.")]
_Habits = Annotated[
    bool,
    typer.Option(
        "--habits/--no-habits",
        help="Give the senders the habits of a real fleet: coarse values, other rhythms, late and partial messages.",
    ),
]
_Habit = Annotated[str | None, typer.Option(help=f"Give all senders this one habit alone: {', '.join(HABITS)}.")]
_Topic = Annotated[str, typer.Option(help="The topic to publish to.")]
_DurationS = Annotated[
    float | None,
    typer.Option(min=0.001, help="End after so many seconds of the vehicles' time; without it, at Ctrl-C."),
]
_AsFastAsPossible = Annotated[
    bool,
    typer.Option(
        "--as-fast-as-possible",
        help="Publish past events without waiting: the duration that ends now, or else the last day and on.",
    ),
]


def simulate(
    vehicles: _Vehicles = 1_000,
    rate_hz: _RateHz = 1.0,
    seed: _Seed = 7,
    first: _First = 0,
    processes: _Processes = 1,
    fault_rate: _FaultRate = 0.02,
    faults: _Faults = _ALL,
    habits: _Habits = True,
    habit: _Habit = None,
    topic: _Topic = _TELEMETRY,
    duration_s: _DurationS = None,
    as_fast_as_possible: _AsFastAsPossible = False,
) -> None:
    """Publish the telemetry of simulated vehicles to the Kafka that KAFKA_BOOTSTRAP_SERVERS names."""
    plan = FleetPlan(
        vehicles,
        topic,
        first,
        seed,
        rate_hz,
        duration_s,
        not as_fast_as_possible,
        fault_rate,
        _fault_types(faults),
        habits=_mix(habits, habit),
    )
    plans = plan.split(processes)
    typer.echo(f"{vehicles:,} vehicles at {rate_hz:g} Hz to {topic} of Kafka at {bootstrap_servers()}")
    report = ProgressReport(typer.echo, bootstrap_servers()).update
    with StopFlag() as stop:
        final = (
            publish_in_one_process(plan, stop, report) if len(plans) == 1 else publish_in_processes(plans, stop, report)
        )
    typer.echo(f"Ended: {sentence(final)}")
    if final.failed or final.waiting:
        raise typer.Exit(1)


def _mix(habits: bool, habit: str | None) -> HabitMix:
    if habit is None:
        return HabitMix() if habits else HabitMix.none()
    if habit not in HABITS:
        raise typer.BadParameter(f"{habit} is no habit; choose from {', '.join(HABITS)}.", param_hint="--habit")
    return HabitMix.only(habit)


def _fault_types(faults: str) -> tuple[str, ...]:
    types = tuple(fault.strip() for fault in faults.split(","))
    if unknown := [fault for fault in types if fault not in FAULTS]:
        raise typer.BadParameter(
            f"{', '.join(unknown)} is no type of fault; choose from {_ALL}.", param_hint="--faults"
        )
    return types
