"""`fleet token`: what is printed proves somebody, until it is revoked."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from commands.main import commands
from fleet.access.token_file import TokenFile
from fleet.errors import FleetError, NotSignedInError
from launch.serve_config import read_serve_config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    config = read_serve_config()
    config["applications"][0]["args"]["auth"] = {"mode": "tokens", "token_file": str(tmp_path / "tokens.json")}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def run(config: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(commands, ["token", *arguments, "--config", str(config)])
    if isinstance(result.exception, FleetError):
        raise result.exception
    return result


def test_a_token_is_created_listed_and_revoked(config: Path, tmp_path: Path) -> None:
    text = run(config, "create", "wall screen", "--tenant", "north", "--days", "1").stdout.strip()
    found = TokenFile(tmp_path / "tokens.json").book().principal(text, datetime.now(UTC))
    assert (found.name, found.role, found.tenant) == ("wall screen", "viewer", "north")
    listed = run(config, "list").stdout
    assert "wall screen" in listed
    assert "viewer of tenant north, until" in listed
    assert text not in listed
    assert found.token_id is not None
    run(config, "revoke", found.token_id)
    with pytest.raises(NotSignedInError):
        TokenFile(tmp_path / "tokens.json").book().principal(text, datetime.now(UTC))
    with pytest.raises(FleetError, match="no token"):
        run(config, "revoke", found.token_id)


@pytest.mark.parametrize("arguments", [["a\nb"], [""], ["x" * 65], ["wall", "--tenant", ""]])
def test_a_name_that_would_break_a_log_line_is_refused(config: Path, arguments: list[str]) -> None:
    with pytest.raises(FleetError):
        run(config, "create", *arguments)
