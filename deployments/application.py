"""The Serve application: reads its settings and binds gateway, ingest and scorers together."""

from typing import Any

from ray.serve import Application, Deployment
from ray.serve.context import _get_global_client

from deployments.gateway import Gateway
from deployments.ingest import Ingest
from deployments.scorer import Scorer
from fleet.access.listening import check_listener
from fleet.detection.model.bundle import read_bundle
from fleet.kafka import client_config
from fleet.settings import Settings, read_settings


def build(args: dict[str, Any]) -> Application:
    """Build the application from `serve_config.yaml`'s `args`.

    Raises SettingsError or ModelBundleError, so that a wrong setting or a missing bundle stops the start. The
    bundle's version is settled here: every replica of this deployment serves the same one.
    """
    return bind(args, Scorer)


def bind(args: dict[str, Any], scorers: Deployment) -> Application:
    """Do the same with a deployment of scorers of the caller's."""
    settings: Settings = read_settings(args)
    check_listener(settings.auth, listening_host())
    client_config()
    version = read_bundle(settings.model.absolute_folder, settings.model.version).version
    scorer = scorers.bind(settings, version)
    return Gateway.bind(settings, version, scorer, Ingest.bind(settings, version, scorer))


def listening_host() -> str | None:
    """Return the address that Serve listens on. Serve has no public way to ask for it in the code of an application."""
    host: str | None = _get_global_client().http_config.host
    return host
