"""Bytes of a command that prints once and ends: it is run anew on a fixed grid, and each run is one sample.

Each run costs the board a fork, an exec and what the program itself does, so it is meant for a few runs a second.
"""

import errno
import os
import select
import signal
import subprocess
import sys
import time

from .basics import NS, AgentError, now_ns

LARGEST = 1 << 14  # bytes kept of one run; no reading is longer
LEAST_PATIENCE_S = 2.0  # a program that has not ended by then hangs


class RepeatSource:
    """Runs a command every `repeat_s`, stamped before its start and after its end.

    A row holds what it printed on both of its outputs, or an errno: that of a start that failed, ETIMEDOUT for a run
    that had to be ended. Beats that were missed are counted (`late_passes`) and never caught up; `failed_runs` counts
    runs whose exit status was not 0, `killed_runs` those that had to be ended.
    """

    def __init__(self, argv, repeat_s, buffer):
        self._argv, self._buffer = argv, buffer
        self._period_ns = max(1, int(repeat_s * NS))
        self._patience_s = max(LEAST_PATIENCE_S, 2 * repeat_s)
        self.late = self.failed = self.killed = 0
        self.halted = False
        self._process = None
        self._said = None
        first = self._once()
        if type(first) is int:
            raise AgentError(
                "spec",
                "command {!r} cannot be run: {}".format(argv[0], os.strerror(first)),
                "give its absolute path on the board",
            )

    def run(self):
        period = self._period_ns
        due = now_ns()
        while not self.halted:
            begin = now_ns()
            value = self._once()
            end = now_ns()
            if self.halted:
                return  # its run may have been cut short
            self._buffer.rows.append((begin, end, (value,)))
            self._buffer.pack()
            due += period
            if due <= end:
                missed = (end - due) // period + 1
                self.late += missed
                due += missed * period
            time.sleep(max(0, due - now_ns()) / 1e9)

    def _once(self):
        """What one run printed, or an errno."""
        try:
            process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._say(error.strerror)
            return error.errno or errno.EIO
        self._process = process
        data, in_time = self._output(process.stdout.fileno())
        if not in_time:
            _end_group(process.pid)
        process.stdout.close()
        status = process.wait()
        self._process = None
        if not in_time:
            self.killed += 1
            self._say("did not end by itself")
            return errno.ETIMEDOUT
        if status:
            self.failed += 1
            self._say("ended with status {}".format(status))
        return data

    def _output(self, fd):
        """(bytes, whether the program closed its output in time)."""
        until, data = now_ns() + int(self._patience_s * NS), b""
        while True:
            left_s = (until - now_ns()) / 1e9
            if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
                return data, False
            more = os.read(fd, LARGEST)
            if not more:
                return data, True
            data = (data + more)[:LARGEST]

    def _say(self, text):
        if text != self._said:  # once, not ten times a second
            sys.stderr.write("{!r} {}\n".format(self._argv[0], text))
            sys.stderr.flush()
            self._said = text

    def counts(self):
        return {"late_passes": self.late, "failed_runs": self.failed, "killed_runs": self.killed}

    def command_cpu_s(self):
        """CPU time of all runs so far; the one under way is not in it."""
        ended = os.times()
        return ended[2] + ended[3]

    def close(self):
        """From any thread: a run under way is ended, and `run` comes back."""
        self.halted = True
        process = self._process
        if process is not None:
            _end_group(process.pid)


def _end_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
