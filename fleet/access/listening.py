"""Whether a gateway that asks nobody for a token may listen where it would listen."""

import ipaddress

from fleet.errors import SettingsError
from fleet.settings import AuthSettings


def is_loopback(host: str | None) -> bool:
    """Tell whether only this machine reaches an address; None stands for all addresses."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False  # a name may stand for any address


def check_listener(auth: AuthSettings, host: str | None) -> None:
    """Raise SettingsError where strangers would reach a gateway that lets everybody in, and nobody has allowed that."""
    if auth.mode == "none" and not auth.allow_open and not is_loopback(host):
        raise SettingsError(
            f"auth.mode is none, and Serve would listen on {host or 'every address'}: everybody who reaches the port "
            "would see the fleet. Set auth.mode to tokens or jwt, or http_options.host to 127.0.0.1, or, where "
            "something else keeps strangers out, auth.allow_open to true."
        )
