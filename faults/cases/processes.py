"""Faults of the system's own processes on one node: killed, stopped, and asked to end."""

import signal
import time

from faults.cases.register import OF_A_NODE_S, OF_A_PROCESS_S, case
from faults.network import Api, Moment
from faults.system import CONTROLLER, GATEWAY, INGEST, SCORER
from faults.trial import Trial

# From the first request of a transaction to its answered end; then the take-over after a death.
_PHASES = (
    (Api.ADD_PARTITIONS, Moment.BEFORE),
    (Api.PRODUCE, Moment.AFTER),
    (Api.ADD_OFFSETS, Moment.AFTER),
    (Api.COMMIT_OFFSETS, Moment.AFTER),
    (Api.END_TRANSACTION, Moment.BEFORE),
    (Api.END_TRANSACTION, Moment.AFTER),
)
SCORER_KILLS = 3
TAKE_OVER_TIMEOUT_S = 30.0
REPLACED_TIMEOUT_S = 60.0


@case(1, "kill -9 an ingest actor at each phase of a transaction", OF_A_PROCESS_S)
def ingest_killed_in_each_phase(trial: Trial) -> None:
    """Kill the owner of a transaction while one of its requests is held on the wire."""
    for api, moment in trial.random.sample(_PHASES, trial.times(len(_PHASES), in_brief=3)):
        _kill_ingest(trial, api, moment)
    _ingest_killed_while_taking_over(trial)


def ingest_killed(trial: Trial) -> None:
    """Do so in one phase, chosen by chance."""
    _kill_ingest(trial, *trial.random.choice(_PHASES))


def _kill_ingest(trial: Trial, api: Api, moment: Moment) -> None:
    caught = trial.catch(api, moment)
    victim = trial.system.owner_of(caught.port, INGEST)
    killed_s = trial.kill(victim, f"{moment.value} {api.name} of {caught.client_id}")
    trial.link.release()
    trial.recover(killed_s)


def _ingest_killed_while_taking_over(trial: Trial) -> None:
    """Kill one, and then the other that is about to fence it."""
    trial.link.arm(trial.transactional(Api.INIT_PRODUCER_ID, Moment.AFTER))
    trial.kill(trial.any_process(INGEST), "to have its partitions taken over")
    caught = trial.link.caught(TAKE_OVER_TIMEOUT_S)
    killed_s = trial.kill(trial.system.owner_of(caught.port, INGEST), f"in the take-over of {caught.client_id}")
    trial.link.release()
    trial.recover(killed_s)


@case(2, "kill -9 a scorer with batches in flight", OF_A_PROCESS_S)
def scorers_killed(trial: Trial) -> None:
    """Kill one of the scorers, three times."""
    for _ in range(trial.times(SCORER_KILLS, in_brief=1)):
        scorer_killed(trial)


def scorer_killed(trial: Trial) -> None:
    """Kill one of the scorers."""
    trial.recover(trial.kill(trial.any_process(SCORER)))


@case(3, "kill -9 a gateway", OF_A_PROCESS_S)
def gateway_killed(trial: Trial) -> None:
    """Kill the gateway: scoring goes on, and the page is back by itself."""
    killed_s = trial.kill(trial.any_process(GATEWAY))
    trial.recover(killed_s)
    trial.note(f"the page answered again after {time.monotonic() - killed_s:.0f} s")


@case(4, "kill -9 the Serve controller", OF_A_PROCESS_S)
def controller_killed(trial: Trial) -> None:
    """Kill the controller: nobody may notice; and the next one must do its work, here replacing a scorer."""
    killed = trial.any_process(CONTROLLER)
    trial.recover(trial.kill(killed))
    trial.until(
        lambda: [p.pid for p in trial.system.processes(CONTROLLER)] not in ([], [killed.pid]),
        "another controller",
        REPLACED_TIMEOUT_S,
    )
    scorer_killed(trial)


@case(6, "SIGSTOP an ingest actor past its session, then SIGCONT", OF_A_PROCESS_S)
def ingest_stopped_and_continued(trial: Trial) -> None:
    """Stop the owner of a transaction when its end is on the wire; once another has taken over, let it all go on.

    Neither the held request nor the woken process may commit anything: both are of an epoch that is over.
    """
    caught = trial.catch(Api.END_TRANSACTION, Moment.BEFORE)
    zombie = trial.system.owner_of(caught.port, INGEST)
    trial.normal(trial.signal(zombie, signal.SIGSTOP, f"before END_TRANSACTION of {caught.client_id}"))
    trial.link.release()
    trial.recover(trial.signal(zombie, signal.SIGCONT))


@case(7, "SIGSTOP a scorer", OF_A_PROCESS_S)
def scorer_stopped(trial: Trial) -> None:
    """Stop a scorer in mid-work: its calls hang; later it goes on with answers that nobody waits for."""
    stopped = trial.any_process(SCORER)
    trial.normal(trial.signal(stopped, signal.SIGSTOP))
    trial.recover(trial.signal(stopped, signal.SIGCONT))


@case(19, "SIGTERM to everything under load, then start again", OF_A_NODE_S)
def everything_ended_and_started(trial: Trial) -> None:
    """Ask every process of the system to end, Kafka too, and start it all again; counted from when it is ready."""
    began_s = time.monotonic()
    trial.system.cluster.stop()
    trial.system.kafka.stop()
    trial.say("everything has ended")
    trial.system.kafka.start()
    trial.system.start()
    trial.note(f"the outage lasted {time.monotonic() - began_s:.0f} s")
    trial.recover(time.monotonic())
