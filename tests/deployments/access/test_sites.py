"""Other sites cannot use a visitor's browser: neither by a request, nor by a name of theirs for our address."""

import http.client
import json
import socket

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from deployments.web.access.sites import Sites
from fleet.access.roles import Role
from tests.deployments.access.conftest import Doors, bearer
from tests.deployments.gateway_harness import POINT, RunningGateway

OPEN, WITH_TOKENS = Sites(), Sites(names_matter=False)


def ask(gateway: RunningGateway, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Ask as a browser would that was misled: with any headers."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    try:
        body = json.dumps(POINT) if method == "POST" else None
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, str(json.loads(answer.read()).get("detail"))
    finally:
        connection.close()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
def test_a_name_that_a_site_gave_our_address_reads_nothing(gateway: RunningGateway, host: str) -> None:
    status, detail = ask(gateway, "GET", "/v1/vehicles", {"Host": host})
    assert status == 421
    assert "gateway.allowed_hosts" in detail
    misled = socket.create_connection(("127.0.0.1", gateway.port))
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{host}/ws/telemetry", sock=misled):
        raise AssertionError("it was let in")
    assert refused.value.response.status_code == 403


def test_what_is_no_name_is_nobodys() -> None:
    assert OPEN.why_not("GET", {"host": "[broken"}) is not None
    assert OPEN.why_not("GET", {}) is None, "no browser leaves it out"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:8000", "192.168.1.7:8000", "fleet", "FLEET"])
def test_addresses_and_names_without_a_dot_are_served(host: str) -> None:
    assert OPEN.why_not("GET", {"host": host}) is None


def test_names_are_allowed_by_a_setting_and_do_not_matter_with_tokens() -> None:
    named = {"host": "Fleet.example:443"}
    assert OPEN.why_not("GET", named) is not None
    assert Sites(allowed_hosts=frozenset({"fleet.example"})).why_not("GET", named) is None
    assert Sites(allowed_hosts=frozenset({"*"})).why_not("GET", named) is None
    assert WITH_TOKENS.why_not("GET", named) is None
    assert Sites(allowed_hosts=frozenset({"other.example"}), names_matter=False).why_not("GET", named) is not None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:5173"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_another_site_cannot_post(gateway: RunningGateway, headers: dict[str, str], status: int) -> None:
    """What a page may send to any address without asking first is refused: simple types, and foreign origins."""
    assert ask(gateway, "POST", "/predict", headers)[0] == status


def test_an_allowed_origin_may_post() -> None:
    allowed = Sites(allowed_origins=frozenset({"https://ok.example"}))
    headers = {"host": "127.0.0.1", "sec-fetch-site": "cross-site", "origin": "https://ok.example"}
    assert allowed.why_not("POST", headers) is None
    assert allowed.why_not(None, headers) is None
    assert allowed.why_not("POST", {**headers, "origin": "https://evil.example"}) is not None


def test_a_token_does_not_make_another_site_trusted(doors: Doors) -> None:
    headers = {**bearer(doors.tokens[Role.ADMIN, "north"]), "Origin": "https://evil.example"}
    assert ask(doors.gateway, "POST", "/predict", headers)[0] == 403
    assert ask(doors.gateway, "POST", "/v1/session", {"Origin": "https://evil.example"})[0] == 403
    assert ask(doors.gateway, "DELETE", "/v1/session", {"Sec-Fetch-Site": "cross-site"})[0] == 403
