"""Loops over events that are compiled: what depends on the event before it has no columns to work on."""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import numba

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_ROOM: Final = Path(__file__).parent
_PREFIX: Final = "compiled-"
_UNUSED_S: Final = 86_400.0


def _folder_of_these_sources() -> Path | None:
    """Return where to keep what is compiled, under a name that follows all sources of this room; None for nowhere.

    By itself numba follows changes of a function's own file, and not of the files of what it calls; and it refuses to
    compile where it may not write, as in a container whose root is read-only.
    """
    sources = sorted(_ROOM.rglob("*.py"))
    name = _PREFIX + hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    # In a folder that everybody writes to, a name of one's own: what is kept there is code.
    for place in (_ROOM / "__pycache__", Path(tempfile.gettempdir()) / f"fleet-{os.getuid()}"):
        if _is_ours_to_write(place):
            _remove_unused(place, kept=name)
            return place / name
    return None


def _is_ours_to_write(place: Path) -> bool:
    """Whether this user can write there, made now if need be, and no other user can."""
    try:
        place.mkdir(mode=0o755, exist_ok=True)
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.getuid(), 0) or found.st_mode & stat.S_IWOTH:
            return False
        with tempfile.TemporaryFile(dir=place):
            return True
    except OSError:
        return False


def _remove_unused(place: Path, kept: str) -> None:
    """Remove what was compiled from other sources and not used for a day; a checkout may go back and forth."""
    with contextlib.suppress(OSError):  # another process may be removing the same
        (place / kept).mkdir(exist_ok=True)
        os.utime(place / kept)
        for folder in place.glob(f"{_PREFIX}*"):
            if folder.name != kept and folder.stat().st_mtime < time.time() - _UNUSED_S:
                shutil.rmtree(folder, ignore_errors=True)


if not numba.config.CACHE_DIR:
    numba.config.CACHE_DIR = str(_folder_of_these_sources() or "")
_IS_KEPT: Final = bool(numba.config.CACHE_DIR)


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a function of numbers and arrays; the result is kept on disk from one start to the next.

    Division by zero gives infinity, as in numpy. Other threads run meanwhile.
    """
    fast: Callable[Arguments, Result] = numba.njit(cache=_IS_KEPT, nogil=True, error_model="numpy")(function)
    return fast
