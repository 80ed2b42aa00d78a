"""Two minutes of strikes by chance, taken from the cases, as one case of its own: the show for a user.

Neighbours: `cases` do the striking, `trial` runs this like any of them, `commands/chaos_demo.py` prints the outcome.
"""

import time
from typing import Final

from faults.cases.kafka_away import kafka_killed
from faults.cases.processes import (
    controller_killed,
    gateway_killed,
    ingest_killed,
    ingest_stopped_and_continued,
    scorer_killed,
    scorer_stopped,
)
from faults.cases.register import OF_A_PROCESS_S
from faults.load import Content
from faults.trial import Act, Case, Trial

STRIKES: Final[tuple[Act, ...]] = (
    ingest_killed,
    scorer_killed,
    kafka_killed,
    gateway_killed,
    ingest_stopped_and_continued,
    scorer_stopped,
    controller_killed,
)
CALM_S: Final = 3.0  # between two strikes, for the eye


def chaos(seconds: float) -> Case:
    """Return the case: strikes until `seconds` are over, each kind once before any comes again."""

    def strike(trial: Trial) -> None:
        ends_s, due = time.monotonic() + seconds, list[Act]()
        while time.monotonic() < ends_s:
            due = due or trial.random.sample(STRIKES, len(STRIKES))
            due.pop()(trial)
            trial.say(ledger(trial))
            trial.flow(CALM_S)

    return Case(0, f"{seconds:.0f} s of chaos", strike, OF_A_PROCESS_S, lambda _random: Content())


def ledger(trial: Trial) -> str:
    """Return the page's own ledger as a line."""
    books = trial.system.pipeline()
    if books.get("read") is None:
        return "the page does not say how the books stand"
    return (
        f"ledger: {books['read']:,} read = {books['scored']:,} scored + {books['deadLettered']:,} dead-lettered "
        f"+ {books['inFlight']:,} in flight; {books['lag']:,} behind"
    )
