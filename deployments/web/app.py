"""The gateway's routes: REST, the WebSocket, the page and its documentation. Handlers only delegate.

Neighbours: `deployments.web.core` does the work; `ui/` holds the page.
"""

import importlib.resources
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Query, Request, WebSocket
from fastapi import Path as PathParameter
from fastapi.staticfiles import StaticFiles
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.web.access.guard import Guard, principal_of
from deployments.web.access.rules import FEED_PATH
from deployments.web.access.session import session_routes
from deployments.web.access.sites import Sites
from deployments.web.answers import (
    MAX_LISTED,
    NEVER_STORE,
    ChannelList,
    Health,
    PipelineReport,
    Prediction,
    ScoreAnswer,
    SenderList,
    VehicleHistory,
    VehicleList,
    json_answer,
    json_text,
)
from deployments.web.asyncapi import LIVE_FEED_PATH, asyncapi_document
from deployments.web.bodies.reading import LARGEST_BODIES_AT_ONCE, Bodies
from deployments.web.channels import channels_json
from deployments.web.core import GatewayCore
from deployments.web.episodes.routes import episode_routes
from deployments.web.openapi import answers, documented
from deployments.web.problems import (
    ProblemError,
    answer_with_problems,
    problem_response,
    refuse_unknown_parameters,
)
from fleet.records.sender import FindingKind, SenderReport
from fleet.settings import PROJECT_FOLDER, Settings

UI_FOLDER: Final = PROJECT_FOLDER / "ui"
MAX_POINT_BYTES: Final = 1_048_576
_ONLY_KNOWN: Final = Depends(refuse_unknown_parameters)
SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'self'; connect-src 'self' ws: wss:; style-src 'self'; script-src 'self'; "
    "img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
# The page's files have no hash in their names: browsers keep them, and ask whether they are still right.
REVALIDATE: Final = {"cache-control": "no-cache"}
DESCRIPTION: Final = """\
Every telemetry event of a fleet, scored by an autoencoder as it comes in.

**WebSocket** `/ws/telemetry`: one scored JSON object per text frame. `?vehicleId=ID` and `?anomalies=true`
filter, `?batch=true` sends JSON arrays, by default every 10 ms at most (`gateway.batch_interval_ms`). A client that
reads too slowly loses the oldest events. [`/asyncapi.json`](/asyncapi.json) describes it, and the topics of Kafka.
"""


def build_app(gateway: GatewayCore, ui_folder: Path = UI_FOLDER) -> FastAPI:
    """Build the ASGI application of one gateway replica; its lifespan starts and stops the gateway."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.stop()

    app = FastAPI(
        title="Fleet anomaly platform",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # the built-in page loads its parts from outside this host
        redoc_url=None,
    )
    answer_with_problems(app)
    app.add_middleware(Guard, gate=gateway.gate, sites=allowed_sites(gateway.settings), audit=gateway.audit)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadAsGet)
    session_hours = gateway.settings.auth.session_hours
    app.include_router(session_routes(gateway.gate, gateway.audit, session_hours), dependencies=[_ONLY_KNOWN])
    for routes in (scoring_routes, fleet_routes, sender_routes, episode_routes, status_routes):
        app.include_router(routes(gateway), dependencies=[_ONLY_KNOWN])
    app.include_router(feed_routes(gateway))
    app.include_router(page_routes(gateway, ui_folder))
    most_events = gateway.settings.gateway.max_request_events
    app.openapi = documented(app, lambda: gateway.bundle.plan.spec, most_events)  # type: ignore[method-assign]
    app.mount("/ui", CachedFiles(directory=ui_folder, check_dir=False), name="ui")
    app.mount("/docs/parts", CachedFiles(directory=_documentation_parts()), name="docs-parts")
    return app


def allowed_sites(settings: Settings) -> Sites:
    """Return which pages may call the gateway."""
    origins, hosts = settings.gateway.allowed_origins, settings.gateway.allowed_hosts
    return Sites(frozenset(origins), frozenset(hosts), names_matter=settings.auth.mode == "none")


def scoring_routes(gateway: GatewayCore) -> APIRouter:
    """Build the routes of scoring on demand."""
    router = APIRouter(tags=["scoring"])
    most_bytes = gateway.settings.gateway.max_request_bytes
    bodies = Bodies(LARGEST_BODIES_AT_ONCE * most_bytes)

    @router.post(
        "/predict",
        summary="Score one point",
        responses=answers(Prediction, 408, 413, 422, 503),
    )
    async def predict(request: Request) -> Response:
        async with bodies.read(request, min(most_bytes, MAX_POINT_BYTES)) as body:
            return json_text(await gateway.scoring.predict(body))

    @router.post(
        "/v1/score",
        summary="Score telemetry events; those of one vehicle form its history",
        responses=answers(ScoreAnswer, 408, 413, 422, 503),
    )
    async def score(request: Request) -> Response:
        async with bodies.read(request, most_bytes) as body:
            return json_text(await gateway.scoring.score(body))

    return router


def feed_routes(gateway: GatewayCore) -> APIRouter:
    """Build the routes of the live feeds."""
    router = APIRouter()

    @router.websocket(LIVE_FEED_PATH)
    async def telemetry(socket: WebSocket) -> None:
        await gateway.sockets.serve(socket, principal_of(socket))

    @router.websocket(FEED_PATH)
    async def feed(socket: WebSocket) -> None:
        await gateway.feed.serve(socket)

    return router


def fleet_routes(gateway: GatewayCore) -> APIRouter:
    """Build the routes to what is known of vehicles."""
    router = APIRouter(prefix="/v1", tags=["fleet"])
    view = gateway.view

    @router.get("/vehicles", summary="Latest events", responses=answers(VehicleList, 422))
    async def vehicles(request: Request, limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 1_000) -> Response:
        tenant = principal_of(request).tenant
        return json_answer(VehicleList(_raw(view.latest(limit, tenant)), view.vehicle_count(tenant)))

    @router.get(
        "/vehicles/{vehicleId:id}",
        summary="One vehicle with its recent history",
        responses=answers(VehicleHistory, 404, 422),
    )
    async def vehicle(request: Request, vehicle_id: Annotated[str, PathParameter(alias="vehicleId")]) -> Response:
        return json_answer(vehicle_history(gateway, vehicle_id, principal_of(request).tenant))

    @router.get(
        "/channels",
        summary="The fields of this fleet's events: units, plausible ranges and roles",
        responses=answers(ChannelList),
    )
    async def channels() -> Response:
        return json_text(channels_json(gateway.bundle.plan.spec))

    return router


def sender_routes(gateway: GatewayCore) -> APIRouter:
    """Build the routes to what has been learnt of vehicles' senders."""
    router = APIRouter(prefix="/v1", tags=["fleet"])

    @router.get("/senders", summary="What has been learnt of vehicles' senders", responses=answers(SenderList, 422))
    async def senders(
        request: Request,
        vehicle_id: Annotated[str | None, Query(alias="vehicleId")] = None,
        finding: Annotated[FindingKind | None, Query(description="those with a finding of this kind alone")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 1_000,
    ) -> Response:
        tenant = principal_of(request).tenant
        found = gateway.senders.senders(limit, finding, tenant, vehicle_id)
        return json_answer(SenderList(_raw(found), gateway.senders.counts(tenant)))

    @router.get(
        "/senders/{vehicleId:id}",
        summary="What has been learnt of one vehicle's sender",
        responses=answers(SenderReport, 404, 422),
    )
    async def sender(request: Request, vehicle_id: Annotated[str, PathParameter(alias="vehicleId")]) -> Response:
        return json_text(sender_report(gateway, vehicle_id, principal_of(request).tenant))

    return router


def status_routes(gateway: GatewayCore) -> APIRouter:
    """Build the routes that say how the system is doing."""
    router = APIRouter(tags=["status"])

    @router.get("/v1/pipeline", summary="The pipeline's books", responses=answers(PipelineReport))
    async def pipeline() -> Response:
        return json_answer(gateway.pipeline())

    @router.get("/health", summary="Readiness", responses=answers(Health, 503))
    async def health() -> Response:
        return health_response(gateway, await gateway.problems())

    return router


def page_routes(gateway: GatewayCore, ui_folder: Path) -> APIRouter:
    """Build the routes of the page and of the documentation."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return page_response(ui_folder)

    @router.get("/docs")
    async def docs() -> Response:
        return Response(_DOCUMENTATION_PAGE, media_type="text/html", headers=REVALIDATE)

    @router.get("/asyncapi.json")
    async def asyncapi() -> Response:
        return json_text(msgspec.json.encode(asyncapi_document(gateway.settings, gateway.bundle.plan.spec)))

    @router.get("/docs/start.js")
    async def docs_start() -> Response:
        return Response(_DOCUMENTATION_START, media_type="text/javascript", headers=REVALIDATE)

    return router


class IdConvertor(PathConvertor):
    """Takes an ID whole, to the end of the path. Starlette's `path` leaves a line break at the end to nobody."""

    regex = "(?s:.*)"


register_url_convertor("id", IdConvertor())


class CachedFiles(StaticFiles):
    """Static files that a browser may keep as long as it asks whether they have changed."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Answer with a file, its ETag and the cache's rule."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(REVALIDATE)
        return response


class SecurityHeaders:
    """Adds the security headers to every HTTP answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HeadAsGet:
    """Answers HEAD wherever GET is answered: the same head, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


def vehicle_history(gateway: GatewayCore, vehicle_id: str, tenant: str | None) -> VehicleHistory:
    """Lay out one vehicle with its history. Raises ProblemError (404) where this tenant has none of this name."""
    vehicle = gateway.view.vehicle(vehicle_id, tenant)
    if vehicle is None:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"No vehicle {vehicle_id[:100]!r} was heard of lately: /v1/vehicles lists those that were.",
        )
    return VehicleHistory(vehicle_id, msgspec.Raw(vehicle.latest), _raw(vehicle.history))


def sender_report(gateway: GatewayCore, vehicle_id: str, tenant: str | None) -> bytes:
    """Return the report on one vehicle's sender. Raises ProblemError (404) where this tenant has none of this name."""
    report = gateway.senders.sender(vehicle_id, tenant)
    if report is None:
        every_s = gateway.settings.ingest.sender_report_s
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"Nothing is known of a sender {vehicle_id[:100]!r} yet: the first report comes {every_s:,.0f} s after "
            "its first event at the latest; /v1/senders lists those that there are.",
        )
    return report


def page_response(ui_folder: Path) -> Response:
    """Answer with the page. Raises ProblemError (404) where it is not installed."""
    page = ui_folder / "index.html"
    if not page.is_file():
        raise ProblemError(HTTPStatus.NOT_FOUND, "The page's files are missing: install the folder ui beside fleet.")
    return FileResponse(page, headers=REVALIDATE)


def health_response(gateway: GatewayCore, problems: dict[str, str]) -> Response:
    """Say that everything is ready, or (503) what is not."""
    parts = {part: problems.get(part, "ok") for part in ("kafka", "scorer", "ingest")}
    health = Health("ok", "scorer" not in problems, gateway.bundle.version, **parts)
    if not problems:
        return json_answer(health)
    said = {name: value for name, value in msgspec.to_builtins(health).items() if name != "status"}
    detail = "; ".join(f"{part}: {problem}" for part, problem in problems.items())
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, detail, said, NEVER_STORE)


def _raw(bodies: Iterable[bytes]) -> list[msgspec.Raw]:
    return list(map(msgspec.Raw, bodies))


def _documentation_parts() -> Path:
    # Of this package only the files are used: a current Swagger UI, which no one else ships for Python.
    return Path(str(importlib.resources.files("fastapi_offline") / "static"))


_DOCUMENTATION_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fleet anomaly platform: API</title>
<link rel="icon" href="/docs/parts/favicon.png">
<link rel="stylesheet" href="/docs/parts/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/parts/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_DOCUMENTATION_START: Final = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""
