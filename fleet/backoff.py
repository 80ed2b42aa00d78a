"""Delays between tries of what fails for a while: each twice as long as the one before, up to a bound.

Nothing here waits: a coroutine, a thread and an event each wait in their own way.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class BackOff:
    """The delays of one series of tries, in seconds. Raises ValueError unless 0 <= first_s <= longest_s."""

    first_s: float
    longest_s: float
    delay_s: float = field(init=False)
    """The delay that `next_s` returns next."""

    def __post_init__(self) -> None:
        if not 0 <= self.first_s <= self.longest_s:
            raise ValueError(f"first_s ({self.first_s}) must lie in 0..longest_s ({self.longest_s})")
        self.delay_s = self.first_s

    def next_s(self) -> float:
        """Return how long to wait before the next try."""
        delay_s = self.delay_s
        self.delay_s = min(2 * delay_s, self.longest_s)
        return delay_s

    def reset(self) -> None:
        """Begin again with the first delay: a try has succeeded."""
        self.delay_s = self.first_s
