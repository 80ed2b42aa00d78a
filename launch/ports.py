"""Ports for a system that is to be started, killed and started again on them.

The kernel's free ports are no use: it gives them to outgoing connections too, so that one is taken by the time a part
binds it, or while its part is down.
"""

import random
import socket
from collections.abc import Mapping

from fleet.errors import LocalServiceError
from simulator.local_kafka import HOST, port_is_taken

# Above the ports of Ray's workers, below those of Serve's replicas and of outgoing connections.
FIRST, LAST = 20_000, 29_999
# What HAProxy opens beside the page: Ray's variables for its metrics, its statistics and what it falls back on.
PROXY_PORTS = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
}
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


def other_proxy_ports(environment: Mapping[str, str]) -> dict[str, int]:
    """Choose another port, by variable, where HAProxy's own is taken, mostly by a second system. One that is set stays.

    Raises LocalServiceError.
    """
    unset = {name: port for name, port in PROXY_PORTS.items() if name not in environment}
    return {name: free_port() for name, port in unset.items() if port_is_taken(port)}


def _can_be_bound(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
