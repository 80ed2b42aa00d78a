"""Reads the body of a request: no longer than it may be, in no more time, and not too many bodies at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from deployments.web.problems import ProblemError

# A client that sends more slowly than this holds a place that others wait for.
BODY_TIMEOUT_S: Final = 10.0
LARGEST_BODIES_AT_ONCE: Final = 4


class Bodies:
    """Gives out the bodies of requests; those that are in hand take at most `most_bytes_at_once`."""

    def __init__(self, most_bytes_at_once: int, timeout_s: float = BODY_TIMEOUT_S) -> None:
        self._free_bytes, self._timeout_s = most_bytes_at_once, timeout_s

    @asynccontextmanager
    async def read(self, request: Request, most_bytes: int) -> AsyncIterator[bytes]:
        """Read a body; its bytes count until the block ends. Raises ProblemError as soon as a bound is passed."""
        taken = 0
        try:
            if int(request.headers.get("content-length") or 0) > most_bytes:
                raise _too_large(most_bytes)
            body = bytearray()
            async with asyncio.timeout(self._timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most_bytes:
                        raise _too_large(most_bytes)
                    taken += self._take(len(chunk))
            yield bytes(body)
        except TimeoutError:
            detail = f"The body did not come within {self._timeout_s:g} s: send fewer events at once."
            raise ProblemError(HTTPStatus.REQUEST_TIMEOUT, detail) from None
        except ClientDisconnect:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "The body broke off.") from None  # nobody is there to read it
        finally:
            self._free_bytes += taken

    def _take(self, count: int) -> int:
        if count > self._free_bytes:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "Too many large requests are under way: try again in a moment."
            )
        self._free_bytes -= count
        return count


def _too_large(most_bytes: int) -> ProblemError:
    detail = f"The body is larger than {most_bytes} bytes: send fewer events at once."
    return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
