"""A client's message is refused while it comes in: it is never finished here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from deployments.message_limit import MAX_MESSAGE_BYTES, limit_messages
from tests.deployments.gateway_harness import running_gateway, wait_until


def test_a_message_is_refused_before_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.Config, "__init__", uvicorn.Config.__init__)  # given back at the end
    limit_messages()

    def unfinished() -> Iterator[str]:
        yield from ("x" * 8_192 for _ in range(MAX_MESSAGE_BYTES // 8_192 + 1))
        wait_until(lambda: client.state is not State.OPEN, "the message is refused")
        yield "x"

    with running_gateway(tmp_path, Path()) as gateway, gateway.connect() as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.send(unfinished())
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
