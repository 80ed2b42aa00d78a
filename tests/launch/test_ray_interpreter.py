import subprocess
import sys
from pathlib import Path

import pytest

from fleet.errors import LocalServiceError
from launch.ray_interpreter import ray_interpreter


def environment_in(folder: Path) -> Path:
    """Make an environment like this one's, without packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


def test_ray_interpreter_is_this_one_where_a_shell_takes_its_path_as_one_word(tmp_path: Path) -> None:
    executable = Path("/opt/fleet/.venv/bin/python")
    assert ray_interpreter(tmp_path, executable, Path("/opt/fleet/.venv")) == executable
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["with space", "it's", "a$HOME", "semi;colon"])
def test_ray_interpreter_gives_a_path_that_a_shell_takes_as_one_word(tmp_path: Path, name: str) -> None:
    prefix = environment_in(tmp_path / name)
    folder = tmp_path / "run"
    folder.mkdir()
    for _ in range(2):  # a second node of the same cluster finds the link
        interpreter = ray_interpreter(folder, prefix / "bin" / "python", prefix)
    told = subprocess.run(
        f"{interpreter} -c 'import sys; print(sys.prefix)'", shell=True, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(folder / "environment")
    assert Path(told.stdout.strip()).resolve() == prefix


def test_ray_interpreter_says_what_to_do_where_a_link_would_have_spaces_too(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    prefix = Path("/home/a person/fleet/.venv")
    with pytest.raises(LocalServiceError, match=r"Ray cannot start from /home/a person/fleet/\.venv.* TMPDIR"):
        ray_interpreter(folder, prefix / "bin" / "python", prefix)
