"""A recording's rows as blocks of columns of text: the one reader of `fleet replay` and the backtests.

Neighbours: `files` opens, `dialect` looks at the first lines, `long_form` turns lines of single readings into rows;
`numbers` and `times` read the cells of a block.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from fleet.errors import RecordingError
from recordings.dialect import Dialect, dialect_of
from recordings.files import opened
from recordings.numbers import Marks

MOST_ROWS: Final = 10_000_000
BLOCK_ROWS: Final = 512  # their cells stay in the processor's cache: 4096 take a third longer
_SAMPLE_LINES: Final = 100
_MOST_CHARACTERS_OF_A_LINE: Final = 1_000_000


class Block(NamedTuple):
    """Up to `BLOCK_ROWS` consecutive rows as columns."""

    columns: Sequence[Sequence[str]]
    """The cells of each column of the header, R each."""
    first: int
    """How many rows stand before them."""
    surplus: Sequence[int]
    """R: how many cells the row has more than the header (negative: fewer, which are empty here)."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A recording that is being read: one row for each moment of a vehicle."""

    path: Path
    form: str
    """What the file was taken for, in a few words."""
    header: Sequence[str]
    marks: Marks
    blocks: Iterator[Block]
    units: Mapping[str, str] = field(default_factory=dict)
    """Column -> unit, where the file says it beside the name."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Reason -> lines that are no rows; known when all blocks are read."""

    def described(self, times: str) -> str:
        """Say what the file was taken for, and which of its lines are no rows; `times` says it of its times."""
        passed_over = [f"lines passed over: {count:,} ({reason})" for reason, count in self.passed_over.most_common()]
        return ", ".join(filter(None, [self.form, times, *passed_over]))


@contextmanager
def opened_rows(path: Path) -> Iterator[Rows]:
    """Open a recording; its blocks are read while the context lasts.

    Raises RecordingError: the file cannot be read, has no header, or is larger than 10 million rows.
    """
    with opened(path) as (text, encoding):
        sample = list(islice(_lines(path, text), _SAMPLE_LINES))
        dialect = dialect_of(sample)
        header = _header(path, dialect)
        lines = chain(sample[dialect.header_line :], text)
        passed_over: Counter[str] = Counter()
        reader = csv.reader(lines, delimiter=dialect.delimiter)
        blocks = _blocks(path, reader, dialect.header, passed_over)
        yield Rows(path, dialect.describe(encoding), header, dialect.marks, blocks, passed_over=passed_over)


def place_of(rows: Rows, column: str, role: str) -> int:
    """Return where a column stands in the header. Raises RecordingError where it is missing or stands there twice."""
    count = rows.header.count(column)
    if count == 1:
        return rows.header.index(column)
    what = "has no column" if not count else f"has {count} columns"
    raise RecordingError(f"{rows.path} {what} {column!r} for the {role}; its columns are {names_of(rows.header)}.")


def names_of(header: Sequence[str]) -> str:
    """Return the names of columns for a sentence, at most 30."""
    return ", ".join(header[:30]) + (", …" if len(header) > 30 else "")


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    while line := text.readline(_MOST_CHARACTERS_OF_A_LINE):
        if len(line) == _MOST_CHARACTERS_OF_A_LINE:
            raise RecordingError(f"{path} has a line of a million characters: name a CSV file.")
        yield line


def _header(path: Path, dialect: Dialect) -> list[str]:
    header = [cell.strip() for cell in dialect.header]
    if not any(header):
        raise RecordingError(f"{path} has no header: its first line must name the columns.")
    header[0] = header[0].lstrip("#/ ")  # of a header that is a comment
    return header


def _blocks(path: Path, reader: Iterator[list[str]], header: list[str], passed_over: Counter[str]) -> Iterator[Block]:
    """Yield the rows below the header."""
    next(reader)
    first = 0
    while lines := list(islice(reader, BLOCK_ROWS)):
        rows = _rows(lines, header, passed_over)
        if first + len(rows) > MOST_ROWS:
            raise RecordingError(f"{path} has more than {MOST_ROWS:,} rows: split it into several files.")
        surplus = [len(row) - len(header) for row in rows]
        if any(surplus):
            surplus = [_fit(row, len(header)) for row in rows]
        if rows:
            yield Block(list(zip(*rows, strict=True)), first, surplus)
            first += len(rows)


def _rows(lines: list[list[str]], header: list[str], passed_over: Counter[str]) -> list[list[str]]:
    """Leave out blank lines, and the header where it is repeated in the middle, as where files were joined."""
    rows = lines if all(map(any, lines)) else [row for row in lines if any(row)]
    if header not in rows:
        return rows
    passed_over["header repeated"] += rows.count(header)
    return [row for row in rows if row != header]


def _fit(row: list[str], width: int) -> int:
    """Give a row the header's width; returns how many cells it had more, not counting empty ones at its end."""
    while len(row) > width and not row[-1].strip():
        row.pop()
    surplus = len(row) - width
    row[width:] = [""] * -surplus
    return surplus
