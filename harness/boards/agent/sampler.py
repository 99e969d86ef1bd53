"""`sample`: the agent's second role. It samples meters that are part of the board, dumbly and cheaply.

The main thread samples; the listener sleeps until the host asks. Nothing is interpreted, written to a file or sent
unless asked, so that it disturbs what it measures as little as it can; what it costs it says itself.
"""

import base64
import gc
import json
import os
import platform
import signal
import sys
import time
import zlib

from .basics import AGENT_VERSION, PROTOCOL_VERSION, AgentError, now_ns
from .event_source import EventSource
from .life import end_self
from .listener import Listener
from .nvml_source import NvmlSource
from .pins import NoPin
from .repeat_source import RepeatSource
from .sample_buffer import SampleBuffer
from .sample_sources import FileSource, LineSource
from .serve import fail_start, leave_pid_file

LEVEL = 1  # of zlib: a third of the bytes for little CPU
SWITCH_S = 0.0005  # a pass must not wait for an answer under way


def sample(options):
    os.makedirs(options.dir, mode=0o700, exist_ok=True)
    os.chdir(options.dir)
    leave_pid_file(options)  # first, since a command inherits its mark
    try:
        plan = json.loads(options.plan)
        take_place(plan)
        width = len(plan["files"]) + len(plan["registers"]) + len(plan["events"]) + len(plan["nvml"]) or 1
        buffer = SampleBuffer(width, int(plan["keep_bytes"]))
        source = open_source(plan, buffer)
    except AgentError as error:
        return fail_start(error)
    listener = SampleListener(options, source, buffer)
    signal.signal(signal.SIGTERM, lambda number, frame: listener.end("terminated"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.disable()  # what follows makes no cycles
    listener.start()
    source.run()
    buffer.pack()
    listener.join()  # what was read is kept until it is fetched
    return 0


def take_place(plan):
    """CPUs and urgency, as the plan says."""
    if plan["cpus"]:
        try:
            os.sched_setaffinity(0, plan["cpus"])
        except (OSError, ValueError) as error:
            raise AgentError("spec", "the sampler cannot use cpus {}: {}".format(plan["cpus"], error))
    if plan["nice"]:
        try:
            os.nice(plan["nice"])
        except OSError as error:
            raise AgentError(
                "device",
                "the sampler may not have nice {}: {}".format(plan["nice"], error.strerror),
                "a level below 0 needs CAP_SYS_NICE on the board",
            )


def open_source(plan, buffer):
    read = bool(plan["files"] or plan["registers"])
    if read + bool(plan["events"]) + bool(plan["command"]) + bool(plan["nvml"]) != 1:
        raise AgentError("spec", "a sampler reads either files or the lines of a command or perf events or GPUs")
    if read:
        return FileSource(plan["files"], plan["period_s"], buffer, plan["registers"], plan["edge_s"])
    if plan["events"]:
        return EventSource(plan["events"], plan["period_s"], buffer, plan["edge_s"])
    if plan["nvml"]:
        try:
            return NvmlSource(plan["nvml_library"], plan["nvml"], plan["period_s"], buffer)
        except OSError as error:
            raise AgentError("device", "{} cannot be loaded: {}".format(plan["nvml_library"], error))
    if plan["repeat_s"] > 0:
        return RepeatSource(plan["command"], plan["repeat_s"], buffer)
    return LineSource(plan["command"], buffer, plan["renew_on"].encode("utf-8"), plan["renew_after"])


class SampleListener(Listener):
    """The host's requests to a sampler."""

    def __init__(self, options, source, buffer):
        Listener.__init__(self, options.dir, options.token, options.lease_s)
        self._source, self._buffer = source, buffer
        self._began_ns = now_ns()

    def _handle(self, client, request):
        op = request["op"]
        if op == "take":
            return self._take(int(request["after"]), bool(request["seal"]))
        if op == "halt":
            self._source.close()
            return {"ok": True}
        if op == "cost":
            return dict(self._cost(), ok=True)
        if op == "status":
            return {"ok": True, "halted": self._source.halted, "counts": self._counts(), "t_ns": now_ns()}
        if op == "hello":
            return dict(self._hello(), ok=True)
        if op == "exit":
            client.say({"id": request["id"], "ok": True})
            client.flush()
            self.end("asked to end")
        raise AgentError("spec", "unknown op {!r} for a sampler".format(op), "the host speaks another protocol")

    def _take(self, after, seal):
        """The first chunk after the one numbered `after`, which the host has; `last`: the newest there is."""
        last = self._buffer.seal() if seal else None
        chunk = self._buffer.after(after)
        answer = {"ok": True, "last": last, "counts": self._counts(), "number": None}
        if chunk is not None:
            number, rows, packed = chunk
            data = base64.b64encode(zlib.compress(packed, LEVEL)).decode("ascii")
            answer.update(number=number, rows=rows, size=len(packed), data=data)
        return answer

    def _counts(self):
        return dict(self._source.counts(), lost_passes=self._buffer.lost)

    def _cost(self):
        command_s = self._source.command_cpu_s()
        return {
            "cpu_s": time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID) + command_s,
            "command_cpu_s": command_s,
            "wall_s": (now_ns() - self._began_ns) / 1e9,
            "rows": self._buffer.packed + self._buffer.lost + len(self._buffer.rows),
        }

    def _hello(self):
        return {
            "agent": AGENT_VERSION,
            "protocol": PROTOCOL_VERSION,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "token": self._token,
            "machine": platform.machine(),
            "clock": "CLOCK_MONOTONIC",
            "t_ns": now_ns(),
            "cpus": sorted(os.sched_getaffinity(0)),
            "width": self._buffer.width,
        }

    def contact(self, t_ns):
        """A sampler runs no program that would have to be left alone."""

    def end(self, why):
        self._source.close()
        end_self(NoPin(), why)
