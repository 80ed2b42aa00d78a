"""The `fleet` command: registers every sub-command and prints every expected error as one sentence."""

import sys

import typer

from commands import (
    audit,
    backtest,
    bench,
    chaos_demo,
    dlq,
    doctor,
    evaluate,
    faults,
    kafka,
    loadtest,
    model,
    notify,
    replay,
    run,
    simulate,
    token,
    topics,
    train,
)
from fleet.errors import FleetError

commands = typer.Typer(
    help="Real-time anomaly detection for vehicle fleets.", no_args_is_help=True, pretty_exceptions_enable=False
)
commands.command("run")(run.run)
commands.command("kafka")(kafka.kafka)
commands.command("topics")(topics.topics)
commands.command("simulate")(simulate.simulate)
commands.command("replay")(replay.replay)
commands.command("train")(train.train)
commands.add_typer(model.model, name="model")
commands.command("evaluate")(evaluate.evaluate)
commands.command("backtest")(backtest.backtest)
commands.command("crossvalidate")(backtest.crossvalidate)
commands.command("loadtest")(loadtest.loadtest)
commands.command("doctor")(doctor.doctor)
commands.command("notify")(notify.notify)
commands.command("audit")(audit.audit)
commands.add_typer(dlq.dlq, name="dlq")
commands.add_typer(token.token, name="token")
commands.command("bench")(bench.bench)
commands.command("faults")(faults.faults)
commands.command("chaos-demo")(chaos_demo.chaos_demo)


def app() -> None:
    """Run the command line; exit status 1 and one sentence on stderr for an expected error."""
    try:
        commands()
    except FleetError as error:
        print(f"fleet: {error}", file=sys.stderr)
        sys.exit(1)
