"""What scaling on lag promises: replicas follow a step in load soon, and do not flap."""

import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise

from faults.cases.register import OF_A_NODE_S, case
from faults.system import FEWEST, INGEST, SCORER
from faults.trial import Trial
from launch.serve_config import Config, deployments_of

# A laptop keeps up with the step, so that no lag of seconds would ever call for more. This policy lets each replica
# have what is on its way under the usual load; the step brings four and a half times as much.
USUAL_LAG_S = 3.0
DOWN_AFTER_S = 15  # longer than the wish goes up and down within the step
STEP_RATE = 7_000.0
SCALED_UP_WITHIN_S = 15.0
SCALED_UP_TIMEOUT_S = 90.0
SCALED_DOWN_TIMEOUT_S = 120.0

Counts = tuple[int, int]
"""How many replicas of ingest and of the scorer run."""


@case(24, "a step in load: more replicas, and fewer again", OF_A_NODE_S)
def load_stepped(trial: Trial) -> None:
    """Let the load rise to four and a half times as much for a while, and watch the replicas through Serve's status."""
    before = deepcopy(trial.system.config)
    usual_records = max(round(trial.lag.mean_records(USUAL_LAG_S)), 1)
    policy = f"a policy for {usual_records} records on their way"
    trial.recover(trial.redeploy(partial(_scale_on, usual_records), policy))
    few = FEWEST[INGEST], FEWEST[SCORER]
    trial.until(lambda: _is_settled(trial, few), "as few ingest and scorers as there may be", SCALED_DOWN_TIMEOUT_S)
    seen = [few]
    with trial.more_load(STEP_RATE):
        began_s = time.monotonic()
        took_s = _until_more(trial, seen, began_s)
        trial.note(f"{few} → {seen[-1]} after the step: " + ", ".join(f"{n} {s:.1f} s" for n, s in took_s.items()))
        for sentence in late_ones(took_s):
            trial.expect(False, sentence)
    ended_s = time.monotonic()
    trial.until(lambda: _note(trial, seen) == few, "as few ingest and scorers as before", SCALED_DOWN_TIMEOUT_S)
    trial.note(f"as few as before {time.monotonic() - ended_s:.0f} s after the step")
    for sentence in flapping(seen):
        trial.expect(False, sentence)
    trial.recover(trial.redeploy(lambda config: config.update(before), "what there was before"))


def _scale_on(usual_records: int, config: Config) -> None:
    """Let replicas come for more than is usually on its way, and go some seconds after it."""
    policy = config["applications"][0]["autoscaling_policy"]["policy_kwargs"]
    policy.update(records_per_ingest=usual_records, records_per_scorer=usual_records)
    for section in deployments_of(config, [INGEST, SCORER]):
        scaling = section["autoscaling_config"]
        scaling.update(downscale_delay_s=DOWN_AFTER_S, max_replicas=scaling["min_replicas"] + 1)


def _until_more(trial: Trial, seen: list[Counts], began_s: float) -> dict[str, float]:
    """Wait until there is more of both; returns after how many seconds, by deployment."""
    few, took_s = seen[-1], dict[str, float]()

    def grown() -> bool:
        for name, now, before in zip((INGEST, SCORER), _note(trial, seen), few, strict=True):
            if now > before and name not in took_s:
                took_s[name] = time.monotonic() - began_s
        return len(took_s) == len(few)

    trial.until(grown, "more ingest and scorers", SCALED_UP_TIMEOUT_S)
    return took_s


def _is_settled(trial: Trial, wanted: Counts) -> bool:
    """Whether so many run, and none is on its way: the redeploy before is a step of its own."""
    there = trial.system.replicas()
    return _running(trial) == wanted == (there.get(INGEST, 0), there.get(SCORER, 0))


def _running(trial: Trial) -> Counts:
    replicas = trial.system.running_replicas()
    return replicas.get(INGEST, 0), replicas.get(SCORER, 0)


def _note(trial: Trial, seen: list[Counts]) -> Counts:
    """Add what runs now to what was seen, where it is something else."""
    if (now := _running(trial)) != seen[-1] and all(now):  # Serve does not always answer
        seen.append(now)
    return seen[-1]


def late_ones(took_s: Mapping[str, float]) -> Iterator[str]:
    """Say which deployments had more replicas later than promised."""
    for name, seconds in took_s.items():
        if seconds > SCALED_UP_WITHIN_S:
            yield f"more {name} took {seconds:.1f} s, not {SCALED_UP_WITHIN_S:.0f} s"


def flapping(seen: Sequence[Counts]) -> Iterator[str]:
    """Say which deployments did anything else than to rise once and fall once."""
    for name, counts in zip((INGEST, SCORER), zip(*seen, strict=True), strict=True):
        if turns(counts) != 1:
            yield f"{name} flapped: {counts}"


def turns(counts: Sequence[int]) -> int:
    """Return how often a number that had risen fell, or the other way round."""
    rises = [later > earlier for earlier, later in pairwise(counts) if later != earlier]
    return sum(later != earlier for earlier, later in pairwise(rises))
