"""What the gateway knows of each vehicle's sender: the latest report, as the senders topic has it.

One thread at a time.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from fleet.events.fields import DEFAULT_TENANT
from fleet.records.sender import SenderSummary, decode_summary


class SenderRecord(NamedTuple):
    """One record of the senders topic."""

    key: bytes | None
    value: bytes | None


class SenderView:
    """The latest reports of at most `max_vehicles` vehicles; the one reported longest ago goes first.

    Whoever asks for a `tenant` is told of nothing else; None stands for every tenant.
    """

    def __init__(self, max_vehicles: int) -> None:
        self.unreadable = self.evicted = 0
        self._max_vehicles = max_vehicles
        # By tenant and vehicle, the latest report last.
        self._reports: OrderedDict[tuple[str, str], tuple[SenderSummary, bytes]] = OrderedDict()

    def receive(self, records: Iterable[SenderRecord]) -> None:
        """Take records of the topic; a null value removes a vehicle."""
        for key, value in records:
            if value is None:
                self._remove((key or b"").decode("utf-8", "replace"))
                continue
            try:
                summary = decode_summary(value)
            except (ValueError, RecursionError):
                self.unreadable += 1
                continue
            vehicle = summary.tenant_id or DEFAULT_TENANT, summary.vehicle_id
            self._reports[vehicle] = summary, value
            self._reports.move_to_end(vehicle)
            if len(self._reports) > self._max_vehicles:
                self._reports.popitem(last=False)
                self.evicted += 1

    def sender(self, vehicle_id: str, tenant: str | None = None) -> bytes | None:
        """Return one vehicle's report as JSON, or None where there is none.

        Without a `tenant` it is the default one's, and where that has none of this name, the latest of another.
        """
        vehicle = (tenant or DEFAULT_TENANT, vehicle_id)
        if tenant is None and vehicle not in self._reports:
            vehicle = next((known for known in reversed(self._reports) if known[1] == vehicle_id), vehicle)
        found = self._reports.get(vehicle)
        return found[1] if found else None

    def senders(
        self, limit: int, finding: str | None = None, tenant: str | None = None, vehicle_id: str | None = None
    ) -> list[bytes]:
        """Return reports as JSON, the latest first; of one vehicle, or of those with a kind of finding, where named."""
        found = (
            body
            for (whose, name), (summary, body) in reversed(self._reports.items())
            if tenant in (None, whose)
            and vehicle_id in (None, name)
            and (finding is None or finding in _kinds(summary))
        )
        return list(islice(found, limit))

    def counts(self, tenant: str | None = None) -> Counter[str]:
        """Count the vehicles with a finding, by its kind."""
        ours = (summary for (whose, _), (summary, _) in self._reports.items() if tenant in (None, whose))
        return Counter(kind for summary in ours for kind in _kinds(summary))

    def _remove(self, vehicle_id: str) -> None:
        for vehicle in [vehicle for vehicle in self._reports if vehicle[1] == vehicle_id]:
            del self._reports[vehicle]


def _kinds(summary: SenderSummary) -> set[str]:
    return {found.kind for found in summary.findings}
