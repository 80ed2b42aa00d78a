"""Runs one command and sees to it that nothing of it stays behind: `python -m launch.supervised PARENT COMMAND…`.

Ray starts processes that start processes; killed in the wrong order, some are orphaned (a HAProxy that holds the
port, dashboard agents). Orphans come back to this process, as their subreaper, and are ended with the command. The
kernel tells it when its own parent dies, even by `kill -9`, and it then ends the command as if asked to.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from types import FrameType

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_S = 40.0
LEFTOVER_GRACE_S = 3.0


def supervise(parent_pid: int, command: list[str]) -> int:
    """Run a command until it ends or SIGTERM comes (passed on as Ctrl-C). Returns its exit status."""
    _become_subreaper()
    if os.getppid() != parent_pid:
        return 1  # the parent went before the kernel was told to say so
    # A shell's background job ignores Ctrl-C, and so would everything that it starts; a signal with a handler is not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command)

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    end_descendants()
    return process.wait()


def end_descendants() -> None:
    """End whatever this process has below it: first asked, then killed."""
    below = psutil.Process().children(recursive=True)
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for survivor in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                ask(survivor)
        _, below = psutil.wait_procs(below, timeout=LEFTOVER_GRACE_S)


def _become_subreaper() -> None:
    if sys.platform == "linux":  # elsewhere a killed parent leaves its children behind
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2:]))
