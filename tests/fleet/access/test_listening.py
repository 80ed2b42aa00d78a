"""Without tokens, the gateway starts on loopback alone, unless somebody has said otherwise."""

import pytest

from fleet.access.listening import check_listener, is_loopback
from fleet.errors import SettingsError
from fleet.settings import AuthSettings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
def test_loopback_needs_no_token(host: str):
    assert is_loopback(host)
    check_listener(AuthSettings(), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "fleet.example", "", None])
def test_every_other_address_needs_tokens_or_a_word(host: str | None):
    with pytest.raises(SettingsError, match=r"auth\.mode is none"):
        check_listener(AuthSettings(), host)
    check_listener(AuthSettings(allow_open=True), host)
    check_listener(AuthSettings(mode="tokens"), host)
