"""`fleet token`: who may use the gateway. A running gateway follows within a second."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from commands.tables import in_columns
from fleet.access.roles import PERMISSIONS, Permission, Role
from fleet.access.token_file import TokenFile
from fleet.access.tokens import StoredToken, new_token
from fleet.errors import FleetError
from fleet.events.fields import DEFAULT_TENANT
from launch.serve_config import CONFIG_FILE, configured_settings

LONGEST_DAYS = 3_650
_NAME = re.compile(r"[\w.@ -]{1,64}")

Config = Annotated[Path, typer.Option(help="The Serve config that names the file of tokens.")]

token = typer.Typer(
    help="Say who may use the gateway. It asks for tokens where `auth.mode` is `tokens`.", no_args_is_help=True
)


@token.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Whose token it is, as a person or a program. It stands in logs.")],
    role: Annotated[Role, typer.Option(help="What its holder may do.")] = Role.VIEWER,
    tenant: Annotated[
        str, typer.Option(help="Whose events its holder sees: those with this `tenantId`. An admin sees all.")
    ] = DEFAULT_TENANT,
    days: Annotated[int, typer.Option(min=1, max=LONGEST_DAYS, help="For how many days it is good.")] = 90,
    config: Config = CONFIG_FILE,
) -> None:
    """Make a token, and print it. It is shown this once: the file holds only its hash."""
    if not _NAME.fullmatch(name):
        raise FleetError(f"{name[:64]!r} is no name for a token: take 1 to 64 letters, digits, blanks and . _ - @")
    if not tenant:
        raise FleetError(f"The tenant is empty: leave --tenant out for the one of {DEFAULT_TENANT!r}.")
    text, stored = new_token(name, role, tenant, timedelta(days=days), datetime.now(UTC))
    file = _file(config)
    file.add(stored)
    typer.echo(f"{stored.id} for {name}: {_meaning(stored)}, in {file.path}", err=True)
    typer.echo(text)


@token.command("list")
def list_tokens(config: Config = CONFIG_FILE) -> None:
    """List the tokens, without their secrets; those that expire first stand first."""
    found = sorted(_file(config).book().tokens, key=lambda one: one.expires_at)
    for line in in_columns([["id", "name", "may"], *([one.id, one.name, _meaning(one)] for one in found)]):
        typer.echo(line)


@token.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The ID, as `fleet token list` shows it.")],
    config: Config = CONFIG_FILE,
) -> None:
    """Revoke a token: its requests are refused from now on, and its open sockets closed."""
    file = _file(config)
    if not file.revoke(token_id):
        raise FleetError(
            f"There is no token {token_id[:64]!r} in {file.path}: `fleet token list` shows those there are."
        )
    typer.echo(f"{token_id} is revoked.")


def _file(config: Path) -> TokenFile:
    return TokenFile(configured_settings(config).auth.absolute_token_file)


def _meaning(stored: StoredToken) -> str:
    whose = "every tenant" if Permission.EVERY_TENANT in PERMISSIONS[stored.role] else f"tenant {stored.tenant}"
    state = "expired" if stored.expires_at <= datetime.now(UTC) else "until"
    return f"{stored.role} of {whose}, {state} {stored.expires_at:%Y-%m-%d %H:%M}"
