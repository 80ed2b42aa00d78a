"""Why a record is refused, in words: what was sent, shortened, and what to send instead.

Whoever reads a dead letter or a 422 has neither this code nor its libraries at hand, so no library's words are passed
on.
"""

import json
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias

Reason: TypeAlias = Literal[
    "not_utf8", "not_json", "not_an_object", "missing_field", "wrong_type", "not_finite", "bad_timestamp",
    "impossible_position", "empty", "too_large", "scoring_failed",
]  # fmt: skip
"""Why a record is no event; `fleet.records.dead_letter` says what each means."""

MOST_CHARACTERS: Final = 300  # of a sentence
_MOST_OF_WHAT_IS_WRONG: Final = 140
_SHOWN_CHARACTERS: Final = 40
_LISTED_NAMES: Final = 8


class RefusedError(Exception):
    """A record is no event: `reason` names the kind, `detail` is a sentence that ends with what to send."""

    def __init__(self, reason: Reason, wrong: str, send: str) -> None:
        super().__init__(reason, wrong)
        self.reason, self.detail = reason, sentence(wrong, send)


def sentence(wrong: str, send: str) -> str:
    """Say what is wrong and what to send instead, in at most `MOST_CHARACTERS`."""
    wrong = clipped(wrong, _MOST_OF_WHAT_IS_WRONG)
    return f"{wrong}: send {clipped(send, MOST_CHARACTERS - len(wrong) - len(': send .'))}."


def shown(value: Any) -> str:
    """Show a JSON value, shortened; what stands inside an object or an array is not shown."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "an array"
    if isinstance(value, str):
        value = value[: _SHOWN_CHARACTERS + 1]
    elif isinstance(value, int) and value.bit_length() > 128:  # where Python refuses to write it out
        return "a number of more than 38 digits"
    return clipped("".join(map(_printable, json.dumps(value, ensure_ascii=False))), _SHOWN_CHARACTERS)


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def named(name: str) -> str:
    """Show the name of a field: as it is where it is short and plain, else as a value."""
    return name if name.isidentifier() and len(name) <= _SHOWN_CHARACTERS else shown(name)


def listed(names: Iterable[str]) -> str:
    """List the first names, and say how many more there are."""
    every = list(names)
    more = f" or {len(every) - _LISTED_NAMES} more" if len(every) > _LISTED_NAMES else ""
    return ", ".join(map(named, every[:_LISTED_NAMES])) + more


def clipped(text: str, most: int) -> str:
    """Return the text, or its beginning with an ellipsis where it is longer than `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
