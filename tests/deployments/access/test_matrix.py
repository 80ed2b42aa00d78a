"""Every route, for every role and tenant: the routes are the application's own, so that a new one is in here too."""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from starlette.routing import Mount, Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed

from deployments.web.access.rules import FEED_PATH, permission_for
from deployments.web.app import build_app
from deployments.web.core import GatewayCore
from fleet.access.roles import PERMISSIONS, Permission, Role
from fleet.events.fields import DEFAULT_TENANT
from fleet.records.sender import Finding
from fleet.settings import Settings
from tests.deployments.access.conftest import TENANTS, Doors, bearer
from tests.deployments.gateway_harness import ORIGIN_EVENT, POINT, episode, problem_of, sender_report

# What anybody may fetch. A route that is added here is open to the world: think twice.
OPEN = {
    "/",
    "/docs",
    "/docs/parts",
    "/docs/start.js",
    "/openapi.json",
    "/asyncapi.json",
    "/health",
    "/ui",
    "/v1/session",
}
VEHICLE = "V1"
EPISODE = "V1:0:1"
ACTIONS = "/v1/episodes/{episodeId:id}/actions"
BODIES: dict[str, Any] = {
    "/predict": POINT,
    "/v1/score": {"events": [ORIGIN_EVENT]},
    ACTIONS: {"actionId": "a", "version": 0, "do": {"kind": "acknowledge"}},
}


def routes() -> Iterator[Any]:
    """Yield all routes: those of the routers that FastAPI has included, too."""
    described = cast(GatewayCore, SimpleNamespace(settings=Settings(), view=None, gate=None, audit=None))
    waiting = list(build_app(described).routes)
    while waiting:
        route = waiting.pop()
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            waiting += inner.routes


ROUTES = list(routes())
PATHS = sorted({(method, route.path) for route in ROUTES if isinstance(route, Route) for method in route.methods or ()})
GUARDED = [(method, path) for method, path in PATHS if path not in OPEN]
# That of `/ws/v2` may say who is there in its first message: see test_feed.
SOCKETS = sorted({route.path for route in ROUTES if isinstance(route, WebSocketRoute)} - {FEED_PATH})


def filled(path: str) -> str:
    return path.replace("{vehicleId:id}", VEHICLE).replace("{episodeId:id}", EPISODE)


def ask(doors: Doors, method: str, path: str, **options: Any) -> httpx.Response:
    body = BODIES.get(path)
    return httpx.request(method, doors.gateway.url + filled(path), json=body, timeout=20, **options)


def test_what_is_open_is_named_here() -> None:
    found = {route.path for route in ROUTES if isinstance(route, Route | Mount)}
    assert len(found) > 12, "the routes of included routers are among them"
    mounts = {route.path: "/" if isinstance(route, Mount) else "" for route in ROUTES}
    assert {path for path in found if permission_for(path + mounts[path]) is None} == OPEN


def test_nothing_unknown_is_open() -> None:
    for path in ("/ui", "/uix", "/docs/", "/docs/partsx", "//", "/v1/session/", "/metrics", "", "/Health"):
        assert permission_for(path) is Permission.VIEW


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_a_token_nothing_is_answered(doors: Doors, method: str, path: str) -> None:
    for headers in ({}, bearer("fleet_000000000000_" + "A" * 43), {"Authorization": "Basic Zm9v"}):
        problem = problem_of(ask(doors, method, path, headers=headers), 401)
        assert "token" in problem["detail"]
    refused = ask(doors, method, path)
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-security-policy"], "a refusal has the other headers too"


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("tenant", TENANTS)
def test_a_role_may_do_what_it_may_and_no_more(doors: Doors, method: str, path: str, role: Role, tenant: str) -> None:
    known = episode(VEHICLE, 1, episode_id=EPISODE, tenant_id=tenant)
    sender = sender_report(VEHICLE, tenant_id=tenant)
    doors.gateway.inject(doors.gateway.events(10, tenantId=tenant), [known], senders=[sender])
    answer = ask(doors, method, path, headers=bearer(doors.tokens[role, tenant]))
    needed = Permission.ACT if path == ACTIONS else Permission.SCORE if path in BODIES else Permission.VIEW
    if needed in PERMISSIONS[role]:
        assert answer.status_code == 200, answer.text
    else:
        assert role in problem_of(answer, 403)["detail"]


def seen_by(role: Role, tenant: str) -> set[str]:
    return set(TENANTS) if role is Role.ADMIN else {tenant}


VIEWERS = [role for role in Role if Permission.VIEW in PERMISSIONS[role]]


@pytest.mark.parametrize("path", [path for method, path in GUARDED if method == "GET" and "{episodeId" not in path])
@pytest.mark.parametrize("role", VIEWERS)
@pytest.mark.parametrize("tenant", TENANTS)
def test_no_route_tells_of_another_tenant(doors: Doors, path: str, role: Role, tenant: str) -> None:
    """Both tenants have a vehicle of the same name, so that no answer is right by chance."""
    fill(doors)
    answer = ask(doors, "GET", path, headers=bearer(doors.tokens[role, tenant]))
    assert answer.status_code == 200
    told = {other for other in TENANTS if f"mark of {other}" in answer.text}
    assert told <= seen_by(role, tenant)
    if path in ("/v1/vehicles", "/v1/episodes", "/v1/senders"):
        assert told == seen_by(role, tenant), "and what is its own is told"
    if path == "/v1/vehicles":
        assert answer.json()["total"] == len(answer.json()["vehicles"])


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
@pytest.mark.parametrize("tenant", TENANTS)
def test_nobody_acts_on_another_tenants_episode(doors: Doors, role: Role, tenant: str) -> None:
    fill(doors)
    headers = bearer(doors.tokens[role, tenant])
    for other in TENANTS:
        url = f"{doors.gateway.url}/v1/episodes/{VEHICLE}:{other}"
        version = doors.gateway.core.actions.handlings[f"{VEHICLE}:{other}"].version
        body = {"actionId": f"{role} of {tenant}", "version": version, "do": {"kind": "comment", "text": "seen"}}
        expected = 200 if other in seen_by(role, tenant) else 404
        assert httpx.get(url, headers=headers).status_code == expected
        assert httpx.post(f"{url}/actions", headers=headers, json=body).status_code == expected
        after = doors.gateway.core.actions.handlings[f"{VEHICLE}:{other}"].version
        assert after == version + (expected == 200)


def fill(doors: Doors) -> list[bytes]:
    """Give both tenants events and episodes of the same vehicles; the default one's name no tenant."""
    values = []
    for tenant in TENANTS:
        named = None if tenant == DEFAULT_TENANT else tenant
        events = doors.gateway.events(10, tenantId=named, mark=f"mark of {tenant}")
        record = episode(VEHICLE, 1, episode_id=f"{VEHICLE}:{tenant}", tenant_id=named, cause=f"mark of {tenant}")
        finding = Finding("unit", "speed", f"mark of {tenant}")
        doors.gateway.inject(events, [record], senders=[sender_report(VEHICLE, finding, tenant_id=named)])
        values += events
    return values


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize("query", ["", "?batch=true", "?anomalies=true", f"?vehicleId={VEHICLE}"])
@pytest.mark.parametrize("role", VIEWERS)
@pytest.mark.parametrize("tenant", TENANTS)
def test_no_socket_tells_of_another_tenant(doors: Doors, path: str, query: str, role: Role, tenant: str) -> None:
    assert path == "/ws/telemetry", "a feed that is added here asks for a test of its own"
    token = doors.tokens[role, tenant]
    doors.gateway.wait_for_clients(0)
    with doors.gateway.connect(query, additional_headers=bearer(token)) as client:
        doors.gateway.wait_for_clients(1)
        wanted = [json.loads(value) for value in fill(doors)]
        mine = [event for event in wanted if event["mark"].removeprefix("mark of ") in seen_by(role, tenant)]
        if "anomalies" in query:
            mine = [event for event in mine if event["is_anomaly"]]
        if "vehicleId" in query:
            mine = [event for event in mine if event["vehicleId"] == VEHICLE]
        last = doors.gateway.events(10, tenantId=None if tenant == DEFAULT_TENANT else tenant, mark="the last")
        doors.gateway.inject(last)
        told = []
        while not told or told[-1]["mark"] != "the last":
            message = json.loads(client.recv(timeout=10))
            told += message if isinstance(message, list) else [message]
        assert [event["n"] for event in told if event["mark"] != "the last"] == [event["n"] for event in mine]


@pytest.mark.parametrize("path", SOCKETS)
@pytest.mark.parametrize(("role", "code"), [(None, 4401), (Role.SCORER, 4403)])
def test_a_socket_is_refused_with_a_code(doors: Doors, path: str, role: Role | None, code: int) -> None:
    assert path == "/ws/telemetry"
    headers = {} if role is None else bearer(doors.tokens[role, "north"])
    with doors.gateway.connect(additional_headers=headers, subprotocols=["other"]) as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        assert client.subprotocol == "other", "else a browser would not learn the code"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == code
    assert closed.value.rcvd.reason
