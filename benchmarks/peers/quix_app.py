"""A Quix Streams application: without a model it decodes and encodes JSON, with one it makes one call per event.

Exactly once, with a checkpoint as often as the product commits under backlog. Runs in `.venv-bench`.
"""

from typing import Any

from quixstreams import Application, message_context

from benchmarks.peers.arguments import COMMIT_INTERVAL_S, Arguments, read_arguments


def main() -> None:
    """Run until killed."""
    arguments = read_arguments()
    app = _application(arguments)
    with_model = arguments.models is not None
    kind = "bytes" if with_model else "json"
    frame = app.dataframe(app.topic(arguments.telemetry, value_deserializer=kind))
    step = _one_call_per_event(arguments) if with_model else _with_source
    frame.apply(step, metadata=True).to_topic(app.topic(arguments.scored, value_serializer=kind))
    app.run()


def _application(arguments: Arguments) -> Any:
    return Application(
        broker_address=arguments.bootstrap_servers,
        consumer_group=arguments.group_id,
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_INTERVAL_S,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="WARNING",
        consumer_extra_config={"fetch.queue.backoff.ms": 10, "queued.max.messages.kbytes": 131_072},
        producer_extra_config={"linger.ms": 5, "queue.buffering.max.messages": 500_000},
    )


def _with_source(event: dict[str, Any], _key: Any, _timestamp: int, _headers: Any) -> dict[str, Any]:
    """Say where an event comes from: what the benchmark checks, and all that is done to it."""
    context = message_context()
    return {**event, "source": f"{context.partition}:{context.offset}"}


def _one_call_per_event(arguments: Arguments) -> Any:
    from benchmarks.record_scoring import LocalRecordScoring  # TensorFlow: not where there is no model

    assert arguments.models is not None
    scoring = LocalRecordScoring(arguments.models)

    def step(value: bytes, _key: Any, timestamp_ms: int, _headers: Any) -> bytes:
        context = message_context()
        return scoring.scored(context.partition, [context.offset], [timestamp_ms], [value])[0]

    return step


if __name__ == "__main__":
    main()
