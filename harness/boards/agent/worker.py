"""Jobs: what the host asks for, one after another, and every outcome kept until it is fetched."""

import gc
import hashlib
import json
import os
import queue
import re
import sys

from .basics import NS, AgentError, now_ns, refusal, sha256, sleep_until
from .instances import InstanceRuntime
from .limits import check_size
from .profile_pass import profile
from .program import Program
from .runtime_command import CommandRuntime
from .runtime_onnx import OnnxRuntime
from .runtime_torch import TorchRuntime

FETCH_BYTES = 1 << 18
MOST_CONTACTS = 1000


class Worker:
    """Executes jobs one after another in the main thread and keeps each outcome in DIR/results."""

    def __init__(self, directory, pin, wake):
        self.directory, self.pin, self._wake = directory, pin, wake
        self.results = os.path.join(directory, "results")
        os.makedirs(self.results, exist_ok=True)
        self.jobs = queue.Queue()
        self.state = {}  # key -> "queued", "running" or "done"
        self.runtime = None
        self.contacts_ns = None  # when somebody spoke to the agent while a program ran; None while none runs

    def contact(self, t_ns):
        """Called by the listener for every connection and request."""
        if self.contacts_ns is not None:
            self.contacts_ns.append(t_ns)

    def submit(self, key, job):
        if not re.match(r"^[A-Za-z0-9_.-]{1,64}$", key):
            raise AgentError("spec", "job key {!r} must be letters, digits, '.', '_' or '-'".format(key))
        if key not in self.state:
            self.state[key] = "queued"
            self.jobs.put((key, job))
        return self.state[key]

    def outcome(self, key):
        with open(os.path.join(self.results, key + ".json"), "rb") as kept:
            return json.loads(kept.read().decode("utf-8"))

    def run_forever(self):
        while True:
            key, job = self.jobs.get()
            if key is None:
                return
            self.state[key] = "running"
            try:
                outcome = dict(self._do(key, job), ok=True)
            except AgentError as error:
                outcome = refusal(error)
            except MemoryError:
                outcome = refusal(AgentError("device", "the board has not enough memory for this"))
            except Exception as error:
                outcome = refusal(AgentError("device", "{}: {}".format(type(error).__name__, error)))
            if not outcome["ok"]:
                self._lower_pin()
            self._keep(key, outcome)
            self.state[key] = "done"
            self._wake()

    def _lower_pin(self):
        """After an error anywhere: nothing is busy any more. The error itself is what is reported."""
        try:
            self.pin.low()
        except AgentError as error:
            sys.stderr.write(error.message + "\n")

    def _do(self, key, job):
        if job["job"] == "load":
            return self._load(job)
        if job["job"] == "perform":
            return self._perform(key, job)
        if job["job"] == "outputs":
            return self._outputs(key)
        if job["job"] == "profile":
            return self._profile(job)
        raise AgentError("spec", "unknown job {!r}; known: load, perform, outputs, profile".format(job["job"]))

    def _load(self, job):
        name = job["runtime"]["name"]
        makers = {"onnxruntime": OnnxRuntime, "torch": TorchRuntime, "command": CommandRuntime}
        if name not in makers:
            raise AgentError("spec", "unknown runtime {!r}; known: {}".format(name, ", ".join(sorted(makers))))
        self.runtime = None
        check_size(job)
        if job.get("instances"):
            makers["onnxruntime"] = InstanceRuntime
        self.pin.high()
        begin = now_ns()
        try:
            self.runtime = makers[name](job, self.directory, self.pin)
        finally:
            end = now_ns()
            self.pin.low()
        gc.collect()
        reply = {"details": self.described(), "begin_ns": begin, "end_ns": end}
        if getattr(self.runtime, "optimised", None):
            reply["optimised"] = {
                "file": os.path.basename(self.runtime.optimised),
                "sha256": sha256(self.runtime.optimised),
            }
        return reply

    def _profile(self, job):
        """One busy stretch for the marker pin; a model that was loaded is forgotten."""
        self.runtime = None
        check_size(job)
        self.pin.high()
        try:
            return profile(job, self.directory, self._write)
        finally:
            gc.collect()
            self.pin.low()

    def described(self):
        if self.runtime is None:
            return None
        timing = {"first_s": self.runtime.first_s, "period_s": self.runtime.period_s}
        return dict(self.runtime.details(), **timing)

    def _perform(self, key, job):
        program = Program(self.runtime, self.pin, job["seed"])
        before = self.pin.writes
        if job.get("after_s"):  # a dark program: the link is being closed meanwhile
            sleep_until(now_ns() + int(job["after_s"] * NS))
        self.contacts_ns = []
        packets = packets_seen()
        program.perform(job["steps"])
        packets = dict((name, count - packets.get(name, 0)) for name, count in packets_seen().items())
        contacts_ns, self.contacts_ns = self.contacts_ns, None
        data = program.stamps.to_bytes()
        self._write(key + ".bin", data)
        collect = getattr(self.runtime, "collect_instances", None)
        return {
            "layers": collect(key, program, self._write) if collect else None,
            "spans": program.spans,
            "rows": program.stamps.rows,
            "file": key + ".bin",
            "sha256": hashlib.sha256(data).hexdigest(),
            "notes": program.notes,
            "pin_writes": self.pin.writes - before,
            "contacts_ns": contacts_ns[:MOST_CONTACTS],
            "packets": packets,
        }

    def _outputs(self, key):
        if self.runtime is None:
            raise AgentError("spec", "no model is loaded")
        path = os.path.join(self.results, key + ".npz")
        if not self.runtime.outputs(path):
            return {"file": None}
        return {"file": key + ".npz", "sha256": sha256(path)}

    def _keep(self, key, outcome):
        self._write(key + ".json", json.dumps(outcome).encode("utf-8"))

    def _write(self, name, data):
        path = os.path.join(self.results, name)
        with open(path + ".part", "wb") as out:
            out.write(data)
        os.replace(path + ".part", path)

    def read(self, name, offset):
        if os.path.basename(name) != name:
            raise AgentError("spec", "{!r} is not the name of a result".format(name))
        try:
            with open(os.path.join(self.results, name), "rb") as kept:
                size = os.fstat(kept.fileno()).st_size
                kept.seek(offset)
                return size, kept.read(FETCH_BYTES)
        except OSError as error:
            raise AgentError("spec", "no result {!r}: {}".format(name, error.strerror))


def packets_seen():
    """Packets received and sent so far by each network interface but the loopback; {} where it is not known."""
    seen = {}
    try:
        with open("/proc/net/dev") as table:
            for line in table.read().splitlines()[2:]:
                name, _, counters = line.partition(":")
                fields = counters.split()
                if name.strip() != "lo" and len(fields) > 9:
                    seen[name.strip()] = int(fields[1]) + int(fields[9])
    except (OSError, ValueError):
        return {}
    return seen
