"""The scores of a recording as a CSV file, one row per row."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, TypeAlias

import numpy as np
import numpy.typing as npt

from fleet.errors import RecordingError
from training.backtesting.recordings import Recordings
from training.backtesting.scoring import Scored

Features: TypeAlias = npt.NDArray[np.float32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Say: TypeAlias = Callable[[str], None]


def write_scores(path: Path, header: tuple[str, str], recordings: Recordings, scored: Scored, threshold: float) -> None:
    """Write one row per row of the recording, in its order; gzipped where the name ends in .gz.

    `header` are the names of its columns for time and vehicle. Raises RecordingError where it cannot be written.
    """
    verdicts = scored.verdicts
    rows = zip(
        recordings.time_text,
        recordings.vehicle_text,
        (f"{error:.6g}" for error in verdicts.reconstruction_error.tolist()),
        (f"{threshold:.6g}" for _ in range(len(recordings))),
        verdicts.is_anomaly.astype(np.int64).tolist(),
        (f"{severity:.6g}" for severity in verdicts.severity.tolist()),
        verdicts.causes,
        scored.episode,
        strict=True,
    )
    names = (*header, "score", "threshold", "is_anomaly", "severity", "reason", "episode")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _writing(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(rows)  # None, where nothing is wrong, is written as an empty cell
    except OSError as refusal:
        raise RecordingError(f"{path} cannot be written ({refusal.strerror}): give --out another place.") from None


def _writing(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path, "wb", compresslevel=4), encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")
