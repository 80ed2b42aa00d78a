"""What was known before a silence, for what comes late of it.

A vehicle that was out of reach sends what it has measured meanwhile when it is back, often between live events. Such an
event goes on from the past before the silence, and not from the present. So a silence leaves a copy of the past behind,
in a row of its own: one for each vehicle, of its latest long silence, as far as there are free rows.
"""

from typing import Any, Final

from fleet.detection.compiled import compiled
from fleet.detection.past.clock import usual_interval_s

# A silence is long from so many of a sender's usual intervals on, and from so many seconds.
LONG_INTERVALS: Final = 3.0
LONG_S: Final = 5.0


@compiled
def row_to_go_on_from(vehicles: Any, row: int, time_s: float, appended_s: float, horizon_s: float) -> int:
    """Return the row of an event's past: its vehicle's own, or the one before the silence that the event is from.

    What comes newest first goes on from nothing that is known.
    """
    own = vehicles.clocks[row]
    kept = int(own.late_row) - 1
    if kept < 0 or not time_s < own.latest_s:
        return row
    known = vehicles.clocks[kept]
    if known.late_of != row + 1.0:  # its row was needed for another vehicle
        own.late_row = 0.0
        return row
    usual_s = usual_interval_s(vehicles.rhythms[kept][int(known.state)])
    follows = time_s - known.late_last_s > 0.0 and not is_long(time_s - known.late_last_s, usual_s)
    known.late_last_s = time_s
    now_s = appended_s if appended_s == appended_s else own.latest_s
    is_of_silence = known.latest_s < time_s < known.late_until_s and now_s - time_s <= horizon_s
    return kept if is_of_silence and follows else row


@compiled
def is_long(silence_s: float, usual_s: float) -> bool:
    """Say whether a sender that reports every `usual_s` seconds, 0 = unknown, may have measured something meanwhile."""
    return bool(usual_s > 0.0 and silence_s > max(LONG_INTERVALS * usual_s, LONG_S))


@compiled
def keep(vehicles: Any, free_rows: Any, taken: Any, row: int, until_s: float) -> None:
    """Leave a vehicle's past behind for what comes of its silence, which ends at `until_s`.

    One that waits for more than that stays.
    """
    own = vehicles.clocks[row]
    kept = int(own.late_row) - 1
    if kept >= 0 and vehicles.clocks[kept].late_of == row + 1.0:
        known = vehicles.clocks[kept]
        if known.late_until_s - known.latest_s > until_s - own.latest_s:
            return
    elif taken[0] < len(free_rows):
        kept = free_rows[taken[0]]
        taken[0] += 1
    else:
        return
    own.late_row = kept + 1.0
    _copy(vehicles, row, kept)
    known = vehicles.clocks[kept]
    known.late_row, known.late_of = 0.0, row + 1.0
    known.late_until_s, known.late_last_s = until_s, known.latest_s


@compiled
def _copy(vehicles: Any, row: int, into: int) -> None:
    vehicles.clocks[into] = vehicles.clocks[row]
    for state in range(vehicles.rhythms.shape[1]):
        vehicles.rhythms[into, state] = vehicles.rhythms[row, state]
    for m in range(vehicles.memories.shape[1]):
        vehicles.memories[into, m] = vehicles.memories[row, m]
    vehicles.signals[into] = vehicles.signals[row]
