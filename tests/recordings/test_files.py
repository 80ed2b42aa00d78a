import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.errors import RecordingError
from recordings.files import opened

TEXT = "time,größe (°C)\r\n1,2\r\n"


def read(path):
    with opened(path) as (text, encoding):
        return text.read(), encoding


@pytest.mark.parametrize(
    ("codec", "said"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("latin-1", "Latin-1"),
        ("cp1252", "Latin-1"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_is_read_whatever_its_encoding_packing_and_name(tmp_path, codec, said, packed):
    path = tmp_path / ("table.csv" if packed else "table.gz")
    content = TEXT.encode(codec)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read(path) == (TEXT, said + ", gzipped" * packed)


def test_a_stray_byte_far_into_a_file_costs_its_own_character_alone(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("ü".encode() * 100_000 + b"\xb0" + "ü".encode())
    assert read(path)[0] == "ü" * 100_000 + "°ü"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"PK\x03\x04...", "zip archive or a spreadsheet"),
        (b"\x7fELF\0\1\2\3" * 9, "holds no text"),
        (b"\x1f\x8b broken", "gzip data is torn or damaged"),
        (gzip.compress(b"t,a\n" + b"0,1\n" * 50_000, mtime=0)[:-20], "gzip data is torn or damaged"),
    ],
)
def test_what_is_no_text_is_told_in_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=sentence):
        read(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RecordingError, match="No such file"):
        read(tmp_path / "absent.csv")
    with pytest.raises(RecordingError, match="cannot be read"):
        read(tmp_path)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.sampled_from(["utf-8-sig", "utf-16"]))
def test_text_is_read_as_it_was_written(tmp_path, text, codec):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(codec))
    assert read(path)[0] == text
