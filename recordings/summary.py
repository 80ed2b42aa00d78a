"""What a recording was taken for, in one line."""

import numpy as np

from recordings.numbers import Floats, Indices


def summary(form: str, vehicle: Indices, time_s: Floats) -> str:
    """Say a file's form and how many vehicles and rows it has at which rate, of vehicle intp[R], time_s float64[R]."""
    vehicles = len(np.unique(vehicle))
    counts = f"{vehicles:,} vehicle{'s' * (vehicles != 1)}, {len(time_s):,} rows"
    interval_s = usual_interval_s(vehicle, time_s)
    return f"{form}; {counts}" + (f", {_rate(interval_s)}" if interval_s else "")


def usual_interval_s(vehicle: Indices, time_s: Floats) -> float | None:
    """Return the median step from row to row within vehicles, None where there is none."""
    order = np.lexsort((time_s, vehicle))
    step_s = np.diff(time_s[order])
    step_s = step_s[(np.diff(vehicle[order]) == 0) & (step_s > 0)]
    return float(np.median(step_s)) if len(step_s) else None


def _rate(interval_s: float) -> str:
    return f"{1 / interval_s:,.2g} Hz" if interval_s < 2 else f"a row every {interval_s:,.3g} s"
