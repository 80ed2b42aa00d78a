import asyncio
import gc
from typing import Any

from fleet.ingest.abandoned_calls import AbandonedCalls


async def test_abandoned_calls_are_counted_until_they_end_however_they_end() -> None:
    loop = asyncio.get_running_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    abandoned = AbandonedCalls()
    answered, failed, cancelled = (loop.create_future() for _ in range(3))
    for call in (answered, failed, cancelled):
        abandoned.add(call)
    assert len(abandoned) == 3
    answered.set_result(1)
    failed.set_exception(RuntimeError("nobody asks"))
    cancelled.cancel()
    await asyncio.sleep(0)
    assert len(abandoned) == 0
    del answered, failed, cancelled, call
    gc.collect()
    assert complaints == []


async def test_an_abandoned_task_is_kept_while_it_runs() -> None:
    abandoned, may_end = AbandonedCalls(), asyncio.Event()
    abandoned.add(asyncio.ensure_future(may_end.wait()))
    gc.collect()
    await asyncio.sleep(0)
    assert len(abandoned) == 1
    may_end.set()
    while len(abandoned):
        await asyncio.sleep(0)
