"""How often and in which mode a subscription is sent: as it asked, and more sparingly where it does not keep up."""

from typing import Final

from fleet.delivery.feed.messages import Mode

# By the share of the live log that waits for a client: from here on its interval doubles, and doubles, and it is sent
# the latest events alone. Beyond the whole log it loses events.
_STEPS: Final = (0.25, 0.375, 0.5)
_CAUGHT_UP: Final = 0.03
_LEAST_SLOW_INTERVAL_S: Final = 0.05


class Pace:
    """The interval (seconds) and the mode of one subscription."""

    def __init__(self, mode: Mode, interval_s: float) -> None:
        self._asked_mode, self._asked_interval_s = mode, interval_s
        self._step = 0

    @property
    def is_slowed(self) -> bool:
        """Say whether the subscription is sent otherwise than it asked."""
        return self._step > 0

    @property
    def conflates_unasked(self) -> bool:
        """Say whether events are left out that the client asked for."""
        return self._asked_mode == "events" and self.mode == "latest"

    @property
    def mode(self) -> Mode:
        """The mode at the moment."""
        return "latest" if self._step == len(_STEPS) else self._asked_mode

    @property
    def interval_s(self) -> float:
        """The least time between two frames at the moment."""
        if self._step == 0:
            return self._asked_interval_s
        doublings = min(self._step, len(_STEPS) - 1)
        return float(max(self._asked_interval_s, _LEAST_SLOW_INTERVAL_S) * 2**doublings)

    def judge(self, waiting_share: float) -> bool:
        """Go by how much of the live log waits; say whether anything changed."""
        before = self._step
        reached = sum(waiting_share >= share for share in _STEPS)
        self._step = 0 if waiting_share <= _CAUGHT_UP else max(self._step, reached)
        return self._step != before
