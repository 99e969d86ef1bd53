"""`sample`: the agent's second role. It samples meters that are part of the board, dumbly and cheaply.

One thread that sleeps in select until the next pass or request. It interprets nothing, writes no file and sends
nothing unless asked, so that it disturbs what it measures as little as it can; what it costs it says itself.
"""

import base64
import gc
import json
import os
import platform
import select
import signal
import socket
import sys
import time
import zlib

from .basics import AGENT_VERSION, NS, PROTOCOL_VERSION, AgentError, now_ns, refusal
from .life import end_self
from .listener import Client
from .pins import NoPin
from .sample_buffer import SampleBuffer
from .sample_sources import FileSource, LineSource
from .serve import fail_start, leave_pid_file

LEVEL = 1  # of zlib: a third of the bytes for little CPU


def sample(options):
    os.makedirs(options.dir, mode=0o700, exist_ok=True)
    os.chdir(options.dir)
    try:
        plan = json.loads(options.plan)
        _take_place(plan)
        server = socket.socket(socket.AF_UNIX)
        sampler = Sampler(plan, server, options.token, options.lease_s)
    except AgentError as error:
        return fail_start(error)
    signal.signal(signal.SIGTERM, lambda number, frame: sampler.end("terminated"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server.bind("socket")  # relative: a path of more than 107 bytes does not fit an address
    server.listen(8)
    server.setblocking(False)
    leave_pid_file(options)
    gc.collect()
    gc.disable()  # what follows makes no cycles
    return sampler.run()


def _take_place(plan):
    """CPUs and urgency, as the plan says."""
    if plan.get("cpus"):
        try:
            os.sched_setaffinity(0, plan["cpus"])
        except (OSError, ValueError) as error:
            raise AgentError("spec", "the sampler cannot use cpus {}: {}".format(plan["cpus"], error))
    if plan.get("nice"):
        try:
            os.nice(plan["nice"])
        except OSError as error:
            raise AgentError(
                "device",
                "the sampler may not have nice {}: {}".format(plan["nice"], error.strerror),
                "a level below 0 needs CAP_SYS_NICE on the board",
            )


class Sampler:
    """The source, the buffer, and the host's requests between the passes."""

    def __init__(self, plan, server, token, lease_s):
        files, command = plan.get("files") or [], plan.get("command") or []
        if bool(files) == bool(command):
            raise AgentError("spec", "a sampler reads either files or the lines of a command")
        self._buffer = SampleBuffer(len(files) or 1, int(plan["buffer_bytes"]))
        if files:
            self._source = FileSource(files, plan["period_s"], self._buffer)
        else:
            self._source = LineSource(command, self._buffer)
        self._halted = self._ending = False
        self._server, self._token, self._lease_s = server, token, lease_s
        self._clients = {}  # socket -> Client
        self._began_ns = now_ns()
        self._renew({})

    def _renew(self, request):
        self._deadline_ns = now_ns() + int(float(request.get("lease_s", self._lease_s)) * NS)

    def run(self):
        """Until the process ends: `end` does not come back."""
        source, wait = self._source, select.select
        while True:
            now = now_ns()
            due = source.due_ns
            if due is not None and now >= due:
                source.run()
                due, now = source.due_ns, now_ns()
            if now >= self._deadline_ns:
                self.end("nobody spoke to this sampler for its lease: ending")
            until = self._deadline_ns if due is None else min(due, self._deadline_ns)
            readers = [self._server]
            writers = []
            if source.fd is not None:
                readers.append(source.fd)
            for client in self._clients.values():
                readers.append(client.socket)
                if client.out:
                    writers.append(client.socket)
            ready, free, _ = wait(readers, writers, [], max(0, until - now) / 1e9)
            for item in ready:
                if item is self._server:
                    client = Client(self._server.accept()[0])
                    self._clients[client.socket] = client
                elif item == source.fd:
                    source.read()
                else:
                    self._serve(self._clients[item], reading=True)
            for item in free:
                if item in self._clients:
                    self._serve(self._clients[item], reading=False)

    def _serve(self, client, reading):
        try:
            for line, arrived in client.lines() if reading else []:
                client.say(self._answer(line, arrived))
            client.flush()
        except OSError:
            client.gone = True
        if self._ending:
            self.end("asked to end")
        if client.gone:
            del self._clients[client.socket]
            client.socket.close()

    def _answer(self, line, arrived):
        request = {}
        try:
            request = json.loads(line.decode("utf-8"))
            self._renew(request)
            answer = self._handle(request, arrived)
        except AgentError as error:
            answer = refusal(error)
        except (ValueError, KeyError, TypeError) as error:
            answer = refusal(AgentError("spec", "not a request: {}: {}".format(type(error).__name__, error)))
        return dict(answer, id=request.get("id"))

    def _handle(self, request, arrived):
        op = request["op"]
        if op == "ping":
            return {"ok": True, "t": [arrived, now_ns()]}
        if op == "take":
            return self._take(int(request["after"]), bool(request["seal"]))
        if op == "halt":
            self._source.close()
            self._source.due_ns, self._halted = None, True
            return {"ok": True}
        if op == "cost":
            return dict(self._cost(), ok=True)
        if op == "status":
            return {"ok": True, "halted": self._halted, "counts": self._counts(), "t_ns": now_ns()}
        if op == "hello":
            return dict(self._hello(), ok=True)
        if op == "exit":
            self._ending = True
            return {"ok": True}
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
        return dict(self._source.counts, lost_passes=self._buffer.lost)

    def _cost(self):
        ended = os.times()
        command_s = ended.children_user + ended.children_system
        if isinstance(self._source, LineSource):
            command_s += self._source.cpu_s()
        return {
            "cpu_s": time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID) + command_s,
            "command_cpu_s": command_s,
            "wall_s": (now_ns() - self._began_ns) / 1e9,
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

    def end(self, why):
        self._source.close()
        sys.stdout.flush()
        end_self(NoPin(), why)
