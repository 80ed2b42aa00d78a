import subprocess
from pathlib import Path

import pytest

from launch.ray_environment import RAY_ENV, ray_environment, ray_variables


def test_ray_variables_are_what_a_shell_reads_from_the_file(tmp_path: Path) -> None:
    shell = subprocess.run(
        ["bash", "-c", f"set -a; . '{RAY_ENV}'; env -0"],
        env={"PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)
    ours = ray_variables()
    assert ours
    assert {name: told[name] for name in ours} == ours
    assert set(told) - set(ours) <= {"PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def test_ray_variables_leave_out_comments_and_empty_lines(tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    file.write_text("# why\n\nA=1\n  B=x=y\n#C=3\n")
    assert ray_variables(file) == {"A": "1", "B": "x=y"}


def test_ray_environment_leaves_a_variable_that_is_set_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_worker_niceness", "7")
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    environment = ray_environment()
    assert environment["RAY_worker_niceness"] == "7"
    assert environment["SOMETHING_ELSE"] == "kept"
    assert environment["RAY_SERVE_ENABLE_HA_PROXY"] == ray_variables()["RAY_SERVE_ENABLE_HA_PROXY"]
