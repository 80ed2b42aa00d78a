"""The generated pages that are committed are those that the code gives."""

import pytest

from fleet.settings import PROJECT_FOLDER
from reference.pages import PAGES


@pytest.mark.parametrize("path", PAGES)
def test_committed_page_is_what_the_code_gives(path):
    file = PROJECT_FOLDER / path
    assert file.exists(), f"{path} is missing: run `make docs`"
    assert file.read_text("utf-8") == PAGES[path](), f"{path} is out of date: run `make docs`"


@pytest.mark.parametrize("path", PAGES)
def test_page_names_nothing_of_this_machine(path):
    assert str(PROJECT_FOLDER) not in PAGES[path]()
