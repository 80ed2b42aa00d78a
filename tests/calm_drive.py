"""Telemetry of a vehicle that drives calmly and ends now, as sensors give it: no two readings are quite the same."""

import random
import time
import zlib
from typing import Any, Final

CALM: Final = {"speed": 48.0, "speedLimit": 60, "temperature": 90.0, "battery": 80.0, "fuelLevel": 60.0}
NOISE: Final = {"speed": 0.4, "temperature": 0.3, "battery": 0.2, "fuelLevel": 0.2}
METRES_PER_DEGREE: Final = 111_195.0


def calm_drive(
    vehicle: str, seconds: int, fault: range | None = None, first: int = 0, **faulty: Any
) -> list[dict[str, Any]]:
    """One event a second, northwards; the fields of `faulty` hold in the seconds of `fault`, by default in all.

    The events' sequence numbers start at `first`.
    """
    noise = random.Random(vehicle)
    east = zlib.crc32(vehicle.encode()) / 2**32 * 0.2  # no two vehicles in the same street
    began_s, driven_m, events = time.time() - seconds, 0.0, []
    for second in range(seconds):
        event = {"vehicleId": vehicle, "timestamp": began_s + second, "sequence": first + second}
        event |= CALM | {"trafficLevel": 2, "roadType": "urban"} | (faulty if fault is None or second in fault else {})
        if second < seconds - 1:  # the last reading is exact, so that a test can name it
            event |= {name: event[name] + noise.uniform(-width, width) for name, width in NOISE.items()}
        driven_m += event["speed"] / 3.6
        event |= {"latitude": -31.41 + driven_m / METRES_PER_DEGREE, "longitude": -64.28 + east}
        events.append(event)
    return events
