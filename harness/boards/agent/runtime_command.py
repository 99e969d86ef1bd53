"""The runtime `command`: any program of the user that says when an inference begins and when it ends."""

import os
import re
import shutil
import subprocess

from .basics import NS, AgentError, die_with_parent, now_ns, tail
from .limits import limit_memory
from .line_stamper import LineStamper
from .stamps import Stamps


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
        limit_memory(job)
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
