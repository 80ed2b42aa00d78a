"""What concurrent requests ask -> few calls: those that come while calls are under way go together with the next one.

Neighbour: `deployments.web.scoring` answers the points of `/predict` so. Not `serve.batch`, whose queue exists only
inside of a replica, while the gateway's routes run, and are tested, without one.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

QuestionT = TypeVar("QuestionT")
AnswerT = TypeVar("AnswerT")


class Coalescer(Generic[QuestionT, AnswerT]):
    """Answers each question with others of its time; nothing waits while fewer than `calls_at_once` are under way."""

    def __init__(
        self,
        answer_all: Callable[[Sequence[QuestionT]], Awaitable[Sequence[AnswerT | Exception]]],
        *,
        calls_at_once: int,
        most_together: int,
    ) -> None:
        self._answer_all = answer_all
        self._calls_at_once, self._most_together = calls_at_once, most_together
        self._waiting: deque[tuple[QuestionT, asyncio.Future[AnswerT]]] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    async def answer(self, question: QuestionT) -> AnswerT:
        """Return the question's answer. Raises the exception that was its answer, or that the whole call raised."""
        answer: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        self._call()
        return await answer

    def _call(self) -> None:
        if self._waiting and len(self._calls) < self._calls_at_once:
            count = min(len(self._waiting), self._most_together)
            together = [self._waiting.popleft() for _ in range(count)]
            self._calls.add(call := asyncio.create_task(self._ask(together)))
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._call()

    async def _ask(self, together: Sequence[tuple[QuestionT, "asyncio.Future[AnswerT]"]]) -> None:
        try:
            answers = await self._answer_all([question for question, _ in together])
        except Exception as failure:
            answers = [failure] * len(together)
        for (_, waiting), answer in zip(together, answers, strict=True):
            if waiting.done():
                continue  # who asked has gone
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)
