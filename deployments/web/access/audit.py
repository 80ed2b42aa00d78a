"""The audit log: who signed in, who was refused, and which tokens came and went; never a token itself."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

# Refusals cost a stranger nothing: beyond so many lines a second they are counted, not written.
MOST_LINES_PER_S: Final = 20

logger = logging.getLogger("fleet.audit")


class Names(Protocol):
    """Tokens or keys, by names that are no secret."""

    @property
    def names(self) -> Sequence[str]:
        """Return the names."""


class AuditLog:
    """Writes events with fields, at most `MOST_LINES_PER_S`; what was left out stands in the next line."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.refused = 0
        self._now_s = now_s
        self._second = self._lines = self._left_out = 0

    def signed_in(self, token_id: str | None, name: str, address: str) -> None:
        """Note that a browser signed in."""
        self._write("signed_in", token=token_id, user=name, address=address)

    def refuse(self, reason: str, user: str, path: str, address: str) -> None:
        """Count and note a refusal; `user` is empty where nobody knows who it was."""
        self.refused += 1
        self._write("refused", reason=reason, user=user, path=path[:200], address=address)

    def changed(self, before: "Names", now: "Names") -> None:
        """Note which tokens, or which keys of an issuer, came and went."""
        was, is_now = set(before.names), set(now.names)
        if was != is_now:
            self._write("tokens_changed", added=_listed(is_now - was), revoked=_listed(was - is_now))

    def _write(self, event: str, **fields: object) -> None:
        if (second := int(self._now_s())) != self._second:
            self._second, self._lines = second, 0
        if self._lines >= MOST_LINES_PER_S:
            self._left_out += 1
            return
        self._lines += 1
        if self._left_out:
            fields["left_out"], self._left_out = self._left_out, 0
        # A line break in a path would begin a line of its own.
        logger.info(event, extra={name: repr(value) for name, value in fields.items()})


def _listed(ids: Collection[str]) -> str:
    return ",".join(sorted(ids)[:20])
