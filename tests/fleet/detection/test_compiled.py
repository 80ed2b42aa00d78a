"""Where what is compiled is kept: in a place that can be written, and never in heaps."""

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
from fleet.detection.compiled import compiled

@compiled
def twice(number: int) -> int:
    return 2 * number

print(twice(21))
"""


@pytest.fixture
def checkout(tmp_path: Path, project_folder: Path) -> Path:
    """As much of a checkout as the compiled loops need, with a program that compiles one."""
    room = tmp_path / "checkout" / "fleet" / "detection"
    room.mkdir(parents=True)
    for package in (room, room.parent):
        (package / "__init__.py").touch()
    shutil.copy(project_folder / "fleet" / "detection" / "compiled.py", room)
    (room / "program.py").write_text(PROGRAM)
    return room.parent.parent


def run(checkout: Path, temporary: Path) -> str:
    """Run the program with this folder for temporary files and no home, as in a pod."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
    command = [sys.executable, "-B", "-m", "fleet.detection.program"]
    ran = subprocess.run(
        command,
        cwd=checkout,
        env={**environment, "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refuse_writing(checkout: Path) -> None:
    """Leave no room beside the sources, as a read-only root does; a file in the way stops root as well."""
    (checkout / "fleet" / "detection" / "__pycache__").touch()


def kept_in(folder: Path) -> list[Path]:
    return list(folder.rglob("*.nbc"))


def test_compiled_code_is_kept_beside_the_sources(checkout: Path, tmp_path: Path) -> None:
    assert run(checkout, tmp_path) == "42\n"
    [folder] = (checkout / "fleet" / "detection" / "__pycache__").glob("compiled-*")
    assert kept_in(folder)


def test_compiled_code_is_kept_among_temporary_files_where_the_sources_are_read_only(
    checkout: Path, tmp_path: Path
) -> None:
    refuse_writing(checkout)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    assert run(checkout, temporary) == "42\n"
    place = temporary / f"fleet-{os.getuid()}"
    assert kept_in(place)
    assert not place.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def test_a_place_that_anybody_can_write_to_holds_no_code(checkout: Path, tmp_path: Path) -> None:
    refuse_writing(checkout)
    place = tmp_path / f"fleet-{os.getuid()}"
    place.mkdir()
    place.chmod(0o777)
    assert run(checkout, tmp_path) == "42\n"
    assert not kept_in(place)


def test_code_of_other_sources_goes_when_nobody_has_used_it_for_a_day(checkout: Path, tmp_path: Path) -> None:
    cache = checkout / "fleet" / "detection" / "__pycache__"
    unused, used, no_cache = cache / "compiled-111111111111", cache / "compiled-222222222222", cache / "other"
    days_ago_s = time.time() - 2 * 86_400
    for folder in (unused, used, no_cache):
        folder.mkdir(parents=True)
        (folder / "file").touch()
        os.utime(folder, (days_ago_s, time.time() if folder == used else days_ago_s))
    assert run(checkout, tmp_path) == "42\n"
    assert not unused.exists()
    assert used.is_dir()
    assert no_cache.is_dir()
    assert len(list(cache.glob("compiled-*"))) == 2
