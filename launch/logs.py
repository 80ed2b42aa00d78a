"""What a part said last: an error shows it, because the log may be gone by the time that somebody looks for it."""

from pathlib import Path

LINES = 15


def end_of(log: Path, lines: int = LINES) -> str:
    """Return the last lines of a log, below a line that names it."""
    try:
        last = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError as error:
        return f"{log.parent.name}/{log.name} cannot be read: {error.strerror}"
    return "\n".join((f"The end of {log.parent.name}/{log.name}:", *last))
