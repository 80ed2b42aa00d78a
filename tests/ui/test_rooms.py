"""The page's folders: imports run downwards, never in a circle, and no folder holds more than a dozen modules."""

import graphlib
import os
import re
from collections import Counter
from pathlib import Path

# Top to bottom: a module imports from its own folder and from the floors below.
FLOORS = (
    {""},  # main.js, the only place where all of them meet
    {"choice", "views/details", "views/figures", "views/header", "views/lists", "views/map", "views/pipeline"},
    {"views/drawing"},
    {"words"},
    {"state", "net"},
    {"state/map", "state/trends"},
    {"state/records"},
)
IMPORTED = re.compile(r'(?:from |import\()"(\.[^"]+)"')


def imports_of(page: Path) -> dict[str, set[str]]:
    """Per module of the page, the modules that it imports, types included."""
    modules = {path.relative_to(page).as_posix(): path.read_text() for path in page.rglob("*.js")}
    return {
        module: {os.path.normpath(Path(module).parent / target) for target in IMPORTED.findall(source)}
        for module, source in modules.items()
    }


def room(module: str) -> str:
    return module.rpartition("/")[0]


def test_imports_stay_in_their_room_or_run_downwards(project_folder: Path) -> None:
    floor = {name: height for height, rooms in enumerate(FLOORS) for name in rooms}
    for module, targets in imports_of(project_folder / "ui/js").items():
        for target in targets:
            below = floor[room(target)] > floor[room(module)]
            assert below or room(target) == room(module), f"{module} imports {target}"


def test_modules_import_each_other_in_no_circle(project_folder: Path) -> None:
    graphlib.TopologicalSorter(imports_of(project_folder / "ui/js")).prepare()


def test_a_room_holds_a_dozen_modules_at_most(project_folder: Path) -> None:
    held = Counter(map(room, imports_of(project_folder / "ui/js")))
    assert max(held.values()) <= 12
    assert set(held) == set().union(*FLOORS)
