"""How long a WebSocket message from a client may be: it is measured while it comes in, before the application has it.

The server in front of the application holds such a message in memory until its last piece has come. Uvicorn's own limit
is 16 MiB, and Serve has no setting for it.
"""

from functools import partialmethod
from typing import Final

import uvicorn

MAX_MESSAGE_BYTES: Final = 65_536


def limit_messages() -> None:
    """Let servers that are made from now on in this process close a connection with 1009 beyond the limit."""
    uvicorn.Config.__init__ = partialmethod(  # type: ignore[method-assign, assignment]
        uvicorn.Config.__init__, ws_max_size=MAX_MESSAGE_BYTES
    )
