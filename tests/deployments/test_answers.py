"""The bytes of what REST answers, as clients outside know them. A change here is a breaking change."""

import asyncio
from pathlib import Path

import httpx
import pytest

from deployments.web.app import build_app
from deployments.web.core import GatewayCore
from fleet.settings import Settings
from tests.deployments.gateway_harness import FunctionScorer, small_bundle

POINT = (
    '{"latitude":-31.41,"longitude":-64.18,"speed":30.8,"previousSpeed":31.8,"acceleration":-1.0,"temperature":77.6,'
    '"battery":79.8,"fuelLevel":99.5,"speedLimit":60.0,"trafficLevel":3}'
)
PREDICTION = f'{{"input":{POINT},"reconstruction_error":0.6368040442466736,"anomaly_threshold":1.0,"is_anomaly":false}}'
EVENTS = (
    '{"events":[{"vehicleId":"8K0TIH","timestamp":1764533865.0,"speed":50.0,"temperature":77.6,"battery":79.8},'
    '{"vehicleId":"8K0TIH","timestamp":"2025-11-30T21:17:46Z","speed":50.0,"temperature":900.0,"battery":79.8}]}'
)
VERDICTS = (
    '{"verdicts":[{"vehicleId":"8K0TIH","timestamp":1764533865.0,"anomaly":false,"anomalyType":null,'
    '"reconstruction_error":0.6368040442466736,"anomaly_threshold":1.0,"is_anomaly":false,'
    '"severity":0.20523678262065245,"contributions":{"battery_level":0.514,"temperature_level":0.486},'
    '"modelVersion":"VERSION","warmingUp":true,"repeat":false},'
    '{"vehicleId":"8K0TIH","timestamp":"2025-11-30T21:17:46Z","anomaly":true,"anomalyType":"engine_overheat",'
    '"reconstruction_error":81.0,"anomaly_threshold":1.0,"is_anomaly":true,"severity":0.9999981183271175,'
    '"contributions":{"temperature_level":0.9922,"battery_level":0.0078},'
    '"modelVersion":"VERSION","warmingUp":true,"repeat":false,"expected":{"temperature_level":[40.0,50.0,60.5]}}]}'
)
PIPELINE = (
    '{"read":null,"scored":null,"deadLettered":null,"inFlight":null,"keyless":null,"lag":null,"oldestUnscoredSeconds":null,'
    '"eventsPerSecond":0.0,"latencyMs":{"p50":null,"p95":null,"p99":null},"replicas":{},"ledgerReadAt":null,'
    '"partitions":[],"modelVersion":"VERSION","clients":0,"dropped":0,"duplicates":0,"unreadable":0}'
)


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("POST", "/predict", POINT, PREDICTION),
        ("POST", "/v1/score", EVENTS, VERDICTS),
        ("GET", "/v1/pipeline", "", PIPELINE),
        ("GET", "/v1/vehicles", "", '{"vehicles":[],"total":0}'),
        ("GET", "/v1/episodes", "", '{"episodes":[]}'),
    ],
    ids=lambda value: value if value.startswith("/") else None,
)
def test_answers_keep_their_bytes(tmp_path: Path, method: str, path: str, body: str, answer: str) -> None:
    bundle = small_bundle(tmp_path)
    core = GatewayCore(Settings(), bundle, FunctionScorer(bundle), lambda: None)

    async def ask() -> str:
        transport = httpx.ASGITransport(build_app(core))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return (await client.request(method, path, content=body)).text

    assert asyncio.run(ask()).replace(bundle.version, "VERSION") == answer
