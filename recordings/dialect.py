"""Which characters separate a file's cells and decimals, and which line names its columns, by its first lines.

Python's `csv.Sniffer` is not used: it takes the comma of decimals, or a letter, for the delimiter.
"""

import csv
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from recordings.numbers import Marks, marks_of

_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
_COMMENTS: Final = ("#", "//", "sep=")


class Dialect(NamedTuple):
    """How a file's lines become cells."""

    delimiter: str
    marks: Marks
    header_line: int
    """How many lines come before the one that names the columns."""
    header: list[str]
    """The cells of that line, as they came; empty where there is none."""

    def describe(self, encoding: str) -> str:
        """Say it in a few words."""
        parts = [_DELIMITERS[self.delimiter]]
        if self.marks.decimal_comma:
            parts.append("decimal commas")
        if self.header_line:
            parts.append(f"header in line {self.header_line + 1}")
        return ", ".join([*parts, encoding])


class _Row(NamedTuple):
    first_line: int
    cells: list[str]

    @property
    def is_comment(self) -> bool:
        return self.cells[0].lstrip().lower().startswith(_COMMENTS)


def dialect_of(lines: Sequence[str]) -> Dialect:
    """Tell the dialect of a file by its first lines."""
    tables = {delimiter: _rows(lines, delimiter) for delimiter in _DELIMITERS}
    delimiter = max(tables, key=lambda one: _regularity(tables[one]))
    table = tables[delimiter]
    place = _header_place(table)
    if place is None:
        return Dialect(delimiter, Marks(), 0, [])
    cells = (cell for row in table[place + 1 :] for cell in row.cells)
    return Dialect(delimiter, marks_of(cells, delimiter), table[place].first_line, table[place].cells)


def _rows(lines: Sequence[str], delimiter: str) -> list[_Row]:
    """Split lines into rows, blank ones left out."""
    reader, rows, first_line = csv.reader(lines, delimiter=delimiter), [], 0
    for cells in reader:
        if any(cell.strip() for cell in cells):
            rows.append(_Row(first_line, cells))
        first_line = reader.line_num
    return rows


def _regularity(rows: Sequence[_Row]) -> tuple[int, int]:
    """Return how many rows have the table's width, and that width: the right delimiter makes a regular table."""
    width = _width(rows)
    return (sum(len(row.cells) == width for row in rows), width) if width > 1 else (0, 0)


def _width(rows: Sequence[_Row]) -> int:
    """Return how many cells most rows have, among those that have several; the first ones where it is a draw."""
    widths = Counter(len(row.cells) for row in rows if len(row.cells) > 1 and not row.is_comment)
    return widths.most_common(1)[0][0] if widths else 1


def _header_place(rows: Sequence[_Row]) -> int | None:
    """Find the header: the first row that is as wide as the table and no comment."""
    width = _width(rows)
    # Some loggers end every row but the header with a delimiter.
    ends_empty = width > 2 and all(not row.cells[-1].strip() for row in rows if len(row.cells) == width)
    wide = [place for place, row in enumerate(rows) if len(row.cells) >= width - ends_empty and not row.is_comment]
    if not wide:
        return None
    before = wide[0] - 1
    return before if before >= 0 and _is_commented_header(rows[before], rows[wide[0]]) else wide[0]


def _is_commented_header(row: _Row, next_row: _Row) -> bool:
    """Tell whether a comment names the columns ("# time,speed"): it is as wide as the row of data after it."""
    return row.is_comment and len(row.cells) == len(next_row.cells) and any(map(_is_number, next_row.cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
