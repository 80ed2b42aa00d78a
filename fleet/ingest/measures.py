"""What a member measures of its work, for whoever watches it; a block, turn or commit at a time."""

from collections import Counter

from fleet.counters import COMMIT_RECORDS, COMMIT_SECONDS, EVENT_SECONDS, TURN_RECORDS, Leg
from fleet.histograms import Histogram

LEGS = (Leg.APPENDED_TO_READ, Leg.READ_TO_SCORED, Leg.SCORED_TO_COMMITTED)


class Measures:
    """Histograms since the start of the member; its loop adds to them."""

    def __init__(self) -> None:
        self.legs = {leg: Histogram(EVENT_SECONDS.bounds) for leg in LEGS}
        self.turn_records = Histogram(TURN_RECORDS.bounds)
        self.commit_seconds = Histogram(COMMIT_SECONDS.bounds)
        self.commit_records = Histogram(COMMIT_RECORDS.bounds)
        self.episodes_by_cause: Counter[str] = Counter()
