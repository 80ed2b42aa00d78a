"""A gateway that asks for tokens, and a token of every role for two tenants."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from fleet.access.roles import Role
from fleet.access.token_file import TokenFile
from fleet.access.tokens import new_token
from fleet.events.fields import DEFAULT_TENANT
from fleet.settings import AuthSettings
from tests.deployments.gateway_harness import RunningGateway, running_gateway

TENANTS = ("north", DEFAULT_TENANT)


class Doors(NamedTuple):
    """The gateway, the file of its tokens, and tokens by role and tenant."""

    gateway: RunningGateway
    file: TokenFile
    tokens: dict[tuple[Role, str], str]


def make(file: TokenFile, role: Role, tenant: str = DEFAULT_TENANT, days: float = 1) -> tuple[str, str]:
    """Make a token; returns its text and its ID."""
    text, stored = new_token(f"{role} of {tenant}", role, tenant, timedelta(days=days), datetime.now(UTC))
    file.add(stored)
    return text, stored.id


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    file = TokenFile(folder / "tokens.json")
    tokens = {(role, tenant): make(file, role, tenant)[0] for role in Role for tenant in TENANTS}
    (folder / "ui").mkdir()
    (folder / "ui" / "index.html").write_text("<!doctype html>")
    with running_gateway(folder, folder / "ui", auth=AuthSettings(mode="tokens", token_file=file.path)) as gateway:
        yield Doors(gateway, file, tokens)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
