"""The guide to the live feed: its program runs, and its messages are what the gateway takes."""

import asyncio
import json

import pytest

from fleet.delivery.feed.messages import RETRIED_CLOSES, CloseCode, Filter, Subscribe, read_message
from tests.deployments.gateway_harness import RunningGateway, running_gateway
from tests.docs.pages import ROOT, blocks, examples

GUIDE = ROOT / "docs" / "guides" / "live-feed.md"


@pytest.mark.parametrize("block", [block for block in blocks("json") if block.page == GUIDE], ids=str)
def test_messages_are_taken(block) -> None:
    assert read_message(block.text).id == "city"


def test_every_field_of_a_subscription_is_explained() -> None:
    text = GUIDE.read_text()
    for name in (*Subscribe.__struct_encode_fields__, *Filter.__struct_encode_fields__):
        assert f"`{name}`" in text


def test_closes_are_told_apart_as_the_gateway_does() -> None:
    [retried, others] = GUIDE.read_text().split("## Closes", 1)[1].split("`goodbye`", 1)
    for code in CloseCode:
        assert str(code.value) in (retried if code in RETRIED_CLOSES else others)


async def test_program_follows_the_feed(tmp_path, capsys) -> None:
    [program] = [example.text for example in examples(GUIDE) if example.language == "python"]
    with running_gateway(tmp_path, tmp_path) as gateway:
        here = program.replace("ws://localhost:8000/ws/v2", gateway.feed_url).replace("asyncio.run(main())", "")
        names: dict = {}
        exec(compile(here, str(GUIDE), "exec"), names)
        running = asyncio.create_task(names["main"]())
        try:
            said = await what_is_said(gateway, running, capsys)
        finally:
            running.cancel()
            await asyncio.wait([running])
    assert said.startswith(("V0 overspeed 0.2", "V5 overspeed 0.2"))


async def what_is_said(gateway: RunningGateway, running: asyncio.Task, capsys) -> str:
    """Publish until the program prints an anomaly."""
    said = ""
    while "overspeed" not in said:
        assert not running.done(), running
        await publish(gateway)
        said += capsys.readouterr().out
    return said


async def publish(gateway: RunningGateway) -> None:
    values = gateway.events(10)
    assert any(json.loads(value)["is_anomaly"] for value in values)
    await asyncio.to_thread(gateway.inject, values)
    await asyncio.sleep(0.01)
