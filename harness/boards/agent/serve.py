"""`serve`: the agent itself, from its first line of output to the last job."""

import json
import os
import signal
import sys
import time

from .basics import AGENT_VERSION, PROTOCOL_VERSION, AgentError, refusal
from .life import end_self, identity
from .listener import Listener
from .orphans import MARK
from .pins import NoPin, Pin
from .worker import Worker


def serve(options):
    os.makedirs(options.dir, mode=0o700, exist_ok=True)
    os.chdir(options.dir)
    if options.cpus:
        try:
            os.sched_setaffinity(0, [int(cpu) for cpu in options.cpus.split(",")])
        except (OSError, ValueError) as error:
            return fail_start(AgentError("spec", "cpus {} cannot be used: {}".format(options.cpus, error)))
    try:
        pin = Pin(options.pin) if options.pin else NoPin()
    except AgentError as error:
        return fail_start(error)
    listener = Listener(options.dir, options.token, options.lease_s)
    worker = Worker(os.getcwd(), pin, listener.wake)
    listener.worker = worker
    signal.signal(signal.SIGTERM, lambda number, frame: end_self(pin, "terminated"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    leave_pid_file(options)
    listener.start()
    worker.run_forever()
    return 0


def leave_pid_file(options):
    """agent.json: who this is and to whom it belongs, for whoever finds the directory. Children inherit the mark."""
    os.environ[MARK] = os.getcwd()
    record = {
        "pid": os.getpid(), "identity": identity(os.getpid()), "token": options.token, "agent": AGENT_VERSION,
        "protocol": PROTOCOL_VERSION, "owner": json.loads(options.owner), "started_unix_s": time.time(),
    }  # fmt: skip
    with open("agent.json.part", "w") as out:
        out.write(json.dumps(record))
    os.replace("agent.json.part", "agent.json")


def fail_start(error):
    """Leaves word in DIR/failed.json for whoever waits for the agent to come up."""
    with open("failed.json.part", "w") as out:
        out.write(json.dumps(refusal(error)))
    os.replace("failed.json.part", "failed.json")
    sys.stderr.write(error.message + "\n")
    return 1
