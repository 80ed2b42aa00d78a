"""The Serve deployment in front of everything: REST, WebSockets and the page. Only wiring stands here.

Each replica follows the results by itself (`deployments.web.core`); routes are in `deployments.web.app`.
"""

import asyncio
import logging
from collections.abc import Callable

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import ApplicationStatus, ReplicaState

from deployments.message_limit import limit_messages
from deployments.metrics import GatewayMetrics
from deployments.replica_logs import show_fleet_logs
from deployments.scorer_call import score_call, try_bundle
from deployments.web.app import build_app
from deployments.web.core import DeploymentNames, GatewayCore
from deployments.web.tail import ReplicaCounts
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.model.current import CurrentModel
from fleet.settings import Settings

logger = logging.getLogger("fleet.access")


@serve.deployment(max_ongoing_requests=2_000)
@serve.ingress()
class Gateway:
    """One gateway replica; holding `ingest` makes Serve start it with the gateway."""

    def __init__(self, settings: Settings, version: str, scorer: DeploymentHandle, ingest: DeploymentHandle) -> None:
        show_fleet_logs()
        limit_messages()
        if settings.auth.mode == "none" and settings.auth.allow_open:
            logger.warning("gateway_is_open", extra={"change": "auth.mode", "because": "auth.allow_open"})
        self._score = score_call(scorer)
        self._model = CurrentModel(settings.model.absolute_folder, settings.model.version, version)
        self._core = GatewayCore(
            settings,
            self._model.bundle,
            self._score,
            replica_reader(serve.get_replica_context().app_name),
            names=DeploymentNames(scorer.deployment_name, ingest.deployment_name),
            report=GatewayMetrics().publish,
        )
        self._following = asyncio.get_running_loop().create_task(self._model.follow(self._use))

    async def _use(self, bundle: ModelBundle) -> None:
        await try_bundle(self._score, bundle)
        self._core.use(bundle)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Build the routes in the replica, so that no application object is pickled."""
        return build_app(self._core)

    def check_health(self) -> None:
        """Fail when a background thread has died; Serve then replaces this replica."""
        self._core.check()


def replica_reader(app_name: str) -> Callable[[], ReplicaCounts | None]:
    """Build a function that asks Serve for the running replicas; it answers None when Serve does not."""

    def read() -> ReplicaCounts | None:
        try:
            application = serve.status().applications.get(app_name)
        except (RayError, RayServeException):
            return None  # the controller is away or restarting: the next round asks again
        if application is None:
            return None
        running = {
            name: deployment.replica_states.get(ReplicaState.RUNNING, 0)
            for name, deployment in application.deployments.items()
        }
        status = application.status
        return ReplicaCounts(running, status == ApplicationStatus.RUNNING, status == ApplicationStatus.DELETING)

    return read
