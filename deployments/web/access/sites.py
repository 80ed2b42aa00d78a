"""Which pages a browser may call the gateway from. Whoever is no browser sends none of these headers, or says so.

A site that somebody visits can make that person's browser ask addresses that only the browser reaches: by a request to
them (`Origin`, `Sec-Fetch-Site`), or by giving its own name their address (`Host`).
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_JSON: Final = "application/json"


class SiteRefusal(NamedTuple):
    """Why a request may not come from where it comes from."""

    status: HTTPStatus
    detail: str


@dataclass(frozen=True, slots=True)
class Sites:
    """Sites that may call the gateway from a browser, and names that the gateway has."""

    allowed_origins: frozenset[str] = frozenset()
    allowed_hosts: frozenset[str] = frozenset()
    names_matter: bool = True
    """Whether a name that nobody has allowed is refused. With tokens it need not be: a cookie is the name's own."""

    def why_not(self, method: str | None, headers: Mapping[str, str]) -> SiteRefusal | None:
        """Return why a request is refused, or None. `method` is None for a WebSocket."""
        host = headers.get("host", "")
        if not self._is_known(host):
            return SiteRefusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"This gateway is not known as {host[:100]!r}: ask by its address, or add that name to "
                "gateway.allowed_hosts.",
            )
        if method in _READING:
            return None  # what is read, a browser keeps from other sites by itself
        if not is_trusted_origin(headers, self.allowed_origins) or self._is_cross_site(headers):
            return SiteRefusal(
                HTTPStatus.FORBIDDEN,
                f"A page of {headers.get('origin', 'another site')[:100]} may not do this: gateway.allowed_origins "
                "names those that may.",
            )
        media_type = headers.get("content-type", _JSON).partition(";")[0].strip().lower()
        if method == "POST" and media_type != _JSON:
            detail = f"The body is sent as {media_type[:60]!r}: send JSON, with Content-Type: {_JSON}."
            return SiteRefusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
        return None

    def _is_known(self, host: str) -> bool:
        """Tell whether a name is the gateway's. No site can give itself an address or a name without a dot."""
        if not host or not (self.names_matter or self.allowed_hosts):
            return True  # every browser names a host
        name = _name_in(f"//{host}")
        if name is None:
            return False
        return "." not in name or name in self.allowed_hosts or "*" in self.allowed_hosts or _is_address(name)

    def _is_cross_site(self, headers: Mapping[str, str]) -> bool:
        return headers.get("sec-fetch-site") == "cross-site" and not (
            "*" in self.allowed_origins or headers.get("origin") in self.allowed_origins
        )


def is_trusted_origin(headers: Mapping[str, str], allowed_origins: frozenset[str] = frozenset()) -> bool:
    """Say whether a connection may come from where it says it comes from.

    Programs send no Origin and are served. A browser's page is served when it comes from this host (any port, so that
    a page under development works) or from an allowed origin: any other site that a user visits could otherwise read
    the fleet through that user's browser.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed_origins or "*" in allowed_origins:
        return True
    host = _name_in(origin)
    return host is not None and host == _name_in(f"//{headers.get('host', '')}")


def _name_in(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
