"""Runs the processes of the gateway's clients: started, begun together with the producers, ended, and what they found.

Neighbours: `locust_clients` is what runs in them (Locust must be installed), `run` asks for them.
"""

import importlib.util
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import msgspec

from fleet.errors import FleetError, LocalServiceError
from loadtest.client_plan import OVERTIME_S, REQUEST_TIMEOUT_S, ClientPlan, Findings, PartFindings, findings_of
from simulator.pacing import Stop

READY_TIMEOUT_S = 90.0  # to import, to drive a few vehicles, and to connect some thousand clients
END_TIMEOUT_S = REQUEST_TIMEOUT_S + 10.0
CHECK_S = 0.2


class Clients:
    """The client processes of one test; they are gone when the context is left, whatever happened."""

    def __init__(self, plan: ClientPlan) -> None:
        self._plan = plan
        self._folder = tempfile.TemporaryDirectory(prefix="loadtest-")
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        """Start the processes. Raises FleetError without Locust."""
        if self._plan.is_empty:
            return self
        if importlib.util.find_spec("locust") is None:
            raise FleetError(
                "Requests and feed clients need Locust, which is not installed: use `make loadtest`, or install "
                "requirements/loadtest.txt."
            )
        folder = Path(self._folder.name)
        (folder / "plan").write_bytes(msgspec.msgpack.encode(self._plan))
        for part in range(self._plan.parts):
            command = [sys.executable, "-m", "loadtest.locust_clients", str(folder / "plan"), str(part)]
            self._processes.append(
                subprocess.Popen(
                    [*command, str(folder / f"findings-{part}")],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self._folder.cleanup()

    def wait_until_ready(self, stop: Stop) -> None:
        """Wait until every client stands by and the feed's are connected. Raises LocalServiceError, FleetError."""
        if not self._wait_for("ready", time.monotonic() + READY_TIMEOUT_S, stop) and not stop.is_set():
            raise FleetError(
                f"The clients of {self._plan.gateway} were not connected within {READY_TIMEOUT_S:.0f} s: "
                "is it the gateway's address, and has it room for so many (gateway.max_clients)?"
            )

    def begin(self, start_s: float) -> None:
        """Let all begin at a Unix time."""
        self._tell(f"start {start_s!r}")

    def wait_until_done(self, stop: Stop) -> None:
        """Wait until every request is sent; at most as long as the clients go on by themselves."""
        self._wait_for("done", time.monotonic() + self._plan.seconds + OVERTIME_S + END_TIMEOUT_S, stop)

    def end(self) -> Findings:
        """End all clients and return what they found. Raises LocalServiceError."""
        self._tell("stop")
        deadline = time.monotonic() + END_TIMEOUT_S
        parts = []
        for part, process in enumerate(self._processes):
            try:
                status = process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                raise LocalServiceError("A process of clients did not end: use a machine that is less busy.") from None
            if status:
                raise _ended(status)
            file = Path(self._folder.name) / f"findings-{part}"
            parts.append(msgspec.msgpack.decode(file.read_bytes(), type=PartFindings))
        return findings_of(self._plan, parts)

    def _wait_for(self, word: str, deadline: float, stop: Stop) -> bool:
        """Wait until every process has said a word. Raises LocalServiceError when one has ended."""
        waiting = {process.stdout: process for process in self._processes if process.stdout}
        while waiting and time.monotonic() < deadline and not stop.is_set():
            for output in select.select(list(waiting), [], [], CHECK_S)[0]:
                line = output.readline()
                if not line:
                    raise _ended(waiting[output].wait(END_TIMEOUT_S))
                if line.strip() == word:
                    del waiting[output]
        return not waiting

    def _tell(self, words: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            try:
                process.stdin.write(f"{words}\n")
                process.stdin.flush()
            except OSError:
                raise _ended(process.wait(END_TIMEOUT_S)) from None


def _ended(status: int) -> LocalServiceError:
    return LocalServiceError(f"A process of clients ended with status {status}: see the lines above.")
