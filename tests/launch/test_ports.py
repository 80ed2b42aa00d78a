"""Ports: free ones, and never the same twice."""

import importlib.util
import re
import socket
from pathlib import Path

import pytest

from fleet.errors import LocalServiceError
from launch import ports
from launch.ports import FIRST, LAST, PROXY_PORTS, free_port, other_proxy_ports


def test_a_port_is_never_given_twice_and_can_be_bound() -> None:
    given = [free_port() for _ in range(200)]
    assert len(set(given)) == len(given)
    assert all(FIRST <= port <= LAST for port in given)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", given[0]))


def test_a_port_that_somebody_listens_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: int = listener.getsockname()[1]
        monkeypatch.setattr(ports, "FIRST", taken)
        monkeypatch.setattr(ports, "LAST", taken)
        with pytest.raises(LocalServiceError, match=f"No free port found between {taken} and {taken}"):
            free_port()


def test_haproxy_gets_another_port_only_where_its_own_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        held = [listener.getsockname()[1] for listener in (one, other)]
        metrics, stats, fallback = PROXY_PORTS
        monkeypatch.setattr(ports, "PROXY_PORTS", {metrics: held[0], stats: held[1], fallback: free_port()})
        chosen = other_proxy_ports({stats: str(held[1])})
    assert chosen.keys() == {metrics}
    assert chosen[metrics] not in held


def test_haproxys_variables_and_ports_are_those_that_ray_knows() -> None:
    found = importlib.util.find_spec("ray")
    assert found is not None
    assert found.origin is not None
    constants = (Path(found.origin).parent / "serve" / "_private" / "constants.py").read_text()
    for name, port in PROXY_PORTS.items():
        assert re.search(rf'"{name}",\s*"?{port}\b', constants), name
