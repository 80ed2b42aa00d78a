"""How long something takes of late: commits and calls to scorers, by which others decide how long to wait."""

from dataclasses import dataclass
from typing import Final

OF_LATE: Final = 0.1  # what the last time weighs in the usual one


@dataclass(slots=True)
class UsualTime:
    """A running mean that follows the last ten times or so; it begins at none."""

    seconds: float = 0.0

    def note(self, took_s: float) -> None:
        """Count how long it took this time."""
        self.seconds += OF_LATE * (took_s - self.seconds)
