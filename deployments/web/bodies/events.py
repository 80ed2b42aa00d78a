"""Takes a body of many values apart, value by value, so that it stops at the first that is one too many or too large.

One call that parses the whole of it would hold the interpreter, and with it every live screen, for seconds: 16 MB of
`1,` are eight million values. Between two values other threads run.
"""

import json
from json.decoder import WHITESPACE
from typing import Any, Final

# Most values are shorter; one that is longer is looked at again in a larger window.
FIRST_WINDOW: Final = 4_096
WINDOW_GROWTH: Final = 8
LONGEST_WORD: Final = len("-Infinity")
_DECODER: Final = json.JSONDecoder()


class MalformedError(Exception):
    """A body is no object with a list of values; the message says where it goes wrong."""


class TooManyError(Exception):
    """A list has more values than it may have."""


class TooLongError(Exception):
    """A value is longer than it may be; `index` is its place in the list, None outside of it."""

    def __init__(self, index: int | None) -> None:
        super().__init__(index)
        self.index = index


def split_list(body: bytes, name: str, most: int, longest: int) -> list[bytes]:
    """Return the values of the list that the object in `body` has under `name`, each as its own bytes.

    At most `most` values, of at most `longest` characters each. Raises MalformedError, TooManyError or TooLongError.
    """
    text = _decoded(body)
    at = _after(text, 0, "{")
    while True:
        key, at = _value(text, at, longest, None)
        at = _after(text, at, ":")
        if key == name and text[at : at + 1] == "[":
            return _list(text, at + 1, most, longest)
        _, at = _value(text, at, longest, None)
        at = _after(text, at, ",")


def _list(text: str, at: int, most: int, longest: int) -> list[bytes]:
    values: list[bytes] = []
    at = _space(text, at)
    while text[at : at + 1] != "]":
        if len(values) == most:
            raise TooManyError
        _, end = _value(text, at, longest, len(values))
        values.append(text[at:end].encode(errors="surrogatepass"))
        at = _space(text, end)
        if text[at : at + 1] != "]":
            at = _after(text, at, ",")
    return values


def _value(text: str, at: int, longest: int, index: int | None) -> tuple[Any, int]:
    """Read the value that begins at `at`; returns it and where it ends. Its window grows where it is cut off."""
    window = FIRST_WINDOW
    while True:
        piece = text[at : at + min(window, longest + 1)]
        is_all = at + len(piece) == len(text)
        try:
            value, length = _DECODER.raw_decode(piece)
        except RecursionError:
            raise MalformedError(f"what begins at character {at} is nested too deeply") from None
        except json.JSONDecodeError as wrong:
            if is_all or not _is_cut_off(wrong, len(piece)):
                raise MalformedError(f"there is no JSON at character {at + wrong.pos}") from None
        except ValueError:
            raise MalformedError(f"the number at character {at} has too many digits") from None
        else:
            # A number may go on behind the window.
            if length < len(piece) or (is_all and length <= longest):
                return value, at + length
        if window > longest:
            raise TooLongError(index)
        window *= WINDOW_GROWTH


def _is_cut_off(wrong: json.JSONDecodeError, length: int) -> bool:
    """Tell whether a text may only be wrong because it ends too soon: a string, or a word or an escape at its end."""
    return wrong.msg.startswith("Unterminated string") or wrong.pos >= length - LONGEST_WORD


def _after(text: str, at: int, sign: str) -> int:
    """Return where the text goes on after a sign and the space around it."""
    at = _space(text, at)
    if text[at : at + 1] != sign:
        raise MalformedError(f"{sign} is missing at character {at}")
    return _space(text, at + 1)


def _space(text: str, at: int) -> int:
    found = WHITESPACE.match(text, at)
    return at if found is None else found.end()


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise MalformedError(f"byte {wrong.start} is no UTF-8") from None
