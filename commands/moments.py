"""How a moment is written on the command line: ISO-8601, or so long ago."""

import re
import time
from datetime import UTC, datetime

import typer

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_ago = re.compile(r"(\d+(?:\.\d+)?)([smhd])").fullmatch


def moment_s(text: str) -> float:
    """Read a moment as Unix seconds: `90s`, `15m`, `2h`, `3d` ago, or ISO-8601 (without a zone it is UTC).

    Raises typer.BadParameter.
    """
    if match := _ago(text):
        return time.time() - float(match[1]) * _SECONDS[match[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no moment: give ISO-8601 (2026-11-24T02:00Z), or 2h for two hours ago."
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def as_text(moment_s: float) -> str:
    """Write a moment so that `--since` can read it again."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
