"""What an operator changes under load: the model, and everything else in `serve_config.yaml`."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from faults import books
from faults.cases.register import OF_A_NODE_S, OF_A_PROCESS_S, case
from faults.system import INGEST, SCORER
from faults.trial import Trial
from fleet.detection.model.bundle import ModelBundle, read_bundle, set_current_version, write_bundle
from fleet.errors import LocalServiceError
from fleet.events.fields import wire_name
from fleet.kafka import Message
from fleet.settings import PROJECT_FOLDER
from launch.serve_config import Config, arguments_of, deployments_of

REFUSED_AFTER_S = 5.0  # every process looks once a second
FOLLOWED_TIMEOUT_S = 30.0
COMMAND_TIMEOUT_S = 30.0
THRESHOLD_FACTOR = 1.01


@case(17, "a corrupt bundle, then a good one, under load", OF_A_PROCESS_S)
def bundles_exchanged(trial: Trial) -> None:
    """Name a damaged bundle as current, then train-and-publish a good one, then roll it back."""
    models = trial.system.models
    first = read_bundle(models)
    began_s = time.monotonic()
    set_current_version(models, _damaged_copy(first))
    trial.flow(REFUSED_AFTER_S)
    trial.expect(_served(trial) == {first.version}, "a damaged bundle must be refused while the old one serves")
    second = _like(first, models)
    trial.until(lambda: _served(trial) == {second.version}, "the new bundle to serve", FOLLOWED_TIMEOUT_S)
    trial.say(f"{second.version} serves")
    trial.say(_fleet_model("rollback", models))
    trial.until(lambda: _served(trial) == {first.version}, "the first bundle to serve again", FOLLOWED_TIMEOUT_S)
    trial.recover(began_s)
    trial.drain()
    wanted = [first.version, second.version, first.version]
    for sentence in wrong_versions(_versions(trial, trial.begin), wanted):
        trial.expect(False, sentence)


def wrong_versions(by_partition: Mapping[int, Sequence[str]], wanted: Sequence[str]) -> Iterator[str]:
    """Say which partitions were scored by other versions than these, or in another order."""
    for partition, versions in by_partition.items():
        if versions != wanted:
            yield f"partition {partition} was scored by {versions}, not by {wanted}"


def _damaged_copy(bundle: ModelBundle) -> str:
    """Copy a bundle under another name, as an upload that broke off would leave it; returns its version."""
    damaged = bundle.folder.with_name(f"{bundle.version}-damaged")
    shutil.copytree(bundle.folder, damaged)
    network = damaged / bundle.network_path.name
    network.write_bytes(network.read_bytes()[: network.stat().st_size // 2])
    return damaged.name


def _like(bundle: ModelBundle, models: Path) -> ModelBundle:
    """Publish a bundle as training does: the same network with a threshold a little higher."""

    def copy_network(path: Path) -> None:
        shutil.copy(bundle.network_path, path)

    return write_bundle(
        models,
        save_network=copy_network,
        plan=bundle.plan,
        threshold=THRESHOLD_FACTOR * bundle.threshold,
        calibration=bundle.calibration,
        metrics=bundle.metrics,
        trained_at=datetime.now(UTC),
    )


def _fleet_model(action: str, models: Path) -> str:
    command = [sys.executable, "-m", "commands", "model", action, "--models", str(models)]
    answer = subprocess.run(
        command, cwd=PROJECT_FOLDER, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )
    if answer.returncode != 0:
        raise LocalServiceError(f"fleet model {action}: {answer.stderr.strip()}")
    return answer.stdout.strip()


class _Result(msgspec.Struct, rename=wire_name, gc=False):
    model_version: str


_decode = msgspec.json.Decoder(_Result).decode


def _served(trial: Trial) -> set[str]:
    """Say which versions the page and the results of the next second name."""
    begin = books.ends(trial.settings.kafka)
    trial.flow(1.0)
    by_page = trial.system.pipeline().get("modelVersion", "none")
    return {by_page, *(version for versions in _versions(trial, begin).values() for version in versions)}


def _versions(trial: Trial, begin: books.Positions) -> dict[int, list[str]]:
    """Return the versions in the order in which they scored each partition, since `begin`."""
    settings = trial.settings.kafka
    return versions_in_order(books.read_stretch(settings, settings.topics.scored, begin, books.ends(settings)))


def versions_in_order(results: Iterable[Message]) -> dict[int, list[str]]:
    """Return the versions in the order in which they follow one another in each partition's results."""
    by_partition: dict[int, list[str]] = {}
    for message in results:
        versions = by_partition.setdefault(message.partition(), [])
        version = _decode(message.value()).model_version
        if versions[-1:] != [version]:
            versions.append(version)
    return by_partition


@case(18, "redeploy under load: replicas, batch size, model version", OF_A_NODE_S)
def redeployed(trial: Trial) -> None:
    """Deploy more replicas; then what needs all of them anew: other batch sizes and a pinned model; then as it was."""
    before = deepcopy(trial.system.config)
    second = _like(read_bundle(trial.system.models), trial.system.models)
    trial.recover(trial.redeploy(_more_replicas, "a third ingest and scorer"))
    trial.recover(trial.redeploy(lambda config: _other_batches(config, second), "other batch sizes and another model"))
    trial.until(lambda: _served(trial) == {second.version}, "the pinned model to serve", FOLLOWED_TIMEOUT_S)
    trial.recover(trial.redeploy(lambda config: config.update(before), "what there was before"))


def _more_replicas(config: Config) -> None:
    for section in deployments_of(config, [INGEST, SCORER]):
        section["autoscaling_config"]["min_replicas"] += 1


def _other_batches(config: Config, model: ModelBundle) -> None:
    arguments = arguments_of(config)
    arguments["ingest"]["turn_records"] //= 4
    arguments["scorer"]["max_batch_rows"] //= 4
    arguments["model"]["version"] = model.version
