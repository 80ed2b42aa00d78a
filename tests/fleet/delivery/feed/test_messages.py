import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.feed.messages import Filter, MalformedMessageError, Subscribe, read_message

SUBSCRIBE = {"type": "subscribe", "id": "a"}


def test_message_is_read_with_its_wire_names() -> None:
    text = json.dumps(
        {**SUBSCRIBE, "filter": {"minSeverity": 0.5}, "intervalMs": 100, "viewport": [-64, -32, -63, -31]}
    )
    assert read_message(text) == Subscribe(
        id="a", filter=Filter(min_severity=0.5), interval_ms=100, viewport=(-64.0, -32.0, -63.0, -31.0)
    )


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({**SUBSCRIBE, "vehicle": "V1"}, "vehicle"),
        ({**SUBSCRIBE, "filter": {"vehicle": "V1"}}, "vehicle"),
        ({**SUBSCRIBE, "viewport": [0, 0, 0, 91]}, "viewport"),
        ({**SUBSCRIBE, "viewport": [0, 0, 0]}, "viewport"),
        ({**SUBSCRIBE, "mode": "all"}, "mode"),
        ({**SUBSCRIBE, "intervalMs": -1}, "intervalMs"),
        ({**SUBSCRIBE, "id": ""}, "id"),
        ({**SUBSCRIBE, "filter": {"vehicles": ["V"] * 1_001}}, "vehicles"),
        ({"type": "subscribe"}, "id"),
        ({"type": "listen"}, "listen"),
        ({"type": "ping", "id": "a"}, "id"),
    ],
)
def test_what_is_wrong_with_a_message_is_named(message: dict[str, Any], named: str) -> None:
    with pytest.raises(MalformedMessageError, match=named):
        read_message(json.dumps(message))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_any_bytes_are_read_or_refused(text: bytes | str) -> None:
    with pytest.raises(MalformedMessageError):
        read_message(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["id", "filter", "viewport", "fields", "mode", "intervalMs", "delta", "snapshot", "resume", "token"]


@given(
    st.sampled_from(["auth", "subscribe", "update", "unsubscribe", "ping"]),
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=4),
)
def test_any_object_is_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        message = read_message(json.dumps({"type": kind, **fields}))
    except MalformedMessageError:
        return
    assert message.__struct_config__.tag == kind
