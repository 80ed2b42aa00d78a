"""Faults of the scorers' answers. Killed and stopped ones stand in `processes`."""

import time
from collections import Counter

from faults import books
from faults.cases.register import OF_A_PROCESS_S, case
from faults.illness import Illness
from faults.system import SCORER
from faults.trial import Trial
from launch.serve_config import Config, deployments_of

UNWELL_S = 8.0
_UNWELL_APPLICATION = "faults.unwell:build"


@case(16, "a scorer that returns NaN, raises, or hangs", OF_A_PROCESS_S)
def scorer_unwell(trial: Trial) -> None:
    """Make one of the scorers unwell in each way: the other must do its work, and no event may be condemned."""
    before = trial.system.config["applications"][0]["import_path"]
    trial.redeploy(lambda config: _import(config, _UNWELL_APPLICATION), "an application with scorers to make unwell")
    trial.wait_until_normal()
    for illness in trial.random.sample(list(Illness), len(Illness)):
        victim = trial.any_process(SCORER)
        _configure(trial, {"pid": victim.pid, "illness": illness.value})
        unwell_s = time.monotonic()
        trial.say(f"scorer {victim.pid} {illness}")
        trial.flow(UNWELL_S)
        trial.normal(unwell_s)
        _configure(trial, {})
    trial.redeploy(lambda config: _import(config, before), "the application as it was")
    trial.wait_until_normal()
    trial.drain()
    dead = _dead_letters(trial)
    trial.expect(not dead, f"nothing is wrong with the events, yet there are dead letters: {dict(dead)}")


def _import(config: Config, path: str) -> None:
    config["applications"][0]["import_path"] = path
    for section in deployments_of(config, [SCORER]):
        section.pop("user_config", None)


def _configure(trial: Trial, user_config: Config) -> None:
    def change(config: Config) -> None:
        for section in deployments_of(config, [SCORER]):
            section["user_config"] = user_config

    trial.redeploy(change, f"user_config {user_config}")


def _dead_letters(trial: Trial) -> Counter[str]:
    settings = trial.settings.kafka
    dead = books.read_stretch(settings, settings.topics.dlq, trial.begin, books.ends(settings))
    return Counter(dict(message.headers())["reason"].decode() for message in dead)
