"""One gateway for all tests of a module, and a client of its REST routes."""

from collections.abc import Iterator

import httpx
import pytest

from tests.deployments.gateway_harness import RunningGateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    ui = tmp_path_factory.mktemp("ui")
    (ui / "index.html").write_text("<!doctype html><title>Fleet</title>")
    (ui / "app.js").write_text("export const answer = 42;")
    with running_gateway(tmp_path_factory.mktemp("gateway"), ui) as running:
        yield running


@pytest.fixture
def http(gateway: RunningGateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=20) as client:
        yield client
