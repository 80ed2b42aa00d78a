"""A cluster that does not start says why; Ray writes the class of an actor over its process's command line."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fleet.errors import LocalServiceError
from launch.ray_cluster import START_TIMEOUT_S, RayCluster, title


def test_cluster_says_at_once_why_its_head_ended(tmp_path: Path) -> None:
    """What no Python finds ends every Python: so does Ray's head, as soon as it starts."""
    cluster = RayCluster(tmp_path, {**os.environ, "PYTHONHOME": str(tmp_path)})
    began_s = time.monotonic()
    with cluster, pytest.raises(LocalServiceError, match=r"(?s)Ray ended while it started.*ray\.log:.*No module named"):
        cluster.start()
    assert time.monotonic() - began_s < START_TIMEOUT_S / 4


def test_a_process_that_has_gone_has_no_title() -> None:
    process = psutil.Process(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE).pid)
    assert title(process) == sys.executable
    process.kill()
    process.wait()
    assert title(process) == ""
