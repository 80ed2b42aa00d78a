"""The page of the habits that the simulator's senders have."""

from reference import markdown
from simulator.senders.catalogue import CATALOGUE


def habits_page() -> str:
    """Return the page."""
    return markdown.page("Habits of senders", "simulator/senders/catalogue.py", _lines())


def _lines() -> list[str]:
    rows = [
        (markdown.code(habit.name), family, f"{habit.share:.1%}", habit.meaning)
        for family, habits in CATALOGUE.items()
        for habit in habits
    ]
    return [
        "Real devices round, wait, repeat and leave out. So do the simulator's senders.",
        "A habit is no fault: the truth that travels with an event says faults alone.",
        "",
        "`fleet simulate` gives each sender its habits by the shares below; so does `make run`.",
        "Training and evaluation drive such fleets, too.",
        "`--no-habits` makes all senders ideal. `--habit NAME` gives one habit to all of them, and no other.",
        "Load tests, benchmarks and the fault suite drive ideal senders.",
        "",
        "Some report rarely, so 1,000 vehicles of a usual fleet send some 580 events a second, not 1,000.",
        "",
        "A sender has at most one habit of a family. The families are drawn independently.",
        "",
        *markdown.table(("habit", "family", "share", "what such a sender does, and why"), rows),
    ]
