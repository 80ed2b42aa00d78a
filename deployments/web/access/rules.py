"""What each path asks for. A path that is not named here asks for the permission to view: none is open by mistake."""

from typing import Final

from fleet.access.roles import Permission

SESSION_PATH: Final = "/v1/session"
# What anybody may fetch: the page without data, the documents, and whether the gateway is ready.
OPEN: Final = frozenset({"/", "/health", "/docs", "/docs/start.js", "/openapi.json", "/asyncapi.json", SESSION_PATH})
# A socket whose first message may prove who is there: it asks by itself, and tells nothing before.
FEED_PATH: Final = "/ws/v2"
OPEN_BELOW: Final = ("/ui/", "/docs/parts/")
EPISODES: Final = "/v1/episodes/"
ACTIONS: Final = "/actions"
SCORING: Final = frozenset({"/predict", "/v1/score"})


def permission_for(path: str) -> Permission | None:
    """Return what a path asks for; None where it is open to anybody."""
    if path in OPEN or path == FEED_PATH or path.startswith(OPEN_BELOW):
        return None
    if path.startswith(EPISODES) and path.endswith(ACTIONS):
        return Permission.ACT
    return Permission.SCORE if path in SCORING else Permission.VIEW
