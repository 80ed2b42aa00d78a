import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleet.delivery.feed.delta import WHOLE_EVERY_S, DeltaDecoder, DeltaEncoder

values = st.none() | st.integers(0, 3) | st.sampled_from(["rain", "sun"]) | st.just({"a": 0.5})
events = st.tuples(
    st.sampled_from(["A", "B"]),
    # A sender's field may have any name.
    st.dictionaries(st.sampled_from(["speed", "weather", "changed", "removed"]), values),
    st.sampled_from([0.0, 1.0, WHOLE_EVERY_S]),
)


@given(st.lists(events, max_size=20), st.integers(1, 2))
def test_decoded_events_are_what_was_encoded(sent: list[tuple[str, dict[str, Any], float]], most_vehicles: int) -> None:
    encoder, decoder, now_s = DeltaEncoder(most_vehicles), DeltaDecoder(), 0.0
    for number, (vehicle, fields, later_s) in enumerate(sent):
        now_s += later_s
        event = {"vehicleId": vehicle, "source": f"0:{number}", **fields}
        item = encoder.encode(vehicle, json.dumps(event).encode(), now_s)
        assert decoder.decode(json.loads(item)) == event


def test_only_what_changed_is_sent_and_now_and_then_everything() -> None:
    encoder = DeltaEncoder(10)
    whole = b'{"vehicleId":"A","source":"0:0","speed":50,"weather":"rain"}'
    later = b'{"vehicleId":"A","source":"0:1","speed":51,"weather":"rain"}'
    without = b'{"vehicleId":"A","source":"0:2","speed":51}'
    assert encoder.encode("A", whole, 0.0) == whole
    assert encoder.encode("A", later, 1.0) == b'{"vehicleId":"A","changed":{"source":"0:1","speed":51}}'
    changed = b'{"vehicleId":"A","changed":{"source":"0:2"},"removed":["weather"]}'
    assert encoder.encode("A", without, 2.0) == changed
    assert encoder.encode("A", later, WHOLE_EVERY_S) == later
    encoder.forget(["A"])
    assert encoder.encode("A", later, WHOLE_EVERY_S) == later
