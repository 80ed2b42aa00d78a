"""Roles, what each of them may do, and who somebody is once a token has proved it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final


class Permission(StrEnum):
    """What a route, or a look beyond one's own tenant, asks for."""

    VIEW = "view"
    SCORE = "score"
    ACT = "act on episodes"
    EVERY_TENANT = "every tenant"


class Role(StrEnum):
    """What a token's holder is to this system."""

    VIEWER = "viewer"
    SCORER = "scorer"
    OPERATOR = "operator"
    ADMIN = "admin"


PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.VIEW}),
    # A program that asks for scores need not see the fleet: its token may lie on many machines.
    Role.SCORER: frozenset({Permission.SCORE}),
    Role.OPERATOR: frozenset({Permission.VIEW, Permission.SCORE, Permission.ACT}),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who is known. `tenant` is whose events they see; None stands for everybody's."""

    name: str
    role: Role
    tenant: str | None
    token_id: str | None = None
    expires_at: datetime | None = None

    def may(self, permission: Permission) -> bool:
        """Tell whether the role allows it."""
        return permission in PERMISSIONS[self.role]


ANYBODY: Final = Principal("anybody", Role.ADMIN, None)
"""Who everybody is where `auth.mode` is `none`."""
