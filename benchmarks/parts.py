"""What each step of an event's way costs by itself: CPU µs per event, in one process, without Kafka and without Ray.

The blocks are consecutive ones of the workload, of a turn's size, and go through the steps in order, so that every step
is given what it is given in the product. The first blocks warm up.

Neighbours: `workload` makes the events, `client_crowd` stands for connected clients; `floor` is these steps with Kafka.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.client_crowd import broadcast
from benchmarks.figures import Figure, Part
from benchmarks.record_scoring import EnteredRecords, encoded, local_scorer
from benchmarks.verdicts import RELATIVE_TOLERANCE, BenchmarkError
from benchmarks.workload import segments
from fleet.delivery.fleet_view import FleetView
from fleet.delivery.live_feed import LiveBlock
from fleet.detection.detector import Conclusion, Detector, EnteredBlock, EventBlock
from fleet.detection.model.bundle import ModelBundle, read_bundle
from fleet.detection.vehicle_thresholds import LOWEST
from fleet.detection.verdicts import Verdicts, judge
from fleet.detection.windows import warm_up
from fleet.events.telemetry import TelemetryBlock, TelemetryDecoder
from fleet.records.scored import decode_scored
from fleet.settings import EpisodeSettings, GatewaySettings, IngestSettings

BLOCK = 4_096
WARM_UP_BLOCKS = 4
BLOCK_SIZES = (1, 64, 512, 4_096, 8_192)
CLIENTS = (0, 1, 10, 100)
MOST_CALLS = 40

InputT = TypeVar("InputT")
OutputT = TypeVar("OutputT")


def run(models: Path, blocks: int, vehicles: int) -> list[Part]:
    """Measure every step over `blocks` blocks. Raises BenchmarkError when a step's output is wrong."""
    way = _Way(read_bundle(models), blocks + WARM_UP_BLOCKS, vehicles)
    return [*way.steps(), *way.scorer_by_block_size(), *way.gateway_by_clients()]


class _Way:
    """An event's way, step by step; each step keeps what it gave for the next one."""

    def __init__(self, bundle: ModelBundle, blocks: int, vehicles: int) -> None:
        self._bundle = bundle
        self._score = local_scorer(bundle)
        loaded = list(segments([BLOCK] * blocks, vehicles))
        self._values = [segment.values for segment in loaded]
        self._appended_at_s = [np.array(segment.appended_at_ms) / 1000 for segment in loaded]
        self._results: list[list[bytes]] = []
        self._features: list[Any] = []

    def steps(self) -> list[Part]:
        """Measure decode, windows, scorer, judge, episodes, encode and the gateway's view of it, in order."""
        bundle = self._bundle
        warm_up(bundle.plan)
        decoder, detector = TelemetryDecoder(bundle.plan.spec), Detector(bundle.plan, EpisodeSettings().rules())
        most_bytes = IngestSettings().max_event_bytes

        decode, decoded = _timed("decode", lambda values: decoder.decode_block(values, most_bytes), self._values)
        blocks = [block for block, _ in decoded]
        _require(sum(map(len, blocks)) == BLOCK * len(blocks), "decoding lost events")

        window, entered = _timed("windows and features", detector.enter, self._events(blocks))
        self._features = [part.features for part in entered]

        scoring, scores = _timed(f"scorer, blocks of {BLOCK:,}", self._score, self._features)
        judging, verdicts = _timed("judge", lambda found: judge(found, bundle, LOWEST), scores)
        _require(any(found.is_anomaly.any() for found in verdicts), "nothing is unusual in the workload")

        def follow(item: tuple[EnteredBlock, Verdicts]) -> Conclusion:
            return detector.follow(*item, bundle)

        following, conclusions = _timed("episodes", follow, list(zip(entered, verdicts, strict=True)))
        encoding, self._results = self._encoded(blocks, entered, conclusions)
        return [decode, window, scoring, judging, following, encoding]

    def _events(self, blocks: Sequence[TelemetryBlock]) -> list[EventBlock]:
        offsets = np.arange(BLOCK * len(blocks)).reshape(-1, BLOCK)
        placed = zip(blocks, offsets, self._appended_at_s, strict=True)
        return [EventBlock.decoded(block, 0, own, appended_at_s) for block, own, appended_at_s in placed]

    def _encoded(
        self, blocks: Sequence[TelemetryBlock], entered: Sequence[EnteredBlock], conclusions: Sequence[Conclusion]
    ) -> tuple[Part, list[list[bytes]]]:
        def encode(item: tuple[EnteredRecords, Conclusion]) -> list[bytes]:
            return encoded(*item, self._bundle).values

        records = map(EnteredRecords, blocks, entered, self._appended_at_s)
        encoding, results = _timed("encode", encode, list(zip(records, conclusions, strict=True)))
        _require(
            [decode_scored(value).offset for values in results for value in values] == [*range(BLOCK * len(blocks))],
            "an encoded result is not its event's",
        )
        return encoding, results

    def scorer_by_block_size(self) -> list[Part]:
        """Measure the network alone with its weighing and causes, by rows per call; all sizes must say the same."""
        features = np.concatenate(self._features)
        reference = self._score(features[: BLOCK_SIZES[-1]]).error
        parts = []
        for rows in BLOCK_SIZES:
            calls = min(len(features) // rows, MOST_CALLS + WARM_UP_BLOCKS)
            blocks = [features[i * rows : (i + 1) * rows] for i in range(calls)]
            part, scores = _timed(f"scorer, {rows:,} a call", self._score, blocks)
            error = np.concatenate([found.error for found in scores])[: len(reference)]
            close = np.isclose(error, reference[: len(error)], rtol=RELATIVE_TOLERANCE, atol=RELATIVE_TOLERANCE)
            _require(bool(close.all()), f"blocks of {rows} rows are scored unlike those of {BLOCK_SIZES[-1]}")
            parts.append(part)
        return parts

    def gateway_by_clients(self) -> list[Part]:
        """Measure what the gateway does with results: its view, and the frames of clients that take everything."""
        settings = GatewaySettings()
        view = FleetView(
            max_vehicles=settings.max_vehicles, history_events=settings.history_events, started_at_s=time.time()
        )
        receive, live = _timed("gateway: view", lambda values: view.receive(values, time.time()), self._results)
        _require(sum(map(len, live)) == sum(map(len, self._results)), "the gateway's view lost events")
        return [receive, *(_broadcast_to(clients, live) for clients in CLIENTS)]


def _broadcast_to(clients: int, blocks: Sequence[LiveBlock]) -> Part:
    fresh = [LiveBlock(block.vehicle_ids, block.anomalous, block.bodies) for block in blocks]  # frames are built once
    seconds, received = asyncio.run(broadcast(clients, fresh))
    _require(received == clients * sum(map(len, fresh)), f"{clients} clients were not sent everything")
    return Part(
        f"gateway: broadcast to {clients}", _per_event(seconds[WARM_UP_BLOCKS:], map(len, fresh[WARM_UP_BLOCKS:]))
    )


def _timed(name: str, step: Callable[[InputT], OutputT], items: Sequence[InputT]) -> tuple[Part, list[OutputT]]:
    """Take items through a step, each timed by itself; CPU time, because others may want the core as well."""
    seconds: list[float] = []
    outputs: list[OutputT] = []
    for item in items:
        began_s = time.process_time()
        outputs.append(step(item))
        seconds.append(time.process_time() - began_s)
    counts = [_events_in(item) for item in items]
    return Part(name, _per_event(seconds[WARM_UP_BLOCKS:], counts[WARM_UP_BLOCKS:])), outputs


def _events_in(item: Any) -> int:
    return len(item[0]) if isinstance(item, tuple) else len(getattr(item, "vehicle_ids", item))


def _per_event(seconds: Iterable[float], events: Iterable[int]) -> Figure:
    return Figure.of(1e6 * spent_s / count for spent_s, count in zip(seconds, events, strict=True) if count)


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise BenchmarkError(f"Parts: {sentence}.")
