import pytest

from recordings.dialect import dialect_of

TABLE = ["time;speed;note\n", '1;"2,5";"a, b, c"\n', "2;3,5;\n"]


@pytest.mark.parametrize(
    ("preamble", "line"),
    [
        ([], 0),
        (["# GPS log, exported 2026\n"], 1),
        (["sep=;\n"], 1),
        (["Logger X, firmware 3\n", "\n", "Serial: 12; 13\n"], 3),
        (['Driver: "Anna\n', 'Bo"\n'], 2),
    ],
)
def test_the_header_is_found_below_a_preamble(preamble, line):
    dialect = dialect_of(preamble + TABLE)
    assert (dialect.header_line, dialect.delimiter, dialect.marks.decimal_comma) == (line, ";", True)
    assert dialect.header == ["time", "speed", "note"]


@pytest.mark.parametrize(
    ("lines", "delimiter", "header"),
    [
        (["t,a\n", "0,1,2\n"], ",", ["t", "a"]),
        (["t,a,note\n", "0,1,x;y;z\n"], ",", ["t", "a", "note"]),
        (["t;a\n", "0,5;1,25\n"], ";", ["t", "a"]),
        (["t\ta\n", "0,5\t1,25\n"], "\t", ["t", "a"]),
        (['"Speed, km/h";"Time, s"\n', "1;2\n"], ";", ["Speed, km/h", "Time, s"]),
        (["# t,a\n", "0,1\n"], ",", ["# t", "a"]),
        (["t,a,b\n", "0,1,2,\n", "1,1,2,\n"], ",", ["t", "a", "b"]),
        (["t\n", "0\n"], ",", ["t"]),
        ([], ",", []),
        (["# nothing\n"], ",", []),
    ],
)
def test_delimiter_and_header_are_those_of_a_regular_table(lines, delimiter, header):
    dialect = dialect_of(lines)
    assert (dialect.delimiter, [cell.strip() for cell in dialect.header]) == (delimiter, header)


def test_a_dialect_is_said_in_a_few_words():
    assert dialect_of(["# log\n", *TABLE]).describe("UTF-8") == "semicolons, decimal commas, header in line 2, UTF-8"
