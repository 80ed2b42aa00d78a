"""What people have done about episodes: actions folded in the log's order.

An action counts where it was based on the version that stands; another one that was based on the same comes too late.
Every reader of the log folds alike, so all gateways agree without asking each other. Pure; one thread at a time.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from fleet.records.action import (
    Acknowledge,
    Action,
    AlarmLabel,
    Assign,
    Comment,
    HandlingStatus,
    HandlingSummary,
    Label,
    Reopen,
    Snooze,
)

MOST_ACTIONS: Final = 500
"""Actions of one episode; those beyond do not count."""


@dataclass(slots=True)
class Handling:
    """One episode's actions that count, in the log's order, and what came of them."""

    actions: list[Action] = field(default_factory=list)
    assignee: str | None = None
    label: AlarmLabel | None = None
    snoozed_until_s: float = 0.0
    is_acknowledged: bool = False
    comments: int = 0

    @property
    def version(self) -> int:
        """Count the actions that count."""
        return len(self.actions)

    def status(self, now_s: float) -> HandlingStatus:
        """Say how far it is dealt with at this time, Unix seconds."""
        if self.snoozed_until_s > now_s:
            return "snoozed"
        return "acknowledged" if self.is_acknowledged else "new"

    def summary(self, now_s: float) -> HandlingSummary:
        """Sum it up; there is an action."""
        last = self.actions[-1]
        until = self.snoozed_until_s if self.snoozed_until_s > now_s else None
        return HandlingSummary(
            self.version, self.status(now_s), self.assignee, self.label, until, self.comments, last.by, last.at
        )

    def has(self, action_id: str) -> bool:
        """Tell whether an action counts."""
        return any(action.action_id == action_id for action in self.actions)

    def take(self, action: Action) -> None:
        """Take an action that counts where it was based on what stands, and was not taken before."""
        if action.version != self.version or self.version >= MOST_ACTIONS or self.has(action.action_id):
            return
        self.actions.append(action)
        match action.do:
            case Acknowledge():
                self.is_acknowledged, self.snoozed_until_s = True, 0.0
            case Assign(assignee):
                self.assignee = assignee
            case Label(label):
                self.label = label
            case Comment():
                self.comments += 1
            case Snooze(until):
                self.snoozed_until_s = until
            case Reopen():
                self.is_acknowledged, self.snoozed_until_s = False, 0.0


NOT_HANDLED: Final = Handling()


class Handlings:
    """The handling of at most `max_episodes` episodes; the one that was changed longest ago goes first."""

    def __init__(self, max_episodes: int) -> None:
        self.evicted = 0
        self._max_episodes = max_episodes
        self._of: OrderedDict[str, Handling] = OrderedDict()

    def __getitem__(self, episode_id: str) -> Handling:
        """Return what was done about an episode; `NOT_HANDLED` where nothing was."""
        return self._of.get(episode_id, NOT_HANDLED)

    def take(self, action: Action) -> None:
        """Take the next action of the log."""
        handling = self._of.setdefault(action.episode_id, Handling())
        handling.take(action)
        self._of.move_to_end(action.episode_id)
        if len(self._of) > self._max_episodes:
            self._of.popitem(last=False)
            self.evicted += 1
