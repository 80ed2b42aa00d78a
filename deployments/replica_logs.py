"""The domain's log lines, written where Serve writes a replica's own."""

import logging


def show_fleet_logs(level: int = logging.INFO) -> None:
    """Send what `fleet` logs to the handlers of this replica's Serve log."""
    fleet = logging.getLogger("fleet")
    fleet.setLevel(level)
    fleet.propagate = False
    fleet.handlers = logging.getLogger("ray.serve").handlers
