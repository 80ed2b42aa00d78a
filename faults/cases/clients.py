"""Faults of those who watch: clients that do not read, that read slowly, and that vanish."""

import time
from collections.abc import Iterator

from faults.cases.register import OF_A_PROCESS_S, case
from faults.screens import Screen, Sockets
from faults.trial import Trial
from fleet import kafka

SLOW_BYTES_PER_S = 50_000
BESIDE_S = 40.0  # above what the gateway grants a connection that takes nothing
SHOWN_TIMEOUT_S = 10.0
LATE_MS = 1_000.0
CROWD = 200
READERS_OF_EVERYTHING = 5
GONE_TIMEOUT_S = 15.0


@case(21, "a client that never reads, one at 50 kB/s, and a normal one", OF_A_PROCESS_S)
def clients_of_all_kinds(trial: Trial) -> None:
    """Connect all three: the normal one must be shown every event, in time, whatever the others do."""
    with Screen(trial.system.url) as screen, Sockets(trial.system.url) as sockets:
        sockets.never_reading()
        sockets.slow(SLOW_BYTES_PER_S)
        began_s = time.monotonic()
        trial.flow(BESIDE_S)
        trial.recover(began_s)
        dropped = trial.system.pipeline().get("dropped", 0)
        trial.drain()
        last = {ledger.partition: ledger.end_offset - 1 for ledger in _ledgers(trial)}
        trial.until(lambda: screen.is_over(last), "the normal client to be shown all", SHOWN_TIMEOUT_S)
    for sentence in wrong_with(screen, dropped):
        trial.expect(False, sentence)
    late_ms = screen.late_ms(99)
    trial.note(f"shown {screen.events:,}, p99 {late_ms:,.0f} ms after scoring; {dropped:,} dropped for the others")


def wrong_with(screen: Screen, dropped: int) -> Iterator[str]:
    """Say what the normal client was not shown as it must be, where the gateway dropped so many for the others."""
    if screen.failure is not None:
        yield f"the normal client was cut off: {screen.failure}"
    if screen.not_next:
        yield f"the normal client was shown {screen.not_next:,} events out of their turn"
    if dropped <= 0:
        yield "what the others did not take was neither dropped nor counted"
    late_ms = screen.late_ms(99)
    if not late_ms < LATE_MS:  # NaN, where nothing was shown, is late
        yield f"the normal client was shown events {late_ms:,.0f} ms late (p99)"


@case(22, "all clients dropped at once", OF_A_PROCESS_S)
def clients_dropped(trial: Trial) -> None:
    """Reset some hundred connections in one moment, let them all come back, and reset them again."""
    with Sockets(trial.system.url) as sockets:
        for _ in range(2):
            for number in range(CROWD):
                sockets.reading("?batch=true" if number < READERS_OF_EVERYTHING else "?batch=true&anomalies=true")
            trial.until(lambda: _clients(trial) == CROWD, f"{CROWD} clients to be counted", GONE_TIMEOUT_S)
            dropped_s = time.monotonic()
            sockets.drop_all()
            trial.until(lambda: _clients(trial) == 0, "every client to be gone", GONE_TIMEOUT_S)
            trial.say(f"{CROWD} clients were gone {time.monotonic() - dropped_s:.1f} s after they were dropped")
            trial.recover(dropped_s)


def _clients(trial: Trial) -> int:
    clients: int = trial.system.pipeline().get("clients", -1)
    return clients


def _ledgers(trial: Trial) -> list[kafka.PartitionLedger]:
    reader = kafka.ledger_reader(trial.settings.kafka)
    try:
        return kafka.partition_ledgers(reader, trial.settings.kafka)
    finally:
        reader.close()
