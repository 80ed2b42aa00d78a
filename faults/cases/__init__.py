"""The cases by number. Each is a function of a `Trial` that strikes, waits, and says what must hold."""

from faults.cases import clients, deploys, group, kafka_away, nodes, processes, records, scaling, scorers
from faults.cases.register import CASES, SHORT

__all__ = [
    "CASES",
    "SHORT",
    "clients",
    "deploys",
    "group",
    "kafka_away",
    "nodes",
    "processes",
    "records",
    "scaling",
    "scorers",
]
