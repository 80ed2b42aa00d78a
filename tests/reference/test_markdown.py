from hypothesis import given
from hypothesis import strategies as st

from reference import markdown

CELLS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="\\"), min_size=1)


def test_page_says_where_its_words_stand():
    assert markdown.page("Title", "fleet/x.py", ["One.", ""]) == (
        "<!-- Made by `make docs` from fleet/x.py. Change it there. -->\n\n# Title\n\nOne.\n"
    )


def test_table_leaves_out_columns_that_are_empty_in_all_rows():
    lines = markdown.table(("a", "b", "c"), [("1", "", ""), ("2", "", "x")])
    assert lines == ["| a | c |", "| --- | --- |", "| 1 |  |", "| 2 | x |", ""]


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1))
def test_table_has_as_many_columns_in_every_line_whatever_the_cells_hold(rows):
    for line in markdown.table(("a", "b"), rows)[:-1]:
        assert line.replace("\\|", "").count("|") == 3


def test_code_of_nothing_is_nothing():
    assert (markdown.code("x"), markdown.code("")) == ("`x`", "")
