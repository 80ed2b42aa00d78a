"""The domain's log lines, written where Serve writes a replica's own, with their fields."""

import copy
import logging

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class WithFields(logging.Handler):
    """Appends an event's fields as name=value, then hands it on: Serve's text format would leave them out."""

    def __init__(self, handlers: list[logging.Handler]) -> None:
        super().__init__()
        self._handlers = handlers

    def emit(self, record: logging.LogRecord) -> None:
        """Write one event."""
        event = copy.copy(record)
        fields = [f"{name}={value}" for name, value in record.__dict__.items() if name not in _STANDARD]
        event.msg, event.args = " ".join([record.getMessage(), *fields]), None
        for handler in self._handlers:
            if event.levelno >= handler.level:
                handler.handle(event)


def show_fleet_logs(level: int = logging.INFO) -> None:
    """Send what `fleet` logs to the handlers of this replica's Serve log."""
    fleet = logging.getLogger("fleet")
    fleet.setLevel(level)
    fleet.propagate = False
    fleet.handlers = [WithFields(logging.getLogger("ray.serve").handlers)]
