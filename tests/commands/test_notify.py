"""`fleet notify` as an operator types it; what it does stands in tests/fleet/operations."""

import pytest
from typer.testing import CliRunner

from commands.main import commands


@pytest.mark.parametrize("url", ["ftp://example.org/hook", "example.org/hook", "https://"])
def test_what_is_no_address_is_refused_with_what_to_give(url: str) -> None:
    result = CliRunner().invoke(commands, ["notify", url])
    assert result.exit_code == 2
    assert "https://host/path" in " ".join(result.output.split())
