"""The cases by number. Each is a function of a `Trial` that strikes, waits, and says what must hold."""

from faults.cases import kafka_away, processes, records
from faults.cases.register import CASES, SHORT

__all__ = ["CASES", "SHORT", "kafka_away", "processes", "records"]
