"""`fleet run` as shells start it, on a terminal that closes: what was told to outlive it does."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

PATIENCE_S = 30.0
# `fleet run` with its own signals and its own waiting, and a line in a file instead of a system.
PROGRAM = """
import os, sys
from commands import run

def started(*_):
    with open(sys.argv[1], "a") as alive:
        for _ in run._every(0.02):
            print(os.getpid(), file=alive, flush=True)

run._start = started
run.run()
"""
# A shell of its own on the terminal, with the words as its background job.
SHELL = ("setsid", "--ctty", "sh", "-c", '"$@" & wait', "sh")

Start = Callable[..., Path]


def lines(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain: {what}"
        time.sleep(0.02)


@pytest.fixture
def start_and_close_the_terminal(project_folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the program by these words on a terminal of its own, and close that once the program is at work."""
    alive, begun = tmp_path / "alive", list[subprocess.Popen[bytes]]()

    def started(*words: str) -> Path:
        ours, terminal = pty.openpty()
        command = [*SHELL, *words, sys.executable, "-c", PROGRAM, str(alive)]
        environment = {**os.environ, "PYTHONPATH": str(project_folder)}
        begun.append(
            subprocess.Popen(command, cwd=tmp_path, env=environment, stdin=terminal, stdout=terminal, stderr=terminal)
        )
        os.close(terminal)
        until(lambda: len(lines(alive)) > 2, "the program works")
        os.close(ours)
        return alive

    yield started
    for pid in lines(alive)[:1]:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(int(pid)).kill()
    for process in begun:
        process.wait(PATIENCE_S)


def process_of(alive: Path) -> psutil.Process:
    return psutil.Process(int(lines(alive)[0]))


def is_working(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("words", [["nohup"], ["setsid"]], ids=lambda words: words[0])
def test_run_outlives_its_terminal_where_it_was_told_to(start_and_close_the_terminal: Start, words: list[str]) -> None:
    alive = start_and_close_the_terminal(*words)
    before = len(lines(alive))
    until(lambda: len(lines(alive)) > before + 20, "it works on")
    process = process_of(alive)
    if words == ["nohup"]:
        process.send_signal(signal.SIGHUP)  # as a shell sends its jobs when it goes
        before = len(lines(alive))
        until(lambda: len(lines(alive)) > before + 20, "it works on")
    process.terminate()
    until(lambda: not is_working(process), "it ends when asked")


def test_run_ends_with_its_terminal(start_and_close_the_terminal: Start) -> None:
    # The tests themselves may run under nohup.
    process = process_of(start_and_close_the_terminal("env", "--default-signal=HUP"))
    until(lambda: not is_working(process), "it ends")
