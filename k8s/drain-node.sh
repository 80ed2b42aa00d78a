#!/usr/bin/env bash
# A worker pod's preStop hook: hands its replicas over before Ray stops. Usage: drain-node.sh SECONDS
#
# `ray stop` alone would kill the replicas and leave their work to fencing and replay: correct, but a pause for
# everybody who looks on. A drained node gets no new replica, and Serve starts replacements elsewhere before it ends
# the ones here the gentle way. `ray drain-node` is what Ray's own autoscaler does to nodes; it is hidden from Ray's
# help, so a failure of it (no head left, another Ray) must not keep the pod from stopping.
set -uo pipefail

limit_s=${1:?drain-node.sh needs the seconds it may take, such as 90}

if timeout 20 ray drain-node \
    --reason DRAIN_NODE_REASON_PREEMPTION \
    --reason-message "its pod is being stopped" \
    --deadline-remaining-seconds "$limit_s"; then
    while ((SECONDS < limit_s)) && pgrep --full '^ray::ServeReplica:' > /dev/null; do
        sleep 1
    done
else
    echo "drain-node.sh: Ray did not accept the drain; stopping at once." >&2
fi

ray stop --grace-period 15
