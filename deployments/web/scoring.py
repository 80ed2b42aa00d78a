"""Scoring on demand: a request's body in, verdicts out, through the same features, scorers and thresholds as the log.

Neighbours: `deployments.web.app` gives bodies and takes answers, `deployments.scorer` is reached through a
`ScoreCall`. Nothing here is remembered from one request to the next.
"""

import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np

from deployments.web.answers import EventVerdict, Prediction, ScoreAnswer
from deployments.web.bodies.events import MalformedError, TooLongError, TooManyError, split_list
from deployments.web.coalescing import Coalescer
from deployments.web.problems import ProblemError
from fleet.detection.detector import Detector, EnteredBlock, EventBlock
from fleet.detection.features import FeaturePlan
from fleet.detection.model.bundle import ModelBundle
from fleet.detection.verdicts import Scores, Verdicts, judge
from fleet.errors import FleetError, ScorerUnavailableError
from fleet.events.channels import Channel, ChannelSpec
from fleet.events.json_object import why_no_object
from fleet.events.lenient import Notes, Reading, read_number
from fleet.events.positions import forget_false_fixes, why_beyond
from fleet.events.refusals import RefusedError, listed, named, shown
from fleet.events.sent_names import SentNames
from fleet.events.telemetry import Reject, TelemetryDecoder
from fleet.ingest.block_scoring import Features, ScoreCall

# Fewer events than this are decoded where they are: a thread would cost more than it saves the event loop.
EVENTS_WORTH_A_THREAD: Final = 256
# So many values are read in milliseconds, in one call; what has more is taken apart event by event.
VALUES_WORTH_A_THREAD: Final = 20_000
MOST_REJECTS_LISTED: Final = 20
# More than one, so that a scorer that hangs does not hold every request up.
POINT_CALLS_AT_ONCE: Final = 2
MOST_POINTS_TOGETHER: Final = 256
READINESS_CACHE_S: Final = 2.0
READINESS_TIMEOUT_S: Final = 3.0


Point: TypeAlias = dict[str, float]
"""A request's numbers by name; only what the specification knows."""


class _ScoreRequest(msgspec.Struct):
    events: list[msgspec.Raw]


class _Stamp(msgspec.Struct):
    timestamp: msgspec.Raw


@dataclass(frozen=True, slots=True)
class ScoringLimits:
    """Bounds of one request."""

    events: int
    event_bytes: int
    block_rows: int  # most rows that one call to the scorer may have
    timeout_s: float


class _Entered(NamedTuple):
    """N events of a request: their text, what has entered the windows, and what to tell their sender."""

    bodies: list[bytes]
    block: EnteredBlock
    notes: list[str]


class OnDemandScoring:
    """Scores the bodies of `POST /predict` and `POST /v1/score`; refuses with ProblemError."""

    def __init__(
        self, score: ScoreCall, bundle: ModelBundle, limits: ScoringLimits, reading: Reading | None = None
    ) -> None:
        self._score, self._bundle, self._limits = score, bundle, limits
        self._reading = reading or Reading()
        self._decoder = TelemetryDecoder(bundle.plan.spec, self._reading)
        self._points: Coalescer[Point, bytes] = Coalescer(
            self._predict_together, calls_at_once=POINT_CALLS_AT_ONCE, most_together=MOST_POINTS_TOGETHER
        )
        self._readiness: tuple[float, str | None] = (-math.inf, None)
        self._readiness_lock = asyncio.Lock()
        self._taking_apart = asyncio.Lock()

    async def predict(self, body: bytes) -> bytes:
        """Judge one point, together with those of other requests; see `read_point` for what is accepted."""
        return await self._points.answer(read_point(body, self._bundle.plan.spec, self._reading))

    async def _predict_together(self, points: Sequence[Point]) -> Sequence[bytes | Exception]:
        try:
            return await self._judged(points)
        except ProblemError as problem:
            if len(points) == 1 or problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise
        # One of them may be at fault: it must not fail the others.
        return [await self._predict_alone(point) for point in points]

    async def _predict_alone(self, point: Point) -> bytes | Exception:
        try:
            return (await self._judged([point]))[0]
        except ProblemError as problem:
            return problem

    async def _judged(self, points: Sequence[Point]) -> list[bytes]:
        """Return the answer to each of N points."""
        verdicts = judge(await self._scores(point_features(points, self._bundle.plan)), self._bundle)
        judged = zip(points, verdicts.reconstruction_error.tolist(), verdicts.is_anomaly.tolist(), strict=True)
        return [
            msgspec.json.encode(Prediction(point, error, self._bundle.threshold, is_anomaly))
            for point, error, is_anomaly in judged
        ]

    async def score(self, body: bytes) -> bytes:
        """Judge `{"events": [telemetry…]}` in order; the events of one vehicle form its history."""
        events = await self._events(body)
        if len(events) < EVENTS_WORTH_A_THREAD:
            entered = self._enter(events)
            return self._answer(entered, await self._scores(entered.block.features))
        entered = await asyncio.to_thread(self._enter, events)
        return await asyncio.to_thread(self._answer, entered, await self._scores(entered.block.features))

    async def _events(self, body: bytes) -> list[bytes]:
        if body.count(b",") < VALUES_WORTH_A_THREAD:
            events = _read_events(body)
            if len(events) > self._limits.events:
                raise _too_many(self._limits.events)
            return events
        # One at a time: each takes its share of the interpreter from the live feed.
        async with self._taking_apart:
            return await asyncio.to_thread(_split_events, body, self._limits)

    async def why_not_ready(self) -> str | None:
        """Score one ordinary row, at most every `READINESS_CACHE_S`; return why that failed, or None."""
        async with self._readiness_lock:
            checked_at_s, problem = self._readiness
            if time.monotonic() - checked_at_s > READINESS_CACHE_S:
                problem = await self._try_a_row()
                self._readiness = (time.monotonic(), problem)
            return problem

    async def _try_a_row(self) -> str | None:
        try:
            unknown = np.full((1, len(self._bundle.features)), np.nan, np.float32)
            await asyncio.wait_for(self._score(self._bundle.version, unknown), READINESS_TIMEOUT_S)
        except TimeoutError:
            return f"No scorer answered within {READINESS_TIMEOUT_S:g} s."
        except FleetError as error:
            return f"The scorer does not answer: {error}"
        return None

    async def _scores(self, features: Features) -> Scores:
        """Ask the scorers for the scores of features float32[N, K], in blocks that fit their batches."""
        if not len(features):
            return Scores.none(0)
        rows = self._limits.block_rows
        blocks = [features[first : first + rows] for first in range(0, len(features), rows)]
        calls = [self._score(self._bundle.version, block) for block in blocks]
        try:
            return Scores.joined(await asyncio.wait_for(asyncio.gather(*calls), self._limits.timeout_s))
        except TimeoutError:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"No scorer answered within {self._limits.timeout_s:g} s: try again, with fewer events.",
            ) from None
        except ScorerUnavailableError as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"No scorer is ready ({error}): try again in a moment."
            ) from None
        except FleetError as error:
            raise ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, f"The scorer failed: {error}") from None

    def _enter(self, events: Sequence[bytes]) -> "_Entered":
        notes = Notes()
        block, rejects = self._decoder.decode_block(events, self._limits.event_bytes, notes)
        if rejects:
            raise _refusal(rejects)
        detector = Detector(self._bundle.plan, max_vehicles=max(1, len(block)))
        entered = detector.enter(EventBlock.decoded(block, 0, np.arange(len(block)), None))
        return _Entered(block.bodies, entered, _sentences(notes))

    def _answer(self, entered: "_Entered", scores: Scores) -> bytes:
        verdicts = judge(scores, self._bundle)  # and no episodes: a request has no log that they would go on in
        return msgspec.json.encode(ScoreAnswer(self._listed(entered.bodies, entered.block, verdicts), entered.notes))

    def _listed(self, bodies: Sequence[bytes], entered: EnteredBlock, verdicts: Verdicts) -> list[EventVerdict]:
        threshold, version = self._bundle.threshold, self._bundle.version
        rows = zip(
            entered.events.vehicle_ids,
            bodies,
            verdicts.is_anomaly.tolist(),
            verdicts.causes,
            verdicts.reconstruction_error.tolist(),
            verdicts.severity.tolist(),
            verdicts.contributions,
            entered.windowed.warming_up.tolist(),
            entered.windowed.repeat.tolist(),
            verdicts.said_expected(),
            strict=True,
        )
        return [
            EventVerdict(
                vehicle_id,
                _stamp(body + b"}").timestamp,
                anomalous,
                cause,
                error,
                threshold,
                anomalous,
                severity,
                contributions,
                version,
                warming_up,
                repeat,
                expected,
            )
            for vehicle_id, body, anomalous, cause, error, severity, contributions, warming_up, repeat, expected in rows
        ]


_stamp = msgspec.json.Decoder(_Stamp).decode
_request = msgspec.json.Decoder(_ScoreRequest).decode


def read_point(body: bytes, spec: ChannelSpec, reading: Reading) -> Point:
    """Read the numbers of one point. Raises ProblemError naming the first field that is not one."""
    numbers = spec.numbers
    names = SentNames(field.name for field in numbers)
    example = f"send a JSON object with the numbers {', '.join(field.name for field in numbers)}"
    fields = _read_object(body, example.removeprefix("send "))
    for name in fields:
        if name not in names.names:
            meant = names.meant(name)
            instead = f"send it as {meant}" if meant else f"{example}, and no other field"
            raise _unprocessable(f"{named(name)} is no input of /predict: {instead}.")
    if missing := next((field.name for field in numbers if field.name not in fields), None):
        raise _unprocessable(f"{missing} is missing: {example}.")
    point = {field.name: _number(field, fields[field.name], reading) for field in numbers}
    if any(field.limits and not field.limits[0] <= point[field.name] <= field.limits[1] for field in numbers):
        raise _unprocessable(why_beyond(spec, point))
    return point


def _number(field: Channel, value: Any, reading: Reading) -> float:
    try:
        number: float | None = read_number(field, value, is_lenient=reading.is_lenient)[0]
    except RefusedError as refused:
        raise _unprocessable(refused.detail) from None
    if number is None:
        raise _unprocessable(f"{field.name} is {shown(value)}: send a number, as /predict takes all of them.")
    return number


def point_features(points: Sequence[Point], plan: FeaturePlan) -> Features:
    """Compute the features float32[N, K] of N points; the history of each is one event a second earlier.

    Of that second only the speed is known to differ (`previousSpeed`, where the specification has it). Where the
    vehicle was then is not said, so it is unknown: the same place would make every moving vehicle's speed contradict
    its positions.
    """
    names = plan.spec.field_names
    events = np.array([[point.get(name, math.nan) for name in names] for point in points]).repeat(2, axis=0)
    forget_false_fixes(plan.spec, events)
    before = events[0::2]
    for place, field in enumerate(plan.spec.fields):
        if field.limits:
            before[:, place] = math.nan
    if {"previousSpeed", "speed"} <= points[0].keys():  # all have the same fields: `read_point` wants every one
        before[:, names.index("speed")] = events[1::2, names.index("previousSpeed")]
    vehicle_ids = [str(number) for number in range(len(points)) for _ in range(2)]
    detector = Detector(plan, max_vehicles=len(points))
    return detector.enter(EventBlock.recorded(vehicle_ids, np.tile([0.0, 1.0], len(points)), events)).features[1::2]


def _read_events(body: bytes) -> list[bytes]:
    try:
        return [bytes(event) for event in _request(body).events]
    except (msgspec.DecodeError, RecursionError):
        return _read_events_slowly(body)


def _split_events(body: bytes, limits: ScoringLimits) -> list[bytes]:
    try:
        return split_list(body, "events", limits.events, limits.event_bytes)
    except TooManyError:
        raise _too_many(limits.events) from None
    except TooLongError as long:
        what = "A member of the body" if long.index is None else f"events[{long.index}]"
        raise _unprocessable(f"{what} has more than {limits.event_bytes} bytes: send {_EVENTS_EXAMPLE}.") from None
    except MalformedError as malformed:
        raise _unprocessable(f"The body is refused: {malformed}; send {_EVENTS_EXAMPLE}.") from None


def _too_many(most: int) -> ProblemError:
    return _unprocessable(f"events has more than {most} entries: send at most {most} in one request.")


def _read_events_slowly(body: bytes) -> list[bytes]:
    """Take apart what the strict decoder refused, so that the event at fault can be named by its index."""
    events = _read_object(body, _EVENTS_EXAMPLE).get("events")
    if not isinstance(events, list):
        raise _unprocessable(f"events is missing or no array: send {_EVENTS_EXAMPLE}.")
    try:
        # NaN and numbers beyond a float survive this round trip, and are refused with their event.
        return [json.dumps(event).encode() for event in events]
    except RecursionError:
        raise _unprocessable(f"An event is nested too deeply: send {_EVENTS_EXAMPLE}.") from None


_EVENTS_EXAMPLE: Final = '{"events": [telemetry, …]}'


def _read_object(body: bytes, what_to_send: str) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise _unprocessable(f"The body is refused: {why_no_object(body, what_to_send).detail}")
    return fields


def _refusal(rejects: Sequence[Reject]) -> ProblemError:
    first = rejects[0]
    more = f" So are {len(rejects) - 1} more; `errors` says why." if len(rejects) > 1 else ""
    listed = [
        {"index": reject.index, "reason": reject.reason, "detail": reject.detail}
        for reject in rejects[:MOST_REJECTS_LISTED]
    ]
    return _unprocessable(
        f"events[{first.index}] is refused as {first.reason}: {first.detail}{more}",
        errors=listed,
    )


def _sentences(notes: Notes) -> list[str]:
    return [
        f"{named(vehicle_id)}: {listed(fields)} are not read; {listed(fields.values())} would be."
        for vehicle_id, fields in notes.misnamed.items()
    ]


def _unprocessable(detail: str, **members: Any) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, **members)
