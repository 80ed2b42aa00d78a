"""Ports for a system that is to be started, killed and started again on them.

The kernel's free ports are no use: it gives them to outgoing connections too, so that one is taken by the time a part
binds it, or while its part is down.
"""

import random
import socket

from fleet.errors import LocalServiceError
from simulator.local_kafka import HOST

# Above the ports of Ray's workers, below those of Serve's replicas and of outgoing connections.
FIRST, LAST = 20_000, 29_999
_ATTEMPTS = 1_000
_given: set[int] = set()


def free_port() -> int:
    """Choose a port on which nobody listens, by chance, and never the same twice. Raises LocalServiceError."""
    for _ in range(_ATTEMPTS):
        port = random.SystemRandom().randint(FIRST, LAST)
        if port not in _given and _can_be_bound(port):
            _given.add(port)
            return port
    raise LocalServiceError(f"No free port found between {FIRST} and {LAST} of {HOST}: end what listens there.")


def _can_be_bound(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
