from itertools import chain

from benchmarks.workload import Segment, segments
from fleet.events.telemetry import TelemetryDecoder


def joined(parts: list[Segment]) -> list[tuple[str, bytes, int]]:
    return list(chain.from_iterable(zip(*part, strict=True) for part in parts))


def test_segments_are_the_same_whatever_their_sizes() -> None:
    assert joined(list(segments([50, 70, 130], 20))) == joined(list(segments([250], 20)))


def test_every_vehicle_sends_once_a_second() -> None:
    [segment] = segments([40], 20)
    assert len(set(segment.keys[:20])) == 20
    assert sorted(segment.keys[:20]) == sorted(segment.keys[20:])


def test_fleets_of_other_first_vehicles_have_none_in_common() -> None:
    [ours], [others] = segments([20], 20), segments([20], 20, first=1_000)
    assert not set(ours.keys) & set(others.keys)


def test_a_large_fleet_has_as_many_vehicles_and_readable_events() -> None:
    [segment] = segments([21_000], 21_000)
    assert len(set(segment.keys)) == 21_000
    block, rejects = TelemetryDecoder().decode_block(segment.values, 100_000)
    assert rejects == []
    assert block.vehicle_ids == segment.keys
