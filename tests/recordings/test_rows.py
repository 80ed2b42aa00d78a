"""Whole files: the dialects that loggers and exports write, in small."""

import csv
import gzip
import io
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import RecordingError
from recordings import rows as rows_module
from recordings.numbers import numbers
from recordings.rows import opened_rows, place_of
from recordings.times import TimeReader


def read(path):
    """Return a file's header, its cells by row, what it was taken for, and how many cells each row had too many."""
    with opened_rows(path) as rows:
        blocks = list(rows.blocks)
    cells = [row for block in blocks for row in zip(*block.columns, strict=True)]
    return list(rows.header), cells, rows, [surplus for block in blocks for surplus in block.surplus]


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


PLAIN = "time,vehicle,speed,lat\n1796060000,van-1,30.5,-31.41\n1796060001,van-1,31.5,-31.42\n"


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (PLAIN, "commas, UTF-8"),
        ("\ufeff" + PLAIN, "commas, UTF-8"),
        (PLAIN.encode("utf-16"), "commas, UTF-16"),
        (gzip.compress(PLAIN.encode(), mtime=0), "commas, UTF-8, gzipped"),
        (PLAIN.replace("\n", "\r\n\r\n"), "commas, UTF-8"),
        (PLAIN.replace("\n", "\r"), "commas, UTF-8"),
        (PLAIN.rstrip(), "commas, UTF-8"),
        (PLAIN + ",,,\n", "commas, UTF-8"),
        ("# GPS log, exported 2026\n" + PLAIN, "commas, header in line 2, UTF-8"),
        (PLAIN + PLAIN.splitlines()[0], "commas, UTF-8"),
        (PLAIN.replace(",", ", "), "commas, UTF-8"),
        (PLAIN.replace(",", "\t").replace(".", ","), "tabs, decimal commas, UTF-8"),
        (PLAIN.replace(",", ";").replace(".", ","), "semicolons, decimal commas, UTF-8"),
        (PLAIN.replace("30.5", '"30,5"').replace("31.5", '"31,5"'), "commas, decimal commas, UTF-8"),
    ],
)
def test_one_table_is_read_alike_from_every_dialect(file, content, form):
    header, cells, rows, _ = read(file(content))
    time_s, _, speed, lat = ([row[column] for row in cells] for column in range(4))
    assert header == ["time", "vehicle", "speed", "lat"]
    assert TimeReader("time", rows.marks).read(time_s).tolist() == [1796060000, 1796060001]
    assert numbers(speed, rows.marks)[0].tolist() == [30.5, 31.5]
    assert numbers(lat, rows.marks)[0].tolist() == [-31.41, -31.42]
    assert rows.form == form


def test_a_header_that_is_repeated_is_no_row_and_is_counted(file):
    _, cells, rows, _ = read(file(PLAIN + PLAIN + PLAIN))
    assert len(cells) == 6
    assert rows.described("") == "commas, UTF-8, lines passed over: 2 (header repeated)"


def test_latin_1_is_read_with_its_signs(file):
    header, _, rows, _ = read(file("time,temp (°C)\n1,88\n".encode("latin-1")))
    assert header == ["time", "temp (°C)"]
    assert rows.form == "commas, Latin-1"


def test_short_rows_are_filled_and_long_ones_cut_and_both_told(file):
    _, cells, _, surplus = read(file("t,a,b\n0,1,2\n1,2\n2,3,4,5\n3,4,5,\n"))
    assert cells == [("0", "1", "2"), ("1", "2", ""), ("2", "3", "4"), ("3", "4", "5")]
    assert surplus == [0, -1, 1, 0]


@pytest.mark.parametrize("content", ["", "\n\n", "# a comment alone\n"])
def test_a_file_without_a_header_is_refused(file, content):
    with pytest.raises(RecordingError, match="no header"):
        read(file(content))


def test_a_line_without_end_is_refused(file):
    with pytest.raises(RecordingError, match="a line of a million characters"):
        read(file("a" * 1_000_001))


def test_a_column_is_found_by_its_name(file):
    with opened_rows(file("t,a,a\n0,1,2\n")) as rows:
        assert place_of(rows, "t", "time") == 0
        with pytest.raises(RecordingError, match="has no column 'b' for the signal; its columns are t, a, a"):
            place_of(rows, "b", "signal")
        with pytest.raises(RecordingError, match="has 2 columns 'a'"):
            place_of(rows, "a", "signal")


def test_recordings_are_bounded(file, monkeypatch):
    monkeypatch.setattr(rows_module, "MOST_ROWS", 3)
    with pytest.raises(RecordingError, match="more than 3 rows"):
        read(file("t,a\n0,1\n1,1\n2,1\n3,1\n"))


@dataclass
class Written:
    """How a table is written."""

    delimiter: str
    decimal: str
    group: str
    missing: str
    quoting: int
    codec: str
    packed: bool
    preamble: str
    line_end: str

    def cell(self, value):
        if value is None:
            return self.missing
        return f"{value:,.3f}".replace(",", "g").replace(".", self.decimal).replace("g", self.group)

    def file(self, table):
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.delimiter, quoting=self.quoting, lineterminator=self.line_end)
        # The first row says which mark is the decimals': a lone "1,000" does not.
        writer.writerows([["t", "größe", "note"], [self.cell(0.5), self.cell(1234.5), "a, b; c\td"]])
        writer.writerows([self.cell(time), self.cell(value), note] for time, value, note in table)
        content = (self.preamble + text.getvalue()).encode(self.codec)
        return gzip.compress(content) if self.packed else content


DIALECTS = st.builds(
    Written,
    delimiter=st.sampled_from(",;\t"),
    decimal=st.just("."),
    group=st.sampled_from(["", ",", " ", "'"]),
    missing=st.sampled_from(["", "-", "NA", "null"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    codec=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    packed=st.booleans(),
    preamble=st.sampled_from(["", "# exported, today\n", "Logger X\n\n"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
) | st.builds(
    Written,
    delimiter=st.sampled_from(",;\t"),
    decimal=st.just(","),
    group=st.sampled_from(["", ".", "\u00a0"]),
    missing=st.sampled_from(["", "-", "n/a", "NaN"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    codec=st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    packed=st.booleans(),
    preamble=st.sampled_from(["", "sep=;\n", "Logger X\n\n"]),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
THOUSANDTHS = st.integers(-(10**9), 10**9).map(lambda number: number / 1000)
NOTES = st.sampled_from(["", "plain", 'a "quoted" word', "two\nlines", "a; b, c\td"])
TABLES = st.lists(st.tuples(THOUSANDTHS, THOUSANDTHS | st.none(), NOTES), min_size=2, max_size=20)


@given(TABLES, DIALECTS, st.integers(1, 8))
def test_a_table_comes_back_from_every_dialect_that_it_is_written_in(tmp_path, table, dialect, block):
    path = tmp_path / "table"
    path.write_bytes(dialect.file(table))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "BLOCK_ROWS", block)
        header, cells, rows, surplus = read(path)
    assert header == ["t", "größe", "note"]
    times, unreadable = numbers([row[0] for row in cells], rows.marks)
    assert times.tolist() == [0.5, *(time for time, _, _ in table)]
    assert not unreadable.any()
    values, unreadable = numbers([row[1] for row in cells], rows.marks)
    assert [None if value != value else value for value in values.tolist()] == [1234.5, *(v for _, v, _ in table)]
    assert not unreadable.any()
    assert [row[2] for row in cells] == ["a, b; c\td", *(note for *_, note in table)]
    assert not any(surplus)
