"""The page asks for a token where the gateway wants one, and then shows the tenant's vehicles."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fleet.access.roles import Role
from fleet.access.token_file import TokenFile
from fleet.access.tokens import new_token
from fleet.settings import PROJECT_FOLDER, AuthSettings
from tests.deployments.gateway_harness import RunningGateway, running_gateway
from tests.headless_chromium import browser

__all__ = ["browser"]


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


@pytest.fixture
def token(file: TokenFile) -> str:
    text, stored = new_token("wall", Role.VIEWER, "north", timedelta(hours=1), datetime.now(UTC))
    file.add(stored)
    return text


@pytest.fixture
def gateway(file: TokenFile, token: str, tmp_path: Path) -> Iterator[RunningGateway]:
    auth = AuthSettings(mode="tokens", token_file=file.path)
    with running_gateway(tmp_path, PROJECT_FOLDER / "ui", auth=auth) as running:
        yield running


def test_a_visitor_signs_in_on_the_page(browser: Browser, gateway: RunningGateway, file: TokenFile, token: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(gateway.url)
    form = page.get_by_role("dialog", name="Sign in")
    page.keyboard.press("Escape")
    form.get_by_label("Token").fill("fleet_wrong")
    form.get_by_role("button", name="Sign in").click()
    expect(form.get_by_role("alert")).to_have_text(re.compile("not known here"))
    form.get_by_label("Token").fill(token)
    form.get_by_role("button", name="Sign in").click()
    expect(page.locator("#connection").get_by_role("status")).to_have_text("Live")
    expect(form).to_be_hidden()
    gateway.inject(gateway.events(10, tenantId="south", vehicleId="S1"))
    gateway.inject(gateway.events(10, tenantId="north", vehicleId="N1"))
    expect(page.locator("body")).to_contain_text("N1")
    expect(page.locator("body")).not_to_contain_text("S1")
    assert token not in page.evaluate("document.cookie + JSON.stringify(localStorage)")
    [stored] = file.book().tokens
    file.revoke(stored.id)
    expect(form).to_be_visible()
    context.close()
