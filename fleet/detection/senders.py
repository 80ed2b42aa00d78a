"""What has been learnt of each vehicle's sender, said now and then.

On the event's way this stands beside the windows: they learn a sender's rhythm, delay, clock, resolutions and missing
signals to judge its events, and this says it to whoever looks after the devices. Each vehicle that was heard has its
turn once in `every_s` seconds of the log's time, one after the other, so that reports come evenly.
"""

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from fleet.detection.features import FeaturePlan
from fleet.detection.past.memory import CHANGES_TO_TRUST, GRIDS
from fleet.detection.past.records import FITTED, MOVES, STANDS
from fleet.detection.windows import VehicleWindows
from fleet.records.sender import Finding, SenderReport, SignalHealth

# What is odd, and from how many events on it is said.
FEWEST_EVENTS: Final = 20
FEWEST_FILLINGS: Final = 4
ODD_SHARE_OF_REPEATS: Final = 0.05
ODD_SHARE_OF_DEAD_LETTERS: Final = 0.01
ODD_DELAY_S: Final = 60.0
RIGHT_CLOCK_S: Final = 5.0
# Speeds in other units than km/h, as what one kilometre per hour reads there.
SPEED_UNITS: Final = {"knots": 1 / 1.852, "mph": 1 / 1.609344, "m/s": 1 / 3.6}
SAME_UNIT: Final = 0.06  # of the ratio: a speed and positions are never quite the same
MOST_KEYS: Final = 10_000
"""Keys whose dead letters are counted; the one that was rejected longest ago goes first."""


class SenderReports:
    """Says of one partition's senders what has been learnt, each once in `every_s` seconds of the log's time."""

    def __init__(self, windows: VehicleWindows, every_s: float) -> None:
        self._windows, self._every_s = windows, every_s
        self._turns_done: int | None = None
        self._tenants: dict[str, str] = {}
        self._rejected: OrderedDict[str, int] = OrderedDict()

    def heard(self, vehicle_ids: Sequence[str], tenant_ids: Sequence[str | None]) -> None:
        """Note whose vehicles these are."""
        if tenant_ids.count(None) < len(tenant_ids):
            pairs = zip(vehicle_ids, tenant_ids, strict=True)
            self._tenants.update((vehicle_id, tenant) for vehicle_id, tenant in pairs if tenant is not None)

    def rejected(self, key: bytes | None) -> None:
        """Note that a record under this key could not be read; its key is the vehicle, if it is anything."""
        try:
            vehicle_id = (key or b"").decode()
        except UnicodeDecodeError:
            return
        if vehicle_id:
            self._rejected[vehicle_id] = self._rejected.pop(vehicle_id, 0) + 1
            if len(self._rejected) > MOST_KEYS:
                self._rejected.popitem(last=False)

    def due(self, now_s: float) -> list[SenderReport]:
        """Return the reports whose turn has come by the log's time, Unix seconds."""
        turn, last = math.floor(now_s), self._turns_done
        self._turns_done = turn if last is None else max(turn, last)
        if last is None or turn <= last:
            return []
        self._forget_tenants()
        slots = math.ceil(self._every_s)
        reports = []
        for slot in {passed % slots for passed in range(max(last, turn - slots) + 1, turn + 1)}:
            for vehicle_id, row in self._windows.heard_since(now_s - slots, slot, slots):
                reports.append(self._report(vehicle_id, row, now_s))
        return reports

    def _forget_tenants(self) -> None:
        if len(self._tenants) > 2 * len(self._windows):
            self._tenants = {name: whose for name, whose in self._tenants.items() if name in self._windows}

    def _report(self, vehicle_id: str, row: int, now_s: float) -> SenderReport:
        past = self._windows.past_of(row)
        clock, dead = past.clocks, self._rejected.get(vehicle_id, 0)
        signals = dict(_signals(self._windows.plan, past))
        moving_s, standing_s = (_usual_s(past.rhythms[state]) for state in (MOVES, STANDS))
        return SenderReport(
            vehicle_id=vehicle_id,
            tenant_id=self._tenants.get(vehicle_id),
            reported_at=now_s,
            events=int(clock["received"]),
            repeats=int(clock["repeats"]),
            late=int(clock["late"]),
            dead_letters=dead,
            interval=_rounded(moving_s),
            interval_standing=_rounded(standing_s),
            delay=_rounded(float(clock["lag_s"])),
            clock_behind=_rounded(float(clock["off_s"])) or 0.0,
            signals=signals,
            findings=list(findings(self._windows.plan, past, dead)),
        )


def _usual_s(rhythm: Any) -> float | None:
    return math.exp(rhythm["log_interval"]) if rhythm["intervals"] else None


def _signals(plan: FeaturePlan, past: Any) -> Iterator[tuple[str, SignalHealth]]:
    names = plan.spec.field_names
    for number, channel in enumerate(plan.remembered):
        formula, field = plan.sources[channel][:2]
        if formula == 0:
            yield names[field], _signal(past.memories[number])


def _signal(memory: Any) -> SignalHealth:
    events, absent = memory["events"].sum(), memory["absent"].sum()
    sent = (memory["seen_rate"] * memory["events"]).sum() / (events + absent) if events else 0.0
    grid, is_trusted = GRIDS[int(memory["grid"])], memory["changes"] >= CHANGES_TO_TRUST
    resolution = max(grid, float(memory["least_step"])) if is_trusted else None
    return SignalHealth(round(float(min(sent, 1.0)), 3), _rounded(resolution))


def findings(plan: FeaturePlan, past: Any, dead_letters: int) -> Iterator[Finding]:
    """Say what is odd about a sender, by one vehicle's remembered `past` and the dead letters under its key."""
    clock = past.clocks
    events, speed = int(clock["received"]), plan.spec.field_names[plan.motion] if plan.motion >= 0 else None
    if clock["speed_ratio"] not in (0.0, 1.0):
        yield Finding("unit", speed, unit_sentence(str(speed), 1.0 / float(clock["speed_ratio"])))
    for name, fillings in zip(plan.spec.field_names, past.fillings, strict=True):
        if FEWEST_FILLINGS <= fillings < FITTED:
            yield Finding("absent", name, f"{name} has never been anything but what firmware sends without a sensor.")
    if abs(off_s := float(clock["off_s"])) > RIGHT_CLOCK_S:
        yield Finding("clock", None, f"Its clock was set {abs(off_s):,.0f} s {'back' if off_s > 0 else 'ahead'}.")
    if (delay_s := float(clock["lag_s"])) > ODD_DELAY_S and abs(off_s) <= RIGHT_CLOCK_S:
        yield Finding("delay", None, f"Its events usually come {delay_s:,.0f} s after they were measured.")
    if events >= FEWEST_EVENTS and clock["repeats"] > ODD_SHARE_OF_REPEATS * events:
        yield Finding("repeats", None, f"{clock['repeats'] / events:.0%} of its events were sent before.")
    if dead_letters > ODD_SHARE_OF_DEAD_LETTERS * (events + dead_letters):
        yield Finding("deadLetters", None, f"{dead_letters:,} of its records could not be read.")


def unit_sentence(signal: str, ratio: float) -> str:
    """Say that a speed is `ratio` of what positions say, and in which unit it may be."""
    likely = next((unit for unit, there in SPEED_UNITS.items() if abs(ratio / there - 1.0) < SAME_UNIT), None)
    asks = f" Is it in {likely}?" if likely else ""
    return f"{signal} is {ratio:.2f} of what its positions say.{asks}"


def _rounded(number: float | None) -> float | None:
    """Keep four digits: more were never learnt."""
    return None if number is None or not math.isfinite(number) else float(f"{number:.4g}")
