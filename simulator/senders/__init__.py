"""What stands between a vehicle and the log: devices and networks with habits. A habit is no fault.

`simulator.vehicles` says what happens; a `Senders` says what of it arrives, when, and how it is written.
"""

from simulator.senders.catalogue import CATALOGUE, HABITS, HabitBlocks, HabitMix
from simulator.senders.reporting import ReportingFleet
from simulator.senders.reports import SIGNALS, Reports
from simulator.senders.senders import Senders

__all__ = ["CATALOGUE", "HABITS", "SIGNALS", "HabitBlocks", "HabitMix", "ReportingFleet", "Reports", "Senders"]
