"""An interpreter that Ray can start its processes with.

Ray 2.60 starts its client server by an unquoted path, and the loader cuts LD_PRELOAD, by which Ray loads jemalloc, at
spaces. Both paths follow from the interpreter's own.
"""

import shlex
import sys
from pathlib import Path

from fleet.errors import LocalServiceError

LINK = "environment"


def ray_interpreter(folder: Path, executable: Path = Path(sys.executable), prefix: Path = Path(sys.prefix)) -> Path:
    """Return the path of this interpreter; where a shell would not take it as one word, by a link made in `folder`.

    Raises LocalServiceError when the folder's own path is no better.
    """
    if _is_one_word(executable):
        return executable
    if not _is_one_word(folder):
        raise LocalServiceError(
            f"Ray cannot start from {prefix}: its path has spaces or characters that a shell reads. A link in {folder} "
            "is no way around it: set TMPDIR to a folder without them, or move the project."
        )
    link = folder / LINK
    if not link.is_symlink():
        link.symlink_to(prefix, target_is_directory=True)
    return link / executable.relative_to(prefix)


def _is_one_word(path: Path) -> bool:
    return shlex.quote(str(path)) == str(path)
