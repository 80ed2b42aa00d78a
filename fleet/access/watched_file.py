"""A file that says who may come in: read again when it changes, and refused where others could have written it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from fleet.errors import SettingsError

MOST_BYTES: Final = 4_194_304
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_Version = tuple[int, int, int]
BookT = TypeVar("BookT")


class Sentences(NamedTuple):
    """What is said of the file."""

    missing: str
    """What to do where it is not there."""
    too_large: str
    """What to do where it is too large."""


class WatchedFile(Generic[BookT]):
    """What `parse` makes of a file's content. Not for several threads at once."""

    def __init__(self, path: Path, parse: Callable[[bytes], BookT], sentences: Sentences) -> None:
        self.path = path
        self._parse, self._sentences = parse, sentences
        self._version: _Version | None = None
        self._book: BookT | None = None

    def read(self) -> BookT:
        """Return what the file holds now. Raises SettingsError where it is missing, unsafe or cannot be read."""
        try:
            found = self.path.stat()
            version = (found.st_mtime_ns, found.st_ino, found.st_size)
            if self._book is None or version != self._version:
                self._book = self._read(found)
                self._version = version
        except FileNotFoundError:
            raise SettingsError(f"There is no file at {self.path}: {self._sentences.missing}") from None
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be read: {error.strerror}.") from None
        return self._book

    def _read(self, found: os.stat_result) -> BookT:
        if found.st_mode & _WRITABLE_BY_OTHERS:
            raise SettingsError(f"Others than its owner may write to {self.path}: run `chmod go-w` on it.")
        if found.st_size > MOST_BYTES:
            raise SettingsError(f"{self.path} is larger than {MOST_BYTES} bytes: {self._sentences.too_large}")
        try:
            return self._parse(self.path.read_bytes())
        except SettingsError as wrong:
            raise SettingsError(f"{self.path}: {wrong}") from None
