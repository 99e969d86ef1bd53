#!/usr/bin/env python3
"""The agent: the one file that is copied to a board and runs models there.

It stands alone (Python >= 3.6, standard library; numpy and the runtime only once a model is loaded), so that a
board needs no installation. It runs detached, stamps inferences on CLOCK_MONOTONIC, raises the marker pin while
busy, keeps results in its own directory, and ends by itself when nobody has spoken to it for its lease: an orphan
must not heat the board for ever. Contract: docs/agent.md.

    agent.py serve --dir DIR --token T [--pin PATH] [--cpus 0,2] [--lease-s S] [--owner JSON]
    agent.py attach DIR            relays standard input and output to the agent in DIR
    agent.py end ROOT --owner JSON ends the agents below ROOT whose owner is gone or is the caller
"""

import argparse
import array
import base64
import ctypes
import errno
import functools
import gc
import hashlib
import json
import os
import platform
import queue
import random
import re
import select
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

AGENT_VERSION = "1.0"
PROTOCOL_VERSION = 1
NS = 1000000000
FETCH_BYTES = 1 << 18
SILENCE_S = 120.0  # a command that prints nothing for so long has hung
PIN_WAIT_S = 2.0  # how long a FIFO may have no reader when the agent starts
OPTIMISATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


def _clock_of_python_36():
    return int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e9)


now_ns = getattr(time, "monotonic_ns", _clock_of_python_36)


class AgentError(Exception):
    """An error for the host: kind "spec", "device" or "transient", a message, and what to do next."""

    def __init__(self, kind, message, hint=""):
        Exception.__init__(self, message)
        self.kind = kind
        self.message = message
        self.hint = hint


# --- marker pin ---------------------------------------------------------------------------------------


class NoPin:
    """A board without a marker pin."""

    path = None
    writes = 0
    present = False

    def high(self):
        pass

    def low(self):
        pass


class Pin:
    """Writes 1 and 0 to a path: a GPIO's value file (rewritten at offset 0) or a FIFO."""

    present = True

    def __init__(self, path):
        self.path = path
        self.writes = 0
        self._fd = self._open(path)
        mode = os.fstat(self._fd).st_mode
        self._seekable = stat.S_ISREG(mode)
        self._emit = self.writer()
        self.low()

    @staticmethod
    def _open(path):
        give_up_ns = now_ns() + int(PIN_WAIT_S * NS)
        while True:
            try:
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno == errno.ENXIO and now_ns() < give_up_ns:
                    time.sleep(0.02)  # a FIFO whose reader is not there yet
                    continue
                reason = "nobody reads the FIFO" if error.errno == errno.ENXIO else error.strerror
                raise AgentError(
                    "device",
                    "marker pin {} cannot be opened for writing: {}".format(path, reason),
                    "check marker_pin of the board; a GPIO must be exported as an output and be writable",
                )

    def writer(self):
        """The bare function that writes one level: for loops, which count and catch OSError themselves."""
        if self._seekable:
            fd = self._fd
            return lambda level: os.pwrite(fd, level, 0)
        return functools.partial(os.write, self._fd)

    def refused(self, error):
        reason = "its reader does not read" if error.errno == errno.EAGAIN else error.strerror
        return AgentError("device", "marker pin {} refused an edge: {}".format(self.path, reason))

    def _write(self, level):
        try:
            self._emit(level)
        except OSError as error:
            raise self.refused(error)
        self.writes += 1

    def high(self):
        self._write(b"1")

    def low(self):
        self._write(b"0")


# --- stamps -------------------------------------------------------------------------------------------


class Stamps:
    """Begin and end of every busy stretch, in preallocated lists.

    Lists, not arrays: behind a cold inference an array's item assignment costs about 2 us, a list's 0.5 us.
    """

    def __init__(self, rows):
        self.begin = [0] * max(rows, 64)
        self.end = [0] * max(rows, 64)
        self.rows = 0

    def add(self, begin, end):
        if self.rows == len(self.begin):
            self.grow()
        self.begin[self.rows] = begin
        self.end[self.rows] = end
        self.rows += 1

    def grow(self):
        more = [0] * len(self.begin)
        self.begin.extend(more)
        self.end.extend(more)

    def to_bytes(self):
        """int64, little-endian, begin and end in turn."""
        both = array.array("q", bytes(16 * self.rows))
        both[::2] = array.array("q", self.begin[: self.rows])
        both[1::2] = array.array("q", self.end[: self.rows])
        if sys.byteorder == "big":
            both.byteswap()
        return both.tobytes()


def sleep_until(until_ns):
    left = until_ns - now_ns()
    while left > 0:
        time.sleep(left / 1e9)
        left = until_ns - now_ns()


# --- runtime: ONNX Runtime ----------------------------------------------------------------------------


class OnnxRuntime:
    """A model in ONNX Runtime on the CPU, with inputs bound once so that the loop only calls and stamps."""

    one_invocation = False

    def __init__(self, job, directory, pin):
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            raise AgentError(
                "device",
                "the board's Python {} cannot run the runtime onnxruntime: {}".format(sys.executable, error),
                "{} -m pip install onnxruntime numpy".format(sys.executable),
            )
        self._numpy, self._ort, self._pin = numpy, onnxruntime, pin
        settings = job["runtime"]
        self._name = job.get("name", job["model"])
        self.options = self._session_options(settings)
        self.optimised = None
        if job.get("save_optimised"):
            self.optimised = os.path.join(directory, "results", "optimised.onnx")
            self.options.optimized_model_filepath = self.optimised
        try:
            self.session = onnxruntime.InferenceSession(
                job["model"], sess_options=self.options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise AgentError("spec", "onnxruntime cannot load {}: {}".format(self._name, error))
        with numpy.load(job["inputs"], allow_pickle=False) as given:
            self.feed = dict((name, given[name]) for name in given.files)
        self.settings = settings
        self.mode, self._run, self._argument = self._bind()
        first = now_ns()
        self._run(self._argument)
        second = now_ns()
        self._run(self._argument)
        self.first_s = (second - first) / 1e9
        self.period_s = max((now_ns() - second) / 1e9, 1e-6)

    def _session_options(self, settings):
        options = self._ort.SessionOptions()
        level = settings["optimisation"]
        if level not in OPTIMISATION:
            raise AgentError("spec", "optimisation {!r} is none of {}".format(level, sorted(OPTIMISATION)))
        options.graph_optimization_level = getattr(self._ort.GraphOptimizationLevel, OPTIMISATION[level])
        options.intra_op_num_threads = int(settings["threads"])
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        spin = "1" if settings["spinning"] == "on" else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spin)
        options.add_session_config_entry("session.inter_op.allow_spinning", spin)
        return options

    def _bind(self):
        """IO binding where the model allows it; models with strings, maps or sequences are fed each time."""
        run, feed = self.session.run, self.feed
        try:
            run(None, feed)
        except Exception as error:
            raise AgentError("spec", "onnxruntime cannot run {}: {}".format(self._name, error))
        kinds = [v.type for v in self.session.get_inputs() + self.session.get_outputs()]
        if not all(kind.startswith("tensor(") and kind != "tensor(string)" for kind in kinds):
            return "feed", lambda given: run(None, given), feed
        binding = self.session.io_binding()
        for name in feed:
            binding.bind_cpu_input(name, feed[name])
        for output in self.session.get_outputs():
            binding.bind_output(output.name, "cpu")
        return "io_binding", self.session.run_with_iobinding, binding

    def details(self):
        return {
            "runtime": "onnxruntime",
            "version": self._ort.__version__,
            "providers": self.session.get_providers(),
            "threads": int(self.settings["threads"]),
            "spinning": self.settings["spinning"],
            "optimisation": self.settings["optimisation"],
            "binding": self.mode,
            "inputs": [[v.name, list(v.shape), v.type] for v in self.session.get_inputs()],
            "outputs": [[v.name, list(v.shape), v.type] for v in self.session.get_outputs()],
            "optimised": self.optimised,
            "pauses": True,
            "has_outputs": True,
        }

    def infer(self, step, stamps, rng):
        """Inferences of one step. The loops without a pause hold nothing but the call and its two stamps."""
        count = step.get("count")
        until = now_ns() + int(step["seconds"] * NS) if count is None else 1 << 62
        last_row = stamps.rows + count if count is not None else 1 << 60
        if step.get("pause_max_s", 0.0) > 0.0:
            self._paused(step, stamps, rng, until, last_row)
            return
        loop = self._back_to_back_with_pin if self._pin.present else self._back_to_back
        over = False
        while not over and stamps.rows < last_row:
            if stamps.rows == len(stamps.begin):
                stamps.grow()
            over = loop(stamps, until, min(last_row, len(stamps.begin)))

    def _back_to_back(self, stamps, until, last_row):
        run, argument, clock, begins, ends = self._run, self._argument, now_ns, stamps.begin, stamps.end
        k = end = 0
        for k in range(stamps.rows, last_row):
            begins[k] = clock()
            run(argument)
            ends[k] = end = clock()
            if end >= until:
                break
        stamps.rows = k + 1
        return end >= until

    def _back_to_back_with_pin(self, stamps, until, last_row):
        run, argument, clock, begins, ends = self._run, self._argument, now_ns, stamps.begin, stamps.end
        write, high, low = self._pin.writer(), b"1", b"0"
        first = stamps.rows
        k = end = 0
        try:
            for k in range(first, last_row):
                write(high)
                begins[k] = clock()
                run(argument)
                ends[k] = end = clock()
                write(low)
                if end >= until:
                    break
        except OSError as error:
            raise self._pin.refused(error)
        stamps.rows = k + 1
        self._pin.writes += 2 * (k + 1 - first)
        return end >= until

    def _paused(self, step, stamps, rng, until, last_row):
        run, argument, clock, high, low = self._run, self._argument, now_ns, self._pin.high, self._pin.low
        shortest, longest = step.get("pause_min_s", 0.0), step["pause_max_s"]
        end = 0
        while stamps.rows < last_row and end < until:
            high()
            begin = clock()
            run(argument)
            end = clock()
            low()
            stamps.add(begin, end)
            sleep_until(end + int(rng.uniform(shortest, longest) * NS))

    def outputs(self, path):
        self._pin.high()
        try:
            values = self.session.run(None, self.feed)
        finally:
            self._pin.low()
        names = [v.name for v in self.session.get_outputs()]
        self._numpy.savez(path, **dict(zip(names, values)))
        return True


# --- runtime: any command -----------------------------------------------------------------------------


class CommandRuntime:
    """Any program that prints a line when an inference begins and one when it ends.

    Consecutive steps without pauses are served by ONE invocation, since a new process between lead-in and
    measured inferences would be a break; its inferences are dealt out to the steps afterwards.
    """

    one_invocation = True
    KNOWN = ("model", "n", "batch", "seconds", "inputs", "outputs", "pause_min_s", "pause_max_s", "threads")

    def __init__(self, job, directory, pin):
        settings = job["runtime"]
        self._argv = list(settings["command"])
        self._directory, self._pin, self._job = directory, pin, job
        if not self._argv:
            raise AgentError("spec", "runtime command has no command", "give argv, e.g. [./bench, '{model}', '{n}']")
        self._check_placeholders()
        self._start = self._compile("start_pattern", settings["start_pattern"])
        self._stop = self._compile("stop_pattern", settings["stop_pattern"])
        self.can_pause = self._uses("pause_min_s") or self._uses("pause_max_s")
        self._outputs_path = os.path.join(directory, "results", "command-outputs.npz")
        self.period_s = 0.01
        began = now_ns()
        trial = Stamps(64)
        self._invoke(3, 0.05, trial)
        self.period_s = max((trial.end[trial.rows - 1] - trial.begin[0]) / 1e9 / trial.rows, 1e-6)
        self.first_s = (trial.end[0] - began) / 1e9

    @staticmethod
    def _compile(name, pattern):
        try:
            return re.compile(pattern)
        except re.error as error:
            raise AgentError("spec", "{} {!r} is not a regular expression: {}".format(name, pattern, error))

    def _uses(self, name):
        return any("{" + name + "}" in part for part in self._argv)

    def _check_placeholders(self):
        for part in self._argv:
            for name in re.findall(r"(?<!\{)\{([a-z_]+)\}(?!\})", part):
                if name not in self.KNOWN:
                    raise AgentError(
                        "spec",
                        "command has the unknown placeholder {{{}}} in {!r}".format(name, part),
                        "known: {}; write {{{{{}}}}} for the braces themselves".format(", ".join(self.KNOWN), name),
                    )
        if not (self._uses("n") or self._uses("seconds")):
            raise AgentError("spec", "command has neither {n} nor {seconds}: it cannot know how long to run")

    def _filled(self, n, seconds, pauses):
        values = {
            "model": self._job["model"], "n": str(n), "batch": str(self._job.get("batch", 1)),
            "seconds": repr(float(seconds)), "inputs": self._job.get("inputs") or "", "outputs": self._outputs_path,
            "pause_min_s": repr(float(pauses[0])), "pause_max_s": repr(float(pauses[1])),
            "threads": str(self._job["runtime"]["threads"]),
        }  # fmt: skip

        def fill(match):
            return match.group(0)[1:-1] if match.group(1) is None else values[match.group(1)]

        return [re.sub(r"\{\{[a-z_]+\}\}|\{([a-z_]+)\}", fill, part) for part in self._argv]

    def details(self):
        return {
            "runtime": "command",
            "version": None,
            "command": self._argv,
            "program": shutil.which(self._argv[0]),
            "threads": int(self._job["runtime"]["threads"]),
            "pauses": self.can_pause,
            "has_outputs": self._uses("outputs"),
        }

    def outputs(self, path):
        if not self._uses("outputs"):
            return False
        if not os.path.exists(self._outputs_path):
            raise AgentError("device", "the command did not write its outputs to {outputs}")
        shutil.copyfile(self._outputs_path, path)
        return True

    def infer_group(self, steps, stamps):
        """Serve `steps` by one invocation; returns (rows of each step, (spawned_ns, first_start_ns))."""
        pauses = (steps[0].get("pause_min_s", 0.0), steps[0].get("pause_max_s", 0.0))
        if pauses[1] > 0.0 and not self.can_pause:
            raise AgentError(
                "spec",
                "the command cannot pause between inferences, but {} asks for up to {} s".format(
                    steps[0]["phase"], pauses[1]
                ),
                "use gap: back-to-back, or give the command {pause_min_s} and {pause_max_s}",
            )
        each_s = self.period_s + (pauses[0] + pauses[1]) / 2
        timed = [s for s in steps if s.get("count") is None]
        n = sum(s["count"] if s.get("count") is not None else int(s["seconds"] / each_s) + 1 for s in steps)
        n = n + n // 20 + 1 if timed else n
        seconds = sum(s["seconds"] if s.get("count") is None else s["count"] * each_s for s in steps)
        first_row = stamps.rows
        spawned_ns = self._invoke(n, seconds if len(timed) == len(steps) else 1.1 * seconds, stamps, pauses)
        rows = self._deal(steps, stamps, first_row)
        return rows, (spawned_ns, stamps.begin[first_row])

    def _deal(self, steps, stamps, first_row):
        """Which of the invocation's inferences belong to which step; the last timed step takes the rest."""
        row, total, taken = first_row, stamps.rows, []
        for index, step in enumerate(steps):
            begin = row
            if step.get("count") is not None:
                row = min(total, row + step["count"])
            elif index == len(steps) - 1:
                row = total
            else:
                until = stamps.begin[row] + int(step["seconds"] * NS) if row < total else 0
                while row < total and stamps.end[row] < until:
                    row += 1
                row = min(total, row + 1)
            want = step["count"] if step.get("count") is not None else 1
            if row - begin < want:
                raise AgentError(
                    "device",
                    "the command ran {} inferences; nothing was left for the {} of phase {} (asked for {})".format(
                        total - first_row, want, step["phase"], want
                    ),
                    "a command must run {n} inferences, or go on for {seconds} s",
                )
            taken.append(row - begin)
        stamps.rows = row
        return taken

    def _invoke(self, n, seconds, stamps, pauses=(0.0, 0.0)):
        argv = self._filled(n, seconds, pauses)
        complaints = os.path.join(self._directory, "command.stderr")
        with open(complaints, "wb") as stderr:
            spawned_ns = now_ns()
            self._pin.high()
            try:
                child = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                    cwd=self._directory, preexec_fn=die_with_parent, bufsize=0,
                )  # fmt: skip
            except OSError as error:
                self._pin.low()
                raise AgentError(
                    "spec",
                    "command {!r} cannot be started: {}".format(argv[0], error.strerror or error),
                    "give a program that is on the board's PATH, or its absolute path",
                )
        lines = LineStamper(self._start, self._stop, self._pin, stamps, os.path.basename(argv[0]), spawned_ns)
        try:
            lines.read(child.stdout.fileno())
            status = child.wait()
        finally:
            child.stdout.close()
            if child.poll() is None:
                child.kill()
                child.wait()
            self._pin.low()
        if status != 0:
            raise AgentError(
                "device",
                "command {!r} ended with status {} after {} inferences: {}".format(
                    argv[0], status, lines.done, tail(complaints) or lines.last_line or "it printed nothing"
                ),
            )
        lines.finish(tail(complaints))
        return spawned_ns


class LineStamper:
    """Turns a program's start and stop lines into stamps: on arrival, or the nanoseconds a line carries."""

    NUMBER = re.compile(r"(?<![\w.])(\d{6,})(?![\w.])")
    LUMPS = 3
    LUMPS_SHARE = 0.02

    def __init__(self, start, stop, pin, stamps, program, spawned_ns):
        self._start, self._stop, self._pin, self._stamps, self._program = start, stop, pin, stamps, program
        self._spawned_ns = spawned_ns
        self._begin = None
        self._begin_chunk = -1
        self._lumps = 0
        self._carried = None  # whether lines carry their own times: decided by the first
        self._chunk = 0
        self.done = 0
        self.last_line = ""

    def read(self, fd):
        rest = b""
        while True:
            ready = select.select([fd], [], [], SILENCE_S)[0]
            if not ready:
                raise AgentError("device", "command {!r} printed nothing for {:.0f} s".format(self._program, SILENCE_S))
            chunk = os.read(fd, 65536)
            arrived = now_ns()
            if not chunk:
                break
            self._chunk += 1
            parts = (rest + chunk).split(b"\n")
            rest = parts.pop()
            for part in parts:
                self.line(part.decode("utf-8", "replace").strip(), arrived)
        if rest:
            self.line(rest.decode("utf-8", "replace").strip(), now_ns())

    def line(self, text, arrived):
        if text:
            self.last_line = text
        match = self._start.search(text)
        if match:
            if self._begin is not None:
                self._complain("printed a start line while an inference was under way", text)
            self._pin.low()
            self._pin.high()
            self._begin = self._time(match, text, arrived)
            self._begin_chunk = self._chunk
            return
        match = self._stop.search(text)
        if match:
            if self._begin is None:
                self._complain("printed a stop line without a start line", text)
            end = self._time(match, text, arrived)
            self._pin.low()
            if self._begin_chunk == self._chunk and (self._pin.present or not self._carried):
                self._in_one_lump(text)
            if end < self._begin or (self.done and self._begin < self._stamps.end[self._stamps.rows - 1]):
                self._complain("printed times that run backwards", text)
            self._stamps.add(self._begin, end)
            self._begin = None
            self.done += 1

    def _in_one_lump(self, text):
        """A busy host may read two lines late now and then; times in the lines are right all the same, and only
        the pin's pulse is short. A program that does not flush does it all the time."""
        if not self._carried:
            self._complain("delivered a start and its stop line in one lump, so neither has a time", text)
        self._lumps += 1
        if self._lumps > self.LUMPS and self._lumps > self.LUMPS_SHARE * (self.done + 1):
            self._complain(
                "delivered {} starts with their stop lines in one lump, so the marker pin cannot follow".format(
                    self._lumps
                ),
                text,
            )

    def _time(self, match, text, arrived):
        number = self.NUMBER.search(text, match.end())
        carried = number is not None
        if self._carried is None:
            self._carried = carried
        if carried != self._carried:
            self._complain("printed lines with and lines without a time", text)
        if not carried:
            return arrived
        stamp = int(number.group(1))
        if not self._spawned_ns <= stamp <= arrived:
            limits = "{} to {}".format(self._spawned_ns, arrived)
            self._complain(
                "printed a time that is not of CLOCK_MONOTONIC in ns since its start ({})".format(limits), text
            )
        return stamp

    def _complain(self, what, text):
        raise AgentError(
            "device",
            "command {!r} {}: {!r}".format(self._program, what, text),
            "print one start and one stop line an inference and flush each, or let both carry the time in ns",
        )

    def finish(self, complaints):
        if self._begin is not None:
            raise AgentError("device", "command {!r} ended with a start line without a stop".format(self._program))
        if not self.done:
            raise AgentError(
                "device",
                "command {!r} printed no line that matches start {!r} and stop {!r}; last words: {!r}".format(
                    self._program, self._start.pattern, self._stop.pattern, complaints or self.last_line
                ),
            )


def sha256(path):
    with open(path, "rb") as data:
        return hashlib.sha256(data.read()).hexdigest()


def tail(path, characters=400):
    try:
        with open(path, "rb") as log:
            return log.read()[-characters:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


try:
    LIBC = ctypes.CDLL(None)
    LIBC.prctl  # musl and glibc have it
except (OSError, AttributeError):
    LIBC = None


def die_with_parent():
    """In a child before exec: SIGKILL when the agent dies (Linux), so that no command is left running."""
    if LIBC is not None:
        LIBC.prctl(1, signal.SIGKILL)


# --- programs -----------------------------------------------------------------------------------------


class Program:
    """Carries out steps alone and stamps them; nothing is written or sent before the last step is over."""

    def __init__(self, runtime, pin, seed):
        self._runtime, self._pin = runtime, pin
        self._rng = random.Random(seed)
        self.spans = []  # [phase, begin_ns, end_ns, first row, rows]
        self.notes = []

    def perform(self, steps):
        self.stamps = Stamps(self._rows_needed(steps))
        gc.collect()
        gc.disable()
        try:
            self._pin.low()
            k = 0
            while k < len(steps):
                k += self._one(steps, k)
        finally:
            gc.enable()

    def _rows_needed(self, steps):
        period = getattr(self._runtime, "period_s", 0.001)
        rows = 64
        for step in steps:
            counted = step.get("count")
            rows += counted if counted is not None else int(3 * step.get("seconds", 0.0) / period)
            rows += len(step.get("bits", ""))
        return min(rows + 1024, 1 << 23)

    def _one(self, steps, k):
        step = steps[k]
        if step["op"] == "infer":
            if self._runtime is None:
                raise AgentError("spec", "no model is loaded")
            if self._runtime.one_invocation:
                return self._by_one_invocation(steps, k)
            self._spanned(step, lambda: self._runtime.infer(step, self.stamps, self._rng))
        elif step["op"] == "idle":
            self._spanned(step, lambda: sleep_until(now_ns() + int(step["seconds"] * NS)))
        elif step["op"] == "marker":
            self._spanned(step, lambda: self._marker(step["bits"], int(step["chip_s"] * NS)))
        else:
            raise AgentError("spec", "unknown op {!r} in a program; known: infer, idle, marker".format(step["op"]))
        return 1

    def _spanned(self, step, act):
        first, begin = self.stamps.rows, now_ns()
        act()
        self.spans.append([step["phase"], begin, now_ns(), first, self.stamps.rows - first])

    def _marker(self, bits, chip_ns):
        """Each 1 a spin and each 0 a sleep, on a grid, so that a late chip does not delay the rest."""
        edge = now_ns()
        for bit in bits:
            edge += chip_ns
            if bit == "1":
                self._pin.high()
                begin = now_ns()
                while now_ns() < edge:
                    pass
                end = now_ns()
                self._pin.low()
                self.stamps.add(begin, end)
            else:
                sleep_until(edge)

    def _by_one_invocation(self, steps, k):
        group = [steps[k]]
        pauses = [steps[k].get(name, 0.0) for name in ("pause_min_s", "pause_max_s")]
        for following in steps[k + 1 :]:
            alike = pauses == [following.get(name, 0.0) for name in ("pause_min_s", "pause_max_s")]
            if following["op"] != "infer" or not alike:
                break
            group.append(following)
        if pauses[1] > 0.0 and steps[k]["phase"] == "probe" and not self._runtime.can_pause:
            self.notes.append("probe left out: the command cannot pause between inferences")
            return 1
        row = self.stamps.rows
        self.stamps.add(0, 0)  # the command's own start-up is a busy stretch of phase load
        taken, start_up = self._runtime.infer_group(group, self.stamps)
        self.stamps.begin[row], self.stamps.end[row] = start_up
        self.spans.append(["load", start_up[0], start_up[1], row, 1])
        row += 1
        for step, rows in zip(group, taken):
            begin, end = self.stamps.begin[row], self.stamps.end[row + rows - 1]
            self.spans.append([step["phase"], begin, end, row, rows])
            row += rows
        return len(group)


# --- jobs ---------------------------------------------------------------------------------------------


class Worker:
    """Executes jobs one after another in the main thread and keeps each outcome in DIR/results."""

    def __init__(self, directory, pin, wake):
        self.directory, self.pin, self._wake = directory, pin, wake
        self.results = os.path.join(directory, "results")
        os.makedirs(self.results, exist_ok=True)
        self.jobs = queue.Queue()
        self.state = {}  # key -> "queued", "running" or "done"
        self.runtime = None

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
        raise AgentError("spec", "unknown job {!r}; known: load, perform, outputs".format(job["job"]))

    def _load(self, job):
        name = job["runtime"]["name"]
        makers = {"onnxruntime": OnnxRuntime, "command": CommandRuntime}
        if name not in makers:
            raise AgentError("spec", "unknown runtime {!r}; known: {}".format(name, ", ".join(sorted(makers))))
        self.runtime = None
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

    def described(self):
        if self.runtime is None:
            return None
        timing = {"first_s": self.runtime.first_s, "period_s": self.runtime.period_s}
        return dict(self.runtime.details(), **timing)

    def _perform(self, key, job):
        program = Program(self.runtime, self.pin, job["seed"])
        before = self.pin.writes
        program.perform(job["steps"])
        data = program.stamps.to_bytes()
        self._write(key + ".bin", data)
        return {
            "spans": program.spans,
            "rows": program.stamps.rows,
            "file": key + ".bin",
            "sha256": hashlib.sha256(data).hexdigest(),
            "notes": program.notes,
            "pin_writes": self.pin.writes - before,
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


def refusal(error):
    return {"ok": False, "kind": error.kind, "error": error.message, "hint": error.hint}


# --- talking ------------------------------------------------------------------------------------------


class Listener(threading.Thread):
    """Answers on the socket in DIR. It sleeps in select: while a program runs nothing else uses the CPU."""

    def __init__(self, directory, token, lease_s):
        threading.Thread.__init__(self, name="listener")
        self.daemon = True
        self._token, self._lease_s = token, lease_s
        self._selector = selectors.DefaultSelector()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind("socket")  # relative: a path of more than 107 bytes does not fit an address
        self._server.listen(8)
        self._server.setblocking(False)
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._server, selectors.EVENT_READ, None)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        self._waiting = []  # (client, request id, key)
        self.worker = None
        self._renew({})

    def wake(self):
        self._wake_out.send(b"!")

    def _renew(self, request):
        self._deadline_ns = now_ns() + int(float(request.get("lease_s", self._lease_s)) * NS)

    def run(self):
        while True:
            left_s = (self._deadline_ns - now_ns()) / 1e9
            if left_s <= 0:
                end_self(self.worker.pin, "nobody spoke to this agent for its lease: ending")
            for key, mask in self._selector.select(left_s):
                if key.fileobj is self._server:
                    client = Client(self._server.accept()[0])
                    self._selector.register(client.socket, selectors.EVENT_READ, client)
                elif key.fileobj is self._wake_in:
                    self._wake_in.recv(64)
                    self._report_done()
                else:
                    self._serve(key.data, mask)

    def _serve(self, client, mask):
        try:
            if mask & selectors.EVENT_READ:
                for line, arrived in client.lines():
                    self._answer(client, line, arrived)
            client.flush()
        except OSError:
            client.gone = True
        if client.gone:
            self._selector.unregister(client.socket)
            client.socket.close()
            self._waiting = [w for w in self._waiting if w[0] is not client]
        else:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.out else 0)
            self._selector.modify(client.socket, wanted, client)

    def _answer(self, client, line, arrived):
        try:
            request = json.loads(line.decode("utf-8"))
            self._renew(request)
            if request["op"] == "ping":
                client.say({"id": request["id"], "ok": True, "t": [arrived, now_ns()]})
                return
            answer = self._handle(client, request)
        except AgentError as error:
            answer = refusal(error)
        except (ValueError, KeyError, TypeError) as error:
            answer = refusal(AgentError("spec", "not a request: {}: {}".format(type(error).__name__, error)))
            request = {}
        if answer is not None:
            client.say(dict(answer, id=request.get("id")))

    def _handle(self, client, request):
        op = request["op"]
        if op == "hello":
            return dict(self._hello(), ok=True)
        if op == "describe":
            return {"ok": True, "details": self.worker.described()}
        if op == "submit":
            return {"ok": True, "state": self.worker.submit(request["key"], request["job"])}
        if op == "wait":
            key = request["key"]
            if key not in self.worker.state:
                raise AgentError("spec", "no job {!r}".format(key))
            if self.worker.state[key] == "done":
                return self.worker.outcome(key)
            self._waiting.append((client, request["id"], key))
            return None
        if op == "status":
            return {"ok": True, "jobs": dict(self.worker.state), "t_ns": now_ns()}
        if op == "fetch":
            size, data = self.worker.read(request["file"], int(request["offset"]))
            return {"ok": True, "size": size, "data": base64.b64encode(data).decode("ascii")}
        if op == "exit":
            client.say({"id": request["id"], "ok": True})
            client.flush()
            end_self(self.worker.pin, "asked to end")
        raise AgentError("spec", "unknown op {!r}".format(op), "the host speaks another protocol than this agent")

    def _hello(self):
        return {
            "agent": AGENT_VERSION,
            "protocol": PROTOCOL_VERSION,
            "python": platform.python_version(),
            "executable": sys.executable,
            "pid": os.getpid(),
            "token": self._token,
            "machine": platform.machine(),
            "node": platform.node(),
            "system": platform.platform(),
            "clock": "CLOCK_MONOTONIC",
            "t_ns": now_ns(),
            "pin": self.worker.pin.path,
            "cpus": sorted(os.sched_getaffinity(0)),
            "jobs": dict(self.worker.state),
        }

    def _report_done(self):
        still = []
        for client, number, key in self._waiting:
            if self.worker.state[key] == "done":
                client.say(dict(self.worker.outcome(key), id=number))
                self._serve(client, 0)
            else:
                still.append((client, number, key))
        self._waiting = still


class Client:
    """One connection: lines in, lines out, never blocking the listener."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.setblocking(False)
        self._in = b""
        self.out = b""
        self.gone = False

    def lines(self):
        data = self.socket.recv(1 << 16)
        arrived = now_ns()
        if not data:
            self.gone = True
        parts = (self._in + data).split(b"\n")
        self._in = parts.pop()
        return [(part, arrived) for part in parts if part.strip()]

    def say(self, answer):
        self.out += json.dumps(answer).encode("utf-8") + b"\n"

    def flush(self):
        try:
            while self.out:
                self.out = self.out[self.socket.send(self.out) :]
        except (BlockingIOError, InterruptedError):
            pass


# --- life and death -----------------------------------------------------------------------------------


def end_self(pin, why):
    """Ends the process from any thread, with the pin low and without a pid file."""
    sys.stderr.write(why + "\n")
    sys.stderr.flush()
    try:
        pin.low()
    except AgentError:
        pass
    for name in ("agent.json", "socket"):
        try:
            os.unlink(name)
        except OSError:
            pass
    os._exit(0)  # a command under way dies with us (die_with_parent)


def identity(pid):
    """[boot id, start time in clock ticks]: with the pid, names a process for ever; None if there is none."""
    try:
        with open("/proc/{}/stat".format(pid), "rb") as text:
            fields = text.read().rsplit(b")", 1)[1].split()
        if fields[0] == b"Z":
            return None
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return [boot.read().strip(), int(fields[19])]
    except (OSError, IndexError, ValueError):
        return None


def owner_lives(owner):
    return bool(owner) and owner.get("node") == platform.node() and identity(owner["pid"]) == owner["identity"]


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
    record = {
        "pid": os.getpid(), "identity": identity(os.getpid()), "token": options.token, "agent": AGENT_VERSION,
        "protocol": PROTOCOL_VERSION, "owner": json.loads(options.owner), "started_unix_s": time.time(),
    }  # fmt: skip
    with open("agent.json.part", "w") as out:
        out.write(json.dumps(record))
    os.replace("agent.json.part", "agent.json")
    listener.start()
    worker.run_forever()
    return 0


def fail_start(error):
    """Leaves word in DIR/failed.json for whoever waits for the agent to come up."""
    with open("failed.json.part", "w") as out:
        out.write(json.dumps(refusal(error)))
    os.replace("failed.json.part", "failed.json")
    sys.stderr.write(error.message + "\n")
    return 1


def attach(options):
    """Waits for the agent in DIR to listen, then relays; ends when either side does."""
    directory = os.path.abspath(options.dir)
    os.chdir(directory)
    give_up_ns = now_ns() + int(options.wait_s * NS)
    link = socket.socket(socket.AF_UNIX)
    while True:
        try:
            link.connect("socket")
            break
        except OSError as error:
            failed = os.path.exists("failed.json")
            if failed or now_ns() > give_up_ns:
                silent = "no agent answers in {}: {}".format(directory, error.strerror)
                refused = refusal(AgentError("gone", silent))
                if failed:
                    with open("failed.json") as text:
                        refused = json.loads(text.read())
                print(json.dumps(dict(refused, id=0)))
                return 1
            time.sleep(0.005)
    while True:
        for source in select.select([0, link], [], [])[0]:
            data = os.read(0, 1 << 16) if source == 0 else link.recv(1 << 16)
            if not data:
                return 0
            if source == 0:
                link.sendall(data)
            else:
                while data:
                    data = data[os.write(1, data) :]


def agents_below(root):
    """(pid, directory, owner) of live agents below `root`: by command line, which no stranger shares."""
    root = os.path.realpath(root)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/{}/cmdline".format(name), "rb") as text:
                argv = text.read().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if "serve" not in argv or "--dir" not in argv or "--token" not in argv or "--owner" not in argv:
            continue
        directory = os.path.realpath(argv[argv.index("--dir") + 1])
        if not (directory + os.sep).startswith(root + os.sep) or identity(name) is None:
            continue
        try:
            owner = json.loads(argv[argv.index("--owner") + 1])
        except ValueError:
            owner = None
        yield int(name), directory, owner


def end_agents(options):
    """Ends the agents below ROOT; an agent whose owner lives (and is not the caller) is reported and spared."""
    caller = json.loads(options.owner)
    ended, in_use = [], []
    for pid, directory, owner in list(agents_below(options.root)):
        if owner != caller and owner_lives(owner):
            in_use.append({"pid": pid, "owner": owner["pid"]})
            continue
        end_one(pid)
        ended.append(pid)
        for name in ("agent.json", "socket"):
            try:
                os.unlink(os.path.join(directory, name))
            except OSError:
                pass
    remove_old(options.root, 24 * 3600.0)
    print(json.dumps({"ended": ended, "in_use": in_use}))
    return 0


def end_one(pid):
    before = identity(pid)
    for number, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        if before is None or identity(pid) != before:
            return
        try:
            group = os.getpgid(pid) == pid and number == signal.SIGKILL
            os.killpg(pid, number) if group else os.kill(pid, number)
        except OSError:
            return
        give_up_ns = now_ns() + int(patience_s * NS)
        while identity(pid) == before and now_ns() < give_up_ns:
            time.sleep(0.01)


def remove_old(root, age_s):
    """Results of agents that are gone are kept for a day, then removed."""
    alive = set(directory for _, directory, _ in agents_below(root))
    for name in os.listdir(root) if os.path.isdir(root) else []:
        path = os.path.realpath(os.path.join(root, name))
        try:
            if os.path.isdir(path) and path not in alive and time.time() - os.stat(path).st_mtime > age_s:
                shutil.rmtree(path)
        except OSError:
            pass


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    server = commands.add_parser("serve")
    server.add_argument("--dir", required=True)
    server.add_argument("--token", required=True)
    server.add_argument("--owner", default="null")
    server.add_argument("--pin")
    server.add_argument("--cpus", default="")
    server.add_argument("--lease-s", type=float, default=900.0)
    relay = commands.add_parser("attach")
    relay.add_argument("dir")
    relay.add_argument("--wait-s", type=float, default=0.0)
    ender = commands.add_parser("end")
    ender.add_argument("root")
    ender.add_argument("--owner", default="null")
    options = parser.parse_args(argv)
    actions = {"serve": serve, "attach": attach, "end": end_agents}
    if options.command not in actions:
        parser.error("say serve, attach or end")
    return actions[options.command](options)


if __name__ == "__main__":
    sys.exit(main())
