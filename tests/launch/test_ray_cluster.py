"""Titles of a cluster's processes: Ray writes the actor's class over the command line."""

import subprocess
import sys

import psutil

from launch.ray_cluster import title


def test_a_process_that_has_gone_has_no_title() -> None:
    process = psutil.Process(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE).pid)
    assert title(process) == sys.executable
    process.kill()
    process.wait()
    assert title(process) == ""
