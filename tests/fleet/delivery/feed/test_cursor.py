import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.feed.cursor import BadCursorError, Cursor, CursorKey

positions = st.dictionaries(st.integers(0, 1_000), st.integers(0, 2**62), max_size=8)
cursors = st.builds(Cursor, st.text(max_size=30), positions, st.integers(0, 2**40))


@given(cursors)
def test_cursor_is_read_by_every_replica_of_the_application(cursor: Cursor) -> None:
    text = CursorKey("secret", "fleet").write(cursor)
    assert CursorKey("secret", "fleet").read(text) == cursor
    assert CursorKey("", "fleet").read(CursorKey("", "fleet").write(cursor)) == cursor


@given(cursors, st.data())
def test_changed_cursor_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    key = CursorKey("secret", "fleet")
    signed = bytearray(base64.urlsafe_b64decode(key.write(cursor)))
    signed[data.draw(st.integers(0, len(signed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadCursorError):
        key.read(base64.urlsafe_b64encode(bytes(signed)).decode())


@given(st.text(max_size=80))
def test_any_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursorError, match="not given out"):
        CursorKey("secret", "fleet").read(text)


@pytest.mark.parametrize("other", [CursorKey("other", "fleet"), CursorKey("", "fleet"), CursorKey("secret", "two")])
def test_cursor_of_another_key_is_refused(other: CursorKey) -> None:
    text = CursorKey("secret", "fleet").write(Cursor("topic", {0: 5}, 1))
    with pytest.raises(BadCursorError):
        other.read(text)
