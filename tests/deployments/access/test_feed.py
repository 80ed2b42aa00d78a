"""`/ws/v2` asks who is there: by its headers, or by its first message; and tells of no other tenant."""

import json
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fleet.access.roles import PERMISSIONS, Permission, Role
from fleet.events.fields import DEFAULT_TENANT
from tests.deployments.access.conftest import TENANTS, Doors, bearer, make
from tests.deployments.gateway_harness import episode, wait_until

VIEWERS = [role for role in Role if Permission.VIEW in PERMISSIONS[role]]
UNKNOWN = "fleet_000000000000_" + "A" * 43


def opened(doors: Doors, **options: Any) -> ClientConnection:
    return connect(doors.gateway.feed_url, close_timeout=1, **options)


def say(client: ClientConnection, **message: Any) -> None:
    client.send(json.dumps(message))


def heard(client: ClientConnection, kind: str) -> dict[str, Any]:
    while (message := json.loads(client.recv(timeout=30)))["type"] != kind:
        pass
    return dict(message)


def close_code(client: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        heard(client, "what never comes")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason
    return closed.value.rcvd.code


def test_a_header_says_who_is_there(doors: Doors) -> None:
    with opened(doors, additional_headers=bearer(doors.tokens[Role.VIEWER, "north"])) as client:
        assert heard(client, "welcome")["tenant"] == "north"


def test_a_first_message_says_who_is_there(doors: Doors) -> None:
    with opened(doors) as client:
        say(client, type="auth", token=doors.tokens[Role.VIEWER, "north"])
        assert heard(client, "welcome")["tenant"] == "north"


def test_nothing_is_subscribed_before_somebody_is_there(doors: Doors) -> None:
    with opened(doors) as client:
        say(client, type="subscribe", id="all")
        assert close_code(client) == 4401


@pytest.mark.parametrize("token", ["", UNKNOWN])
def test_a_token_that_proves_nothing_is_refused(doors: Doors, token: str) -> None:
    with opened(doors) as client:
        say(client, type="auth", token=token)
        assert close_code(client) == 4401
    with opened(doors, additional_headers=bearer(token)) as client:
        assert close_code(client) == 4401


def test_a_role_that_may_not_view_is_refused(doors: Doors) -> None:
    token = doors.tokens[Role.SCORER, "north"]
    with opened(doors, additional_headers=bearer(token)) as client:
        assert close_code(client) == 4401
    with opened(doors) as client:
        say(client, type="auth", token=token)
        assert close_code(client) == 4401


def test_who_was_revoked_is_sent_away(doors: Doors) -> None:
    token, token_id = make(doors.file, Role.VIEWER)
    url = f"{doors.gateway.url}/v1/vehicles"
    wait_until(lambda: httpx.get(url, headers=bearer(token)).status_code == 200, "the new token to be known")
    with opened(doors) as client:
        say(client, type="auth", token=token)
        heard(client, "welcome")
        doors.file.revoke(token_id)
        assert close_code(client) == 4401


@pytest.mark.parametrize("role", VIEWERS)
@pytest.mark.parametrize("tenant", TENANTS)
def test_the_feed_tells_of_no_other_tenant(doors: Doors, role: Role, tenant: str) -> None:
    with opened(doors) as client:
        say(client, type="auth", token=doors.tokens[role, tenant])
        say(client, type="subscribe", id="all")
        heard(client, "subscribed")
        for other in TENANTS:
            named = None if other == DEFAULT_TENANT else other
            record = episode("V1", 1, episode_id=f"V1:{other}", tenant_id=named, cause=f"mark of {other}")
            doors.gateway.inject(doors.gateway.events(10, tenantId=named, mark=f"mark of {other}"), [record])
        own = None if tenant == DEFAULT_TENANT else tenant
        doors.gateway.inject(doors.gateway.events(1, tenantId=own, mark="the last"))
        told, is_over = "", False
        while not is_over:
            text = str(client.recv(timeout=30))
            told, is_over = told + text, "the last" in text
        seen = {other for other in TENANTS if f"mark of {other}" in told}
        assert seen == (set(TENANTS) if role is Role.ADMIN else {tenant})
