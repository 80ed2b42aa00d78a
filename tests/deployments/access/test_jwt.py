"""A gateway that takes tokens of an identity provider: over REST, by the browser's cookie, and on sockets."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fleet.settings import AuthSettings
from tests.deployments.access.conftest import bearer
from tests.deployments.gateway_harness import RunningGateway, problem_of, running_gateway, wait_until
from tests.fleet.access.test_signed_tokens import NEW, OLD, SETTINGS, jwk, token


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(OLD, "old"), jwk(NEW, "new")]}))
    return path


@pytest.fixture
def guarded(keys: Path, tmp_path: Path) -> Iterator[RunningGateway]:
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui" / "index.html").write_text("<!doctype html>")
    auth = AuthSettings(mode="jwt", jwt=SETTINGS.model_copy(update={"key_file": keys}))
    with running_gateway(tmp_path, tmp_path / "ui", auth=auth) as gateway:
        yield gateway


def test_a_signed_token_opens_what_its_role_may(guarded: RunningGateway) -> None:
    vehicles = f"{guarded.url}/v1/vehicles"
    assert "your identity provider" in problem_of(httpx.get(vehicles), 401)["detail"]
    assert problem_of(httpx.get(vehicles, headers=bearer(token(seconds=-60))), 401)
    assert problem_of(httpx.get(vehicles, headers=bearer(token(role="scorer"))), 403)
    assert httpx.get(vehicles, headers=bearer(token())).status_code == 200
    with httpx.Client(base_url=guarded.url) as browser:
        session = browser.post("/v1/session", json={"token": token(sub="luis")}).json()
        assert (session["name"], session["role"], session["tenant"]) == ("luis", "operator", "north")
        assert browser.get("/v1/vehicles").status_code == 200


def test_a_socket_is_closed_when_its_key_is_withdrawn(guarded: RunningGateway, keys: Path) -> None:
    with connect(guarded.feed_url, additional_headers=bearer(token(OLD, "old"))) as socket:
        assert json.loads(socket.recv(timeout=20))["type"] == "welcome"
        keys.write_text(json.dumps({"keys": [jwk(NEW, "new")]}))
        with suppress(ConnectionClosed):
            while socket.recv(timeout=20):
                pass
        assert socket.close_code == 4401
    headers = bearer(token(OLD, "old"))
    wait_until(lambda: httpx.get(f"{guarded.url}/v1/vehicles", headers=headers).status_code == 401, "the refusal", 20)
