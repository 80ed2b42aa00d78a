"""Dataclasses whose fields are columns: cut, picked and joined by row, whatever the fields are.

Arrays and lists are columns, with a value by row; any other field belongs to the whole block and stays as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

_COLUMN: Final = (np.ndarray, list)


class Columns:
    """Base of a columnar dataclass with two fields or more."""

    __slots__ = ()

    def rows(self, start: int, end: int) -> Self:
        """Return a run of the rows."""
        run = slice(start, end)
        return type(self)(*[value[run] if isinstance(value, _COLUMN) else value for value in _values_of(self)])

    def picked(self, places: npt.NDArray[np.intp]) -> Self:
        """Return the rows of these indices, in their order."""
        return type(self)(*[_picked(value, places) for value in _values_of(self)])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return consecutive blocks, one at least, as one; what belongs to the whole block is the first one's."""
        return cls(*map(_joined, zip(*map(_values_of, parts), strict=True)))


def _values_of(block: Any) -> tuple[Any, ...]:
    kind: Any = type(block)
    return _getter(kind)(block)


@cache
def _getter(kind: Any) -> Callable[[Any], tuple[Any, ...]]:
    values: Callable[[Any], tuple[Any, ...]] = attrgetter(*(field.name for field in fields(kind)))
    return values


def _picked(value: Any, places: npt.NDArray[np.intp]) -> Any:
    if isinstance(value, np.ndarray):
        return value[places]
    return [value[place] for place in places.tolist()] if isinstance(value, list) else value


def _joined(values: tuple[Any, ...]) -> Any:
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return list(chain.from_iterable(values)) if isinstance(values[0], list) else values[0]
