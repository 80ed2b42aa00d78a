"""Looks at what the system stands on, from outside: Kafka, its clock, topics and group, and the model.

Changes nothing. `commands/doctor.py` adds what is on this machine (ports, the gateway), and prints.
"""

import time
from collections.abc import Iterator
from enum import StrEnum
from typing import Final, NamedTuple

from fleet import kafka
from fleet.detection.model.bundle import read_bundle
from fleet.errors import FleetError, KafkaUnavailableError, ModelBundleError, UnsoundKafkaError
from fleet.kafka import AdminClient, PartitionLedger
from fleet.settings import KafkaSettings, ModelSettings

CLOCK_TOLERANCE_S: Final = 1.0
RECORD_TIMEOUT_S: Final = 5.0


class Standing(StrEnum):
    """How something is: in order, worth a look, or broken."""

    OK = "ok"
    LOOK = "look"
    TROUBLE = "trouble"


class Finding(NamedTuple):
    """What was found about a part, in a sentence; and what mends it, where there is something to mend."""

    part: str
    standing: Standing
    says: str
    mend: str = ""


def kafka_findings(settings: KafkaSettings) -> Iterator[Finding]:
    """Look at Kafka from its brokers to the group; what is not reached ends the look."""
    try:
        admin = kafka.admin_client()
        missing = kafka.missing_topics(settings, admin)
        yield Finding("kafka", Standing.OK, f"{kafka.bootstrap_servers()} answers: {_releases(admin)}.")
        yield from _of_topics(settings, admin, missing)
        if settings.topics.telemetry not in missing:
            yield from _of_progress(settings, admin)
    except KafkaUnavailableError as away:
        yield Finding(
            "kafka",
            Standing.TROUBLE,
            str(away),
            "start Kafka, or set KAFKA_BOOTSTRAP_SERVERS and its login; every command needs the same ones",
        )
    except FleetError as refused:
        yield Finding("kafka", Standing.TROUBLE, str(refused), "set the variables as the sentence says")


def _releases(admin: AdminClient) -> str:
    """Say of which release the brokers are, as far as they tell."""
    config = kafka.client_config()
    releases = [kafka.release_of(kafka.metadata_level(broker, config)) for broker in kafka.brokers(admin)]
    said = " and ".join(sorted({f"Kafka {release}" for release in releases if release})) or "a Kafka not known here"
    return f"{len(releases)} broker{'s' * (len(releases) > 1)} of {said}"


def _of_topics(settings: KafkaSettings, admin: AdminClient, missing: list[str]) -> Iterator[Finding]:
    if missing:
        names = ", ".join(missing)
        yield Finding("topics", Standing.TROUBLE, f"Missing: {names}.", "`fleet topics` creates them")
        return
    try:
        differences = kafka.ensure_topics(settings, admin)  # creates nothing: none is missing
    except UnsoundKafkaError as unsound:
        yield Finding("kafka", Standing.TROUBLE, str(unsound), "run another release of Kafka")
        return
    except KafkaUnavailableError:
        raise
    except FleetError as mismatch:
        yield Finding("topics", Standing.TROUBLE, str(mismatch), "change what the sentence says")
        return
    for sentence in differences:
        yield Finding("topics", Standing.LOOK, sentence, "change the topic, or the setting")
    if not differences:
        yield Finding("topics", Standing.OK, f"All have {settings.partitions} partitions, and are as the settings say.")


def _of_progress(settings: KafkaSettings, admin: AdminClient) -> Iterator[Finding]:
    reader = kafka.ledger_reader(settings)
    try:
        ledgers = kafka.partition_ledgers(reader, settings)
    finally:
        reader.close()
    yield clock_finding(newest_append_s(settings, ledgers), time.time())
    yield group_finding(kafka.member_count(admin, settings), sum(entry.lag_records for entry in ledgers))
    yield from filter(None, map(books_finding, ledgers))


def newest_append_s(settings: KafkaSettings, ledgers: list[PartitionLedger]) -> float | None:
    """Read when the newest telemetry was appended, in Unix seconds; None where there is none."""
    last = {entry.partition: entry.end_offset - 1 for entry in ledgers if entry.end_offset > entry.low_offset}
    reader = kafka.single_record_reader(settings)
    try:
        found = kafka.append_times_s(reader, settings.topics.telemetry, last, RECORD_TIMEOUT_S)
    finally:
        reader.close()
    return max(found.values(), default=None)


def clock_finding(appended_at_s: float | None, now_s: float) -> Finding:
    """Compare this machine's clock with the newest append: nothing was appended in the future."""
    if appended_at_s is None:
        return Finding("clock", Standing.OK, "No telemetry yet to compare with Kafka's clock.")
    if (ahead_s := appended_at_s - now_s) > CLOCK_TOLERANCE_S:
        says = f"Kafka's clock is {ahead_s:.1f} s ahead of this machine's."
        return Finding("clock", Standing.TROUBLE, says, "let all machines follow one time server (NTP)")
    return Finding("clock", Standing.OK, f"The newest telemetry was appended {max(-ahead_s, 0.0):,.0f} s ago.")


def group_finding(members: int, lag_records: int) -> Finding:
    """Say whether somebody ingests, and how far they are."""
    if not members:
        says = f"Nobody ingests; {lag_records:,} records wait."
        return Finding("group", Standing.TROUBLE, says, "start the application, or look why ingest does not join")
    return Finding("group", Standing.OK, f"{members} members ingest; {lag_records:,} records wait.")


def books_finding(entry: PartitionLedger) -> Finding | None:
    """Say what is wrong about a partition's position or its books; None where nothing is."""
    ledger, part = entry.ledger, f"partition {entry.partition}"
    if entry.committed_offset is not None and entry.committed_offset < entry.low_offset:
        says = f"Kafka no longer has offsets {entry.committed_offset} to {entry.low_offset - 1}, which were not read."
        return Finding(part, Standing.TROUBLE, says, "set ingest.skip_lost_records to go on without them")
    if missing := ledger.read - ledger.scored - ledger.dead_lettered - ledger.in_flight:
        says = f"The books do not balance: {missing:+,} records."
        return Finding(part, Standing.TROUBLE, says, "`fleet audit` names the offsets")
    return None


def model_finding(settings: ModelSettings) -> Finding:
    """Say whether the bundle that is to serve can be read here."""
    try:
        bundle = read_bundle(settings.absolute_folder, settings.version)
    except ModelBundleError as broken:
        return Finding("model", Standing.TROUBLE, str(broken), "`fleet train`, or `fleet model use` another version")
    return Finding("model", Standing.OK, f"Bundle {bundle.version} can be read.")
