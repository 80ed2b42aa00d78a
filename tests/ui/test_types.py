"""The types in the modules' comments hold: TypeScript's compiler checks the page as it stands."""

import os
import shutil
import subprocess
from pathlib import Path

from deno import find_deno_bin

MISTAKES = {
    'document.title = Number("3");': "TS2322",
    "/** @param {string|null} text */ export const long = (text) => text.length;": "TS18047",
    "export const half = (number) => number / 2;": "TS7006",
    'import { nothing } from "./net/backoff.js"; nothing();': "TS2305",
    "const unused = 1; export {};": "TS6133",
    "Deno.exit();": "TS2304",
}


def compiled(page: Path, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run the compiler over a page's folder, without writing anything into it.

    The compiler is Deno's, because its wheel comes from where all other requirements come from and is checked by its
    hash as they are. TypeScript's own package would want Node, npm and a second lock file.
    """
    return subprocess.run(
        [
            find_deno_bin(),
            "check",
            "--no-remote",
            "--no-npm",
            "--no-lock",
            "--config",
            page / "tsconfig.json",
            page / "js",
        ],
        env={**os.environ, "DENO_DIR": str(scratch), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_pages_modules_have_no_type_errors(project_folder: Path, tmp_path: Path) -> None:
    run = compiled(project_folder / "ui", tmp_path)
    assert run.returncode == 0, run.stderr


def test_mistakes_in_any_module_are_found(project_folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "ui"
    shutil.copytree(project_folder / "ui", page)
    for number, mistake in enumerate(MISTAKES):
        (page / "js" / f"mistake_{number}.js").write_text(mistake)
    run = compiled(page, tmp_path / "scratch")
    assert run.returncode != 0
    for number, code in enumerate(MISTAKES.values()):
        assert code in run.stderr
        assert f"mistake_{number}.js" in run.stderr
