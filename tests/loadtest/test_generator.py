import numpy as np
import pytest

from loadtest.generator import FleetPart, Load


@pytest.mark.parametrize(("vehicles", "processes"), [(7, 1), (7, 3), (2, 5), (40, 2)])
def test_processes_together_send_every_event_once_and_when_it_is_due(vehicles: int, processes: int) -> None:
    load = Load("run", 100.0, vehicles, 2.0, "topic", shape="ramp", base_rate=10.0, processes=processes)
    parts = [FleetPart(load, part) for part in range(load.parts)]
    owner: dict[str, int] = {}
    events: list[int] = []
    for number, part in enumerate(parts):
        mine = list(part.blocks(1_000.0))
        numbers = np.concatenate([block[0] for block in mine])
        assert len(numbers) == part.events
        assert (np.diff(numbers) > 0).all()
        np.testing.assert_allclose(np.concatenate([block[1] for block in mine]), 1_000.0 + load.profile.due_s(numbers))
        for block_numbers, due_s, columns in mine:
            assert columns[1] == due_s.tolist()  # the event's own time
            for event, vehicle in zip(block_numbers.tolist(), columns[0], strict=True):
                assert owner.setdefault(vehicle, event % vehicles) == event % vehicles
        events += numbers.tolist()
        assert number < vehicles
    assert sorted(events) == list(range(load.events))
    assert len(owner) == vehicles
