"""The file of tokens: read again when it changes, and written whole, so that a reader never sees half of it."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fleet.access.tokens import StoredToken, TokenBook, read_book, write_book
from fleet.access.watched_file import Sentences, WatchedFile
from fleet.errors import SettingsError


class TokenFile:
    """The tokens of a file. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        sentences = Sentences(
            "make a first token with `fleet token create`, or correct auth.token_file.",
            "revoke tokens that have expired.",
        )
        self._file = WatchedFile(path, read_book, sentences)

    def book(self) -> TokenBook:
        """Return what the file holds now. Raises SettingsError where it is missing, unsafe or no file of tokens."""
        return self._file.read()

    def add(self, token: StoredToken) -> None:
        """Add a token; the file is made where there is none. Raises SettingsError."""
        self._change(lambda tokens: [*tokens, token])

    def revoke(self, token_id: str) -> bool:
        """Remove a token. Returns False where there is none of this ID. Raises SettingsError."""
        known = token_id in [token.id for token in self.book().tokens]
        self._change(lambda tokens: [token for token in tokens if token.id != token_id])
        return known

    def _change(self, change: Callable[[list[StoredToken]], list[StoredToken]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.parent):
                before = self.book().tokens if self.path.exists() else []
                _replace(self.path, write_book(TokenBook(change(before))))
        except OSError as error:
            raise SettingsError(f"The tokens cannot be written to {self.path}: {error.strerror}.") from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other commands from changing a file of this folder at the same time."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read, and put it into place at once."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
