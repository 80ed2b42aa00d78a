"""Cells as numbers: decimal points and commas, thousands, and what stands for a missing value.

Most cells say by themselves how they are meant. "1,000" does not: `Marks`, found in a file's first lines, decide.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]

_MISSING: Final = frozenset({"", "-", "--", "–", "—", "?", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "\\n"})
_COMMA_GROUPS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_POINT_GROUPS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_DECIMAL_POINT: Final = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
# "1 000" and "1'000": blanks, narrow and wide, and the apostrophes of Switzerland.
_SPACED_GROUPS: Final = re.compile(r"[+-]?[1-9]\d{0,2}(['’ \u00a0\u2009\u202f]\d{3})+([.,]\d*)?")
_GROUP_SPACE: Final = re.compile(r"['’ \u00a0\u2009\u202f]")


class Marks(NamedTuple):
    """What a lone comma or point means before three digits."""

    decimal_comma: bool = False
    """ "1,000" is one, not a thousand."""
    point_groups: bool = False
    """ "1.000" is a thousand, not one."""


def marks_of(cells: Iterable[str], delimiter: str) -> Marks:
    """Find the marks that these cells show. Showing none, commas separate decimals unless they separate cells."""
    seen = {cell.strip() for cell in cells}
    comma_groups = [cell for cell in seen if _COMMA_GROUPS.fullmatch(cell)]
    point_groups = [cell for cell in seen if _POINT_GROUPS.fullmatch(cell)]
    decimal_commas = seen.difference(comma_groups)
    groups_by_points = any("," in cell or cell.count(".") > 1 for cell in point_groups)
    if groups_by_points or any(_DECIMAL_COMMA.fullmatch(cell) for cell in decimal_commas):
        return Marks(decimal_comma=True, point_groups=groups_by_points)
    groups_by_commas = any("." in cell or cell.count(",") > 1 for cell in comma_groups)
    points = groups_by_commas or any(_DECIMAL_POINT.fullmatch(cell) for cell in seen)
    return Marks(decimal_comma=bool(comma_groups) and delimiter != "," and not points)


def is_missing(cell: str) -> bool:
    """Tell whether a cell says that there is no value."""
    return cell.strip().lower() in _MISSING


def numbers(cells: Sequence[str], marks: Marks) -> tuple[Floats, Flags]:
    """Return the cells' finite numbers float64[R], NaN for others, and which of those are not missing, bool[R]."""
    read = _plain_numbers(cells, marks)
    unreadable = np.zeros(len(cells), bool)
    if read is None:
        # A column of words has few different ones: read each once.
        meaning = {cell: _number(cell, marks) for cell in set(cells)}
        read = np.array([meaning[cell] for cell in cells])
        wrong = {cell for cell, number in meaning.items() if math.isnan(number) and not is_missing(cell)}
        if wrong:
            unreadable = np.array([cell in wrong for cell in cells])
    infinite = np.isinf(read)
    read[infinite] = np.nan
    return read, unreadable | infinite


def _plain_numbers(cells: Sequence[str], marks: Marks) -> Floats | None:
    """Read cells that are empty or plain numbers, None where one is not."""
    if marks.point_groups:
        return None
    if marks.decimal_comma:
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        if "" not in cells:
            return np.fromiter(map(float, cells), np.float64, len(cells))
        return np.array([float(cell) if cell else math.nan for cell in cells])
    except ValueError:
        return None


def _number(cell: str, marks: Marks) -> float:
    try:
        return float(_without_groups(cell.strip(), marks).replace(",", "."))
    except ValueError:
        return math.nan


def _without_groups(cell: str, marks: Marks) -> str:
    if _SPACED_GROUPS.fullmatch(cell):
        return _GROUP_SPACE.sub("", cell)
    if _COMMA_GROUPS.fullmatch(cell) and (not marks.decimal_comma or "." in cell or cell.count(",") > 1):
        return cell.replace(",", "")
    if _POINT_GROUPS.fullmatch(cell) and (marks.point_groups or "," in cell or cell.count(".") > 1):
        return cell.replace(".", "")
    return cell
