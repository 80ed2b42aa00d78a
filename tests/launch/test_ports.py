"""Ports: free ones, and never the same twice."""

import socket

import pytest

from fleet.errors import LocalServiceError
from launch import ports
from launch.ports import FIRST, LAST, free_port


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
