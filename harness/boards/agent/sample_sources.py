"""Where a sampler's bytes come from: files that are read again and again, or a command that prints lines."""

import errno
import os
import signal
import subprocess
import sys
import time

from .basics import NS, AgentError, die_with_parent, now_ns
from .sample_buffer import BATCH_ROWS

PAGE = 4096  # the kernel gives an attribute one page
GONE = (errno.ENODEV, errno.ENOENT, errno.EBADF, errno.ESRCH, errno.ESTALE)
LONGEST_LINE = 1 << 16
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0  # before a command that ended is started again; doubled each time
STEADY_NS = 10 * NS  # a command that ran for so long is not one that cannot run


class FileSource:
    """Reads all files, in order, in one go. A file whose device went away is opened anew for the next pass.

    `registers`: (path, offset, size) of files that are read at an offset; they follow the others. `edge_s`: above 0,
    each beat waits for at most so long until the first value has changed.
    """

    _read = staticmethod(os.pread)

    def __init__(self, paths, period_s, buffer, registers=(), edge_s=0.0):
        self._paths = list(paths) + [register[0] for register in registers]
        self._offsets = [0] * len(paths) + [register[1] for register in registers]
        self._sizes = [PAGE] * len(paths) + [register[2] for register in registers]
        self._begin(period_s, buffer, edge_s)

    def _begin(self, period_s, buffer, edge_s):
        self._buffer = buffer
        self._period_ns, self._edge_ns = max(1, int(period_s * NS)), int(edge_s * NS)
        self._fds = [-1] * len(self._paths)
        self.late = self.reopened = 0
        self.halted = False
        for k in range(len(self._fds)):
            try:
                self._fds[k] = self._open(k)
            except OSError:
                pass  # the first pass says why

    def _open(self, k):
        return os.open(self._paths[k], os.O_RDONLY)

    def run(self):
        """Passes on a fixed grid until halted; beats that were missed are counted, never caught up.

        What happens between two sleeps happens with cold caches, where every name costs: hence one loop, no calls.
        """
        if self._edge_ns:
            self._run_on_edges()
            return
        clock, sleep, read = now_ns, time.sleep, self._read
        fds, sizes, offsets = self._fds, self._sizes, self._offsets
        period, rows = self._period_ns, self._buffer.rows
        due = clock()
        while not self.halted:
            begin = clock()
            try:
                values = list(map(read, fds, sizes, offsets))
            except OSError:
                values = [self._carefully(k) for k in range(len(fds))]
            end = clock()
            rows.append((begin, end, values))
            if len(rows) >= BATCH_ROWS:
                self._buffer.pack()
            due += period
            if due <= end:
                missed = (end - due) // period + 1
                self.late += missed
                due += missed * period
            sleep(max(0, due - clock()) / 1e9)

    def _run_on_edges(self):
        """As `run`, but a pass begins with the read that finds the first value changed, or when its time is up."""
        period, rows, last = self._period_ns, self._buffer.rows, None
        due = now_ns()
        while not self.halted:
            until = now_ns() + self._edge_ns
            first = last = self._carefully(0)
            while True:
                begin = now_ns()
                first = self._carefully(0)
                if first != last or type(first) is int or begin >= until or self.halted:
                    break
            values = [first] + [self._carefully(k) for k in range(1, len(self._fds))]
            end = now_ns()
            rows.append((begin, end, values))
            if len(rows) >= BATCH_ROWS:
                self._buffer.pack()
            due += period
            if due <= end:
                missed = (end - due) // period + 1
                self.late += missed
                due += missed * period
            time.sleep(max(0, due - now_ns()) / 1e9)

    def _carefully(self, k):
        try:
            if self._fds[k] < 0:
                self._fds[k] = self._open(k)
                self.reopened += 1
            return self._read(self._fds[k], self._sizes[k], self._offsets[k])
        except OSError as error:
            if error.errno in GONE and self._fds[k] >= 0:
                os.close(self._fds[k])
                self._fds[k] = -1
            return error.errno

    def counts(self):
        return {"late_passes": self.late, "reopened": self.reopened}

    def command_cpu_s(self):
        return 0.0

    def close(self):
        self.halted = True  # the files are closed by the end of the process


class LineSource:
    """Runs a command and stamps each line when it arrives. A command that ends is started again.

    Its own buffering decides how late a line arrives: lines of a command that does not flush come in lumps, which
    are counted (`lumped_lines`: lines that came together with an earlier one). It dies with the agent.
    `renew_on`: after `renew_after` lines in a row that hold these bytes the command is ended, and so started again.
    """

    def __init__(self, argv, buffer, renew_on=b"", renew_after=0):
        self._argv, self._buffer = argv, buffer
        self._renew_on, self._renew_after, self._bad = renew_on, renew_after, 0
        self.lumped = self.cut = self.restarts = 0
        self.halted = False
        self._process = None
        self._start()

    def _start(self):
        try:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, preexec_fn=_own_group
            )
        except OSError as error:
            raise AgentError(
                "spec",
                "command {!r} cannot be run: {}".format(self._argv[0], error.strerror),
                "give its absolute path on the board",
            )

    def run(self):
        pause_s = FIRST_PAUSE_S
        while True:
            began = now_ns()
            self._read_to_the_end()
            ended = now_ns()
            self._end()
            if self.halted:
                return
            self._say("ended with status {}".format(self._process.returncode))
            if ended - began >= STEADY_NS:
                pause_s = FIRST_PAUSE_S
            pause_s = self._start_again(pause_s)
            if self.halted:
                self._end()
                return
            self.restarts += 1
            self._buffer.rows.append((ended, now_ns(), (errno.EPIPE,)))

    def _start_again(self, pause_s):
        while not self.halted:
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                self._start()
                break
            except AgentError as error:
                self._say(error.message)
        return pause_s

    def _read_to_the_end(self):
        """What the command prints, line by line. A part of a line at its end is no reading."""
        fd, rows, rest = self._process.stdout.fileno(), self._buffer.rows, b""
        while True:
            data = os.read(fd, LONGEST_LINE)
            arrived = now_ns()
            if not data:
                return
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if len(rest) > LONGEST_LINE:
                self.cut += 1
                lines.append(rest)
                rest = b""
            for line in lines:
                rows.append((arrived, arrived, (line,)))
                self._bad = self._bad + 1 if self._renew_on and self._renew_on in line else 0
            if self._renew_after and self._bad >= self._renew_after:
                self._say("printed {!r} in {} lines in a row: ended".format(self._renew_on.decode("utf-8"), self._bad))
                self._bad = 0
                return
            self.lumped += max(0, len(lines) - 1)
            if len(rows) >= BATCH_ROWS:
                self._buffer.pack()

    def _say(self, text):
        sys.stderr.write("{!r} {}\n".format(self._argv[0], text))
        sys.stderr.flush()

    def _end(self):
        """Ends the command with all that it started."""
        for number, patience_s in ((0, 0.2), (signal.SIGTERM, 0.5), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
            except OSError:
                break  # nobody is left
        self._process.stdout.close()

    def counts(self):
        return {"lumped_lines": self.lumped, "cut_lines": self.cut, "restarts": self.restarts}

    def command_cpu_s(self):
        """CPU time of all commands so far."""
        ended = os.times()
        seconds = ended[2] + ended[3]
        try:
            with open("/proc/{}/stat".format(self._process.pid), "rb") as text:
                fields = text.read().rsplit(b")", 1)[1].split()
            return seconds + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            return seconds

    def close(self):
        """From any thread: `run` sees the end of the command, and comes back."""
        self.halted = True
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
        except OSError:
            pass


def _own_group():
    os.setpgid(0, 0)
    die_with_parent()
