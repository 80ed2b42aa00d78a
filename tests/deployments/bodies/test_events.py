"""A list is taken apart value by value, to the same values as by one call, and no further than it may be."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.web.bodies.events import FIRST_WINDOW, MalformedError, TooLongError, TooManyError, split_list

LONGEST = 100_000
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(scalars, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=20)


def split(body: bytes, most: int = 10_000) -> list[bytes]:
    return split_list(body, "events", most, LONGEST)


@given(
    st.dictionaries(st.text().filter(lambda name: name != "events"), values, max_size=3),
    st.lists(values, max_size=10),
    st.sampled_from([None, 2]),
    st.booleans(),
)
def test_values_are_those_that_one_call_reads(before, events, indent, is_ascii):
    """Whatever stands before the list, however it is written; NaN and the like stay as they were sent."""
    body = json.dumps({**before, "events": events, "after": 1}, indent=indent, ensure_ascii=is_ascii)
    found = [json.loads(value) for value in split(body.encode(errors="surrogatepass"))] if is_text(body) else []
    if is_text(body):
        assert repr(found) == repr(json.loads(body)["events"])


def is_text(body: str) -> bool:
    try:
        body.encode()
    except UnicodeEncodeError:
        return False  # a lone surrogate that was not escaped is no UTF-8
    return True


@pytest.mark.parametrize("length", range(FIRST_WINDOW - 12, FIRST_WINDOW + 4))
@pytest.mark.parametrize("end", ['"', '\\u00e4"', '\\\\"', 'é"'])
def test_a_value_may_end_anywhere_about_the_window(length, end):
    value = '"' + "x" * length + end
    for event in (value, f'{{"a":{value},"b":-Infinity}}', "[" + "1" * 100 + "," + value + ",null]"):
        body = f'{{"events":[{event},{event}]}}'
        assert split(body.encode()) == [event.encode()] * 2


@given(st.binary(max_size=60), st.integers(0, 60))
def test_a_damaged_body_is_refused_and_nothing_else_happens(damage, place):
    body = b'{"events": [{"vehicleId": "A", "timestamp": 1}, {"a": [1, 2, "x"]}]}'
    damaged = body[:place] + damage + body[place + 1 :]
    try:
        split(damaged)
    except (MalformedError, TooLongError):
        return


def test_millions_of_values_stop_at_the_limit():
    """16 MB of `1,`: what was read beyond the limit would be 280 MB."""
    body = b'{"events":[' + b"1," * 8_000_000 + b"1]}"
    tracemalloc.start()
    try:
        with pytest.raises(TooManyError):
            split(body)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(body), "its text, and little more"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("event", "error", "says"),
    [
        ("[" + "1," * 1_000_000 + "1]", TooLongError, "2"),
        ('"' + "x" * (LONGEST + 1) + '"', TooLongError, "2"),
        ("[" * 50_000, MalformedError, "nested too deeply"),
        ("9" * 9_000, MalformedError, "too many digits"),
        ("{x}", MalformedError, "no JSON at character"),
        ("{x}" + " " * 500_000, MalformedError, "no JSON at character"),
        ('{"a": tru', MalformedError, "no JSON at character"),
        ("1 2", MalformedError, ", is missing"),
    ],
)
def test_what_is_wrong_is_said(event, error, says):
    body = f'{{"events": [1, {{}}, {event}, {"1," * 50_000} 1]}}'.encode()
    with pytest.raises(error, match=says):
        split(body, most=100_000)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"events": 1, "b": 2}', b"\xff{", b'{"events": [1', b'{"a"}'])
def test_what_has_no_list_is_refused(body):
    with pytest.raises(MalformedError):
        split(body)
