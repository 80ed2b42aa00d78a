"""Randomness that belongs to a vehicle: a hash of (seed, vehicle index, purpose, occasion).

Every part of the simulator draws from it, so a vehicle does the same whatever range of the fleet a process owns. A
generator with a state would tie a vehicle's draws to its neighbours'.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Indices: TypeAlias = npt.NDArray[np.intp]
Words: TypeAlias = npt.NDArray[np.uint64]

LARGEST_NORMAL: Final = 3.4642  # of `VehicleRandomness.normals`: 2 √3

_ODD = np.uint64(0x9E37_79B9_7F4A_7C15)


class VehicleRandomness:
    """Draws for vehicles `first` to `first + count - 1` of the fleet that `seed` describes."""

    def __init__(self, seed: int, first: int, count: int) -> None:
        self.count = count
        index = np.arange(first, first + count, dtype=np.uint64)
        self._key = _mixed(index * _ODD + _mixed(np.array([seed & 0xFFFF_FFFF_FFFF_FFFF], np.uint64)))

    def uniforms(self, purpose: bytes, rows: int, occasion: Words | None = None, who: Indices | None = None) -> Floats:
        """Draw float64[rows, n] in [0, 1): the same for the same seed, vehicle, purpose and occasion.

        `occasion` is uint64[count] or uint64[1]; `who` selects vehicles. A purpose has at most 8 letters.
        """
        words = _hashed(self._keys(occasion, who), purpose, rows)
        uniforms: Floats = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return uniforms

    def normals(self, purpose: bytes, rows: int, occasion: Words) -> Floats:
        """Draw float64[rows, count], nearly normal and within ±3.47: sums of four 16-bit uniforms (Irwin-Hall)."""
        words = _hashed(self._keys(occasion, None), purpose, rows)
        quarter = np.uint64(0xFFFF)
        sums = (words & quarter) + (words >> np.uint64(16) & quarter)
        sums += (words >> np.uint64(32) & quarter) + (words >> np.uint64(48))
        normals: Floats = (sums.astype(np.float64) - 2 * 65_535) * (3.0**0.5 / 65_536)
        return normals

    def _keys(self, occasion: Words | None, who: Indices | None) -> Words:
        key = self._key if who is None else self._key[who]
        if occasion is None:
            return key
        return key ^ _mixed(occasion if who is None or len(occasion) == 1 else occasion[who])


def _hashed(key: Words, purpose: bytes, rows: int) -> Words:
    salt = np.uint64(int.from_bytes(purpose.ljust(8), "little"))
    streams = _mixed(np.arange(1, rows + 1, dtype=np.uint64) * _ODD + salt)
    return _mixed(key[None, :] + streams[:, None])


def _mixed(words: Words) -> Words:
    """Scramble 64-bit words (the finaliser of SplitMix64: Steele, Lea, Flood, OOPSLA 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return words ^ (words >> np.uint64(31))
