"""Appends actions on episodes to their topic, and waits until this gateway has read them back.

The log decides: of two actions that were based on the same version, the one that stands first counts. So nobody is told
that an action counts before it was read from the log.
"""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from fleet import kafka
from fleet.delivery.handling import Handlings
from fleet.errors import KafkaUnavailableError
from fleet.kafka import Message
from fleet.records.action import Action, decode_action, encode_action
from fleet.settings import KafkaSettings

READ_TIMEOUT_S: Final = 5.0
LOOK_INTERVAL_S: Final = 0.01


class ActionLog:
    """The actions of one gateway: what it writes, and what all gateways have written."""

    def __init__(self, settings: KafkaSettings, max_episodes: int) -> None:
        self.handlings = Handlings(max_episodes)
        self.unreadable = 0
        self._topic, self._partitions = settings.topics.actions, settings.partitions
        self._appender = kafka.Appender(f"{settings.application_id}-actions")
        self._read_to: dict[int, int] = {}

    def receive(self, messages: Sequence[Message]) -> list[str]:
        """Take records of the topic in the log's order; returns whose handling may have changed."""
        changed = []
        for message in messages:
            self._read_to[message.partition()] = message.offset() + 1
            try:
                action = decode_action(message.value() or b"")
            except (ValueError, RecursionError):
                self.unreadable += message.value() is not None
                continue
            self.handlings.take(action)
            changed.append(action.episode_id)
        return changed

    async def append(self, action: Action) -> None:
        """Write an action to its episode's partition, and return once this gateway has read it.

        Raises KafkaUnavailableError where nobody knows yet whether it counts.
        """
        partition = zlib.crc32(action.episode_id.encode()) % self._partitions
        key = f"{action.episode_id}/{uuid4().hex}"  # never used twice: compaction keeps every action
        offset = await asyncio.to_thread(self._appender.append, self._topic, partition, key, encode_action(action))
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                while self._read_to.get(partition, 0) <= offset:
                    await asyncio.sleep(LOOK_INTERVAL_S)
        except TimeoutError:
            raise KafkaUnavailableError(f"A record of {self._topic} was written, but not read back.") from None
