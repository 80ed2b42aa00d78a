"""Opens a recording as text, however it is packed and encoded.

Neighbours: `dialect` looks at the first lines, `rows` reads on. A file's first bytes say what it is; its name does not
count. A byte that is no UTF-8 is read as Latin-1 by itself, so files of both encodings are read in one pass.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TextIO

from fleet.errors import RecordingError

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZIP_MAGIC: Final = b"PK\x03\x04"
_SAMPLE_BYTES: Final = 65_536
_LATIN_1_BYTES: Final = "recordings.latin_1_bytes"


class _Encoding(NamedTuple):
    """How bytes become text."""

    codec: str
    name: str
    errors: str = "replace"


@contextmanager
def opened(path: Path) -> Iterator[tuple[TextIO, str]]:
    """Open a file as text, and say its encoding and packing; what goes wrong until it is closed is told in a sentence.

    Raises RecordingError.
    """
    try:
        with io.BufferedReader(io.FileIO(path), _SAMPLE_BYTES) as raw:
            packed = raw.peek(2)[:2] == _GZIP_MAGIC
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            encoding = _encoding(path, binary.peek(_SAMPLE_BYTES)[:_SAMPLE_BYTES])
            with io.TextIOWrapper(binary, encoding.codec, encoding.errors, newline="") as text:
                yield text, encoding.name + ", gzipped" * packed
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "its gzip data is torn or damaged"
        raise RecordingError(f"{path} cannot be read ({reason}): name a CSV file, gzipped or not.") from error
    except csv.Error as error:
        raise RecordingError(f"{path} is no CSV file ({error}): mend or leave out that line.") from error


def _encoding(path: Path, sample: bytes) -> _Encoding:
    if sample.startswith(_ZIP_MAGIC):
        raise RecordingError(f"{path} is a zip archive or a spreadsheet: unpack it, or export it as CSV.")
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _Encoding("utf-16", "UTF-16")
    for codec, high_bytes in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if high_bytes.count(0) * 2 > len(high_bytes):
            return _Encoding(codec, "UTF-16")
    if b"\0" in sample:
        raise RecordingError(f"{path} holds no text: name a CSV file, gzipped or not.")
    return _Encoding("utf-8-sig", "UTF-8" if _is_utf_8(sample) else "Latin-1", _LATIN_1_BYTES)


def _is_utf_8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return True


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    """Decode the bytes that are no UTF-8 as Windows writes Latin-1, with € and quotes."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_LATIN_1_BYTES, _as_latin_1)
