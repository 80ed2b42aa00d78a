"""Faults of whole nodes: a worker and its tree, and the head."""

import time

from faults.cases.register import OF_A_NODE_S, case
from faults.trial import Trial

WORKERS = 2
HEADLESS_S = 10.0


@case(5, "kill -9 a worker node's raylet and its tree", OF_A_NODE_S, workers=WORKERS)
def worker_killed(trial: Trial) -> None:
    """Kill one of two workers with whatever runs there; the other takes its replicas. Then another one comes."""
    victim = trial.random.choice(trial.system.cluster.workers)
    killed_s = time.monotonic()
    trial.system.cluster.kill(victim)
    trial.say(f"kill -9 of {victim.name} and everything below it")
    trial.recover(killed_s)
    trial.system.cluster.complete()


@case(23, "kill -9 the cluster's head and start it again", OF_A_NODE_S, workers=WORKERS)
def head_killed(trial: Trial) -> None:
    """Kill the head, and after a while start it; the workers' old processes may not get in the way of the new ones."""
    killed_s = time.monotonic()
    trial.system.cluster.kill_head()
    trial.say("kill -9 of the head and everything below it")
    trial.flow(HEADLESS_S)
    trial.note(f"{trial.lag_records:,} records behind after {HEADLESS_S:.0f} s without a head")
    trial.system.start()
    trial.note(f"the outage lasted {time.monotonic() - killed_s:.0f} s")
    trial.recover(time.monotonic())
