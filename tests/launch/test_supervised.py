"""A supervised command takes everything it started with it, however it or its parent ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

PATIENCE_S = 20.0

# Starts a grandchild that is orphaned at once and, in a session of its own, would outlive everything.
COMMAND = """
import subprocess, sys, time
orphan = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {orphan!r}], start_new_session=True)"
subprocess.Popen([sys.executable, "-c", child])
time.sleep({seconds})
"""
# As a shell starts a background job.
PARENT = """
import os, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-m", "launch.supervised", str(os.getpid()), *sys.argv[1:]]).wait()
"""

Start = Callable[[str], tuple["subprocess.Popen[str]", psutil.Process]]


@pytest.fixture
def start(project_folder: Path) -> Start:
    def started(seconds: str) -> tuple["subprocess.Popen[str]", psutil.Process]:
        command = [sys.executable, "-c", COMMAND.replace("{seconds}", seconds)]
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, *command], cwd=project_folder, stdout=subprocess.PIPE, text=True
        )
        assert parent.stdout is not None
        return parent, psutil.Process(int(parent.stdout.readline()))

    return started


def wait_until_gone(process: psutil.Process) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while is_alive(process):
        assert time.monotonic() < deadline_s, f"{process} is still there"
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended in between
        return False


def test_orphans_end_with_a_parent_that_was_killed(start: Start) -> None:
    parent, orphan = start("600")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until_gone(orphan)


def test_orphans_end_with_a_command_that_ended(start: Start) -> None:
    parent, orphan = start("0.5")
    assert parent.wait(PATIENCE_S) == 0
    wait_until_gone(orphan)


def test_a_command_without_its_parent_is_not_started(project_folder: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "launch.supervised", "1", sys.executable, "-c", "print('started')"],
        cwd=project_folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
