"""Signing in and out, and what becomes of those who are in when their token goes."""

import logging
from http.cookies import SimpleCookie

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from deployments.web.access.gate import COOKIE
from fleet.access.roles import Role
from tests.deployments.access.conftest import Doors, bearer, make
from tests.deployments.gateway_harness import problem_of, wait_until


def sign_in(doors: Doors, token: str, **headers: str) -> httpx.Response:
    return httpx.post(doors.gateway.url + "/v1/session", json={"token": token}, headers=headers)


def test_a_browser_signs_in_and_out(doors: Doors) -> None:
    token = doors.tokens[Role.VIEWER, "north"]
    with httpx.Client(base_url=doors.gateway.url) as browser:
        problem_of(browser.get("/v1/session"), 401)
        session = browser.post("/v1/session", json={"token": token}).json()
        assert (session["name"], session["role"], session["tenant"]) == ("viewer of north", "viewer", "north")
        assert browser.get("/v1/session").json() == session
        assert browser.get("/v1/vehicles").status_code == 200
        cookies = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
        with doors.gateway.connect(additional_headers=cookies):
            doors.gateway.wait_for_clients(1)
        assert browser.delete("/v1/session").json() == {"signedIn": False}
        problem_of(browser.get("/v1/vehicles"), 401)


def test_no_script_reads_the_cookie_and_no_other_site_sends_it(doors: Doors) -> None:
    token, _ = make(doors.file, Role.VIEWER, days=0.25)
    wait_until(lambda: sign_in(doors, token).status_code == 200, "the token is known")
    plain = SimpleCookie(sign_in(doors, token).headers["set-cookie"])[COOKIE]
    assert plain["httponly"]
    assert plain["samesite"].lower() == "strict"
    assert plain["path"] == "/"
    assert 0 < int(plain["max-age"]) <= 6 * 3600, "no longer than its token"
    assert not plain["secure"]
    behind_tls = sign_in(doors, token, **{"X-Forwarded-Proto": "https"})
    assert SimpleCookie(behind_tls.headers["set-cookie"])[COOKIE]["secure"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"token": 1}', b'{"token": "a", "more": 1}', b"x" * 100_000])
def test_what_is_no_sign_in_is_refused(doors: Doors, body: bytes) -> None:
    problem_of(httpx.post(doors.gateway.url + "/v1/session", content=body), 422)
    answer = sign_in(doors, "fleet_000000000000_" + "A" * 43)
    problem_of(answer, 401)
    assert "set-cookie" not in answer.headers


def test_a_revoked_token_closes_what_it_opened(doors: Doors) -> None:
    token, token_id = make(doors.file, Role.VIEWER)
    address = doors.gateway.url + "/v1/vehicles"
    wait_until(lambda: httpx.get(address, headers=bearer(token)).status_code == 200, "the new token is known")
    doors.gateway.wait_for_clients(0)
    other = doors.tokens[Role.VIEWER, "north"]
    with (
        doors.gateway.connect(additional_headers=bearer(token)) as client,
        doors.gateway.connect(additional_headers=bearer(other)),
    ):
        doors.gateway.wait_for_clients(2)
        doors.file.revoke(token_id)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
        assert "revoked" in closed.value.rcvd.reason
        doors.gateway.wait_for_clients(1)
    problem_of(httpx.get(address, headers=bearer(token)), 401)


def test_an_unreadable_file_lets_nobody_in_and_says_so_in_the_log(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    address, headers = doors.gateway.url + "/v1/vehicles", bearer(doors.tokens[Role.VIEWER, "north"])
    content = doors.file.path.read_bytes()
    doors.file.path.write_bytes(b"{")
    try:
        with caplog.at_level(logging.ERROR, "fleet.access"):
            wait_until(lambda: httpx.get(address, headers=headers).status_code == 503, "nobody is let in")
        problem = problem_of(httpx.get(address, headers=headers), 503)
        assert "its log says why" in problem["detail"]
        assert str(doors.file.path) not in problem["detail"]
        assert str(doors.file.path) in caplog.records[0].reason
    finally:
        doors.file.path.write_bytes(content)
    wait_until(lambda: httpx.get(address, headers=headers).status_code == 200, "the file is read again")


def test_refusals_and_sign_ins_are_in_the_audit_log_without_tokens(
    doors: Doors, caplog: pytest.LogCaptureFixture
) -> None:
    token = doors.tokens[Role.SCORER, "north"]
    before = doors.gateway.core.audit.refused
    with caplog.at_level(logging.INFO, "fleet.audit"):
        httpx.get(doors.gateway.url + "/v1/vehicles?limit=3", headers=bearer(token))
        httpx.get(doors.gateway.url + "/v1/vehicles/a%0Aforged", headers=bearer("fleet_wrong"))
        sign_in(doors, token)
    assert doors.gateway.core.audit.refused == before + 2
    refused, unknown, signed_in = caplog.records
    assert (refused.message, refused.user, refused.path) == ("refused", "'scorer of north'", "'/v1/vehicles'")
    assert (unknown.user, unknown.path) == ("''", r"'/v1/vehicles/a\nforged'")
    assert (signed_in.message, signed_in.user, signed_in.address) == ("signed_in", "'scorer of north'", "'127.0.0.1'")
    assert not [record for record in caplog.records if token in str(record.__dict__)]
