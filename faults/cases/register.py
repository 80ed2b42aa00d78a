"""Where the cases enter themselves."""

from collections.abc import Callable
from random import Random
from typing import Final

from faults.load import Content
from faults.trial import Act, Case

OF_A_PROCESS_S: Final = 10.0  # normal lag, after a process has died
OF_A_NODE_S: Final = 30.0
OF_KAFKA_S: Final = 10.0  # after Kafka has come back

SHORT: Final = (1, 2, 8, 13)  # what runs with the tests

CASES: dict[int, Case] = {}


def case(
    number: int,
    name: str,
    normal_within_s: float,
    content: Callable[[Random], Content] = lambda _random: Content(),
    workers: int = 0,
) -> Callable[[Act], Act]:
    """Enter a function as the case of a number."""

    def enter(act: Act) -> Act:
        CASES[number] = Case(number, name, act, normal_within_s, content, workers)
        return act

    return enter
