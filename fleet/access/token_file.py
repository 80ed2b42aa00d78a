"""The file of tokens: read again when it changes, and written whole, so that a reader never sees half of it."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fleet.access.tokens import StoredToken, TokenBook, read_book, write_book
from fleet.errors import SettingsError

MOST_BYTES: Final = 4_194_304
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_Version = tuple[int, int, int]


class TokenFile:
    """The tokens of a file. Not for several threads at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version: _Version | None = None
        self._book = TokenBook()

    def book(self) -> TokenBook:
        """Return what the file holds now. Raises SettingsError where it is missing, unsafe or no file of tokens."""
        try:
            found = self.path.stat()
            version = (found.st_mtime_ns, found.st_ino, found.st_size)
            if version != self._version:
                self._book = self._read(found)
                self._version = version
        except FileNotFoundError:
            raise SettingsError(
                f"There is no file of tokens at {self.path}: make a first token with `fleet token create`, "
                "or correct auth.token_file."
            ) from None
        except OSError as error:
            raise SettingsError(f"The tokens in {self.path} cannot be read: {error.strerror}.") from None
        return self._book

    def _read(self, found: os.stat_result) -> TokenBook:
        if found.st_mode & _WRITABLE_BY_OTHERS:
            raise SettingsError(f"Others than its owner may write to {self.path}: run `chmod go-w` on it.")
        if found.st_size > MOST_BYTES:
            raise SettingsError(f"{self.path} is larger than {MOST_BYTES} bytes: revoke tokens that have expired.")
        try:
            return read_book(self.path.read_bytes())
        except SettingsError as wrong:
            raise SettingsError(f"{self.path}: {wrong}") from None

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
