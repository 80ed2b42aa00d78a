"""Concurrent questions share calls: each is answered once, with its own answer, whatever becomes of the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.web.coalescing import Coalescer


class Gated:
    """Squares numbers, once it is let; an odd one is an error."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.gate = asyncio.Event()

    async def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.calls.append(list(numbers))
        await self.gate.wait()
        return [number**2 if number % 2 == 0 else ValueError(number) for number in numbers]


async def asked(
    coalescer: Coalescer[int, int], numbers: Sequence[int], then: Callable[[list[asyncio.Task[int]]], Awaitable[None]]
) -> list[int | BaseException]:
    """Ask all at once, do something, and wait for the answers."""
    tasks = [asyncio.create_task(coalescer.answer(number)) for number in numbers]
    await asyncio.sleep(0)
    await then(tasks)
    return await asyncio.gather(*tasks, return_exceptions=True)


@given(st.lists(st.integers(0, 1_000), max_size=40), st.integers(1, 4), st.integers(1, 10))
def test_each_question_gets_its_own_answer_in_few_calls(numbers, calls_at_once, most_together):
    async def scenario() -> None:
        square = Gated()

        async def let(_: list[asyncio.Task[int]]) -> None:
            assert len(square.calls) <= calls_at_once
            square.gate.set()

        coalescer = Coalescer(square, calls_at_once=calls_at_once, most_together=most_together)
        answers = await asked(coalescer, numbers, let)
        for number, answer in zip(numbers, answers, strict=True):
            assert answer == number**2 if number % 2 == 0 else str(answer) == str(number)
        assert [number for call in square.calls for number in call] == numbers, "once each, in their order"
        alone, later = numbers[:calls_at_once], numbers[calls_at_once:]
        assert len(square.calls) == len(alone) + -(-len(later) // most_together)

    asyncio.run(scenario())


def test_who_leaves_takes_nobody_along():
    async def scenario() -> None:
        square = Gated()

        async def leave(tasks: list[asyncio.Task[int]]) -> None:
            tasks[0].cancel()
            tasks[2].cancel()
            await asyncio.sleep(0)
            square.gate.set()

        answers = await asked(Coalescer(square, calls_at_once=1, most_together=10), [2, 4, 6, 8], leave)
        assert [isinstance(answer, asyncio.CancelledError) or answer for answer in answers] == [True, 16, True, 64]

    asyncio.run(scenario())


def test_a_call_that_fails_fails_its_own_questions_and_the_next_goes_on():
    async def scenario() -> None:
        calls: list[int] = []

        async def answer_all(numbers: Sequence[int]) -> list[int | Exception]:
            calls.append(len(numbers))
            await asyncio.sleep(0)
            if len(calls) == 1:
                raise RuntimeError("away")
            return list(numbers)

        coalescer: Coalescer[int, int] = Coalescer(answer_all, calls_at_once=1, most_together=10)
        first, second = (asyncio.create_task(coalescer.answer(number)) for number in (1, 2))
        with pytest.raises(RuntimeError, match="away"):
            await first
        assert await second == 2

    asyncio.run(scenario())
