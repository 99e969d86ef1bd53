"""Where a sampler's bytes come from: files that are read again and again, or a command that prints lines."""

import errno
import os
import signal
import subprocess
import sys

from .basics import NS, AgentError, die_with_parent, now_ns

PAGE = 4096  # the kernel gives an attribute one page
GONE = (errno.ENODEV, errno.ENOENT, errno.EBADF, errno.ESRCH, errno.ESTALE)
LONGEST_LINE = 1 << 16
FIRST_PAUSE_NS = NS // 10  # before a command that ended is started again; doubled up to
LONGEST_PAUSE_NS = 5 * NS
STEADY_NS = 10 * NS  # a command that ran for so long is not one that cannot run


class FileSource:
    """Reads all files, in order, in one go. A file whose device went away is opened anew for the next pass."""

    fd = None  # nothing to wait for but the time

    def __init__(self, paths, period_s, buffer):
        self._paths, self._buffer = paths, buffer
        self._period_ns = max(1, int(period_s * NS))
        self._fds = [-1] * len(paths)
        self.counts = {"passes": 0, "late_passes": 0, "reopened": 0}
        for k in range(len(paths)):
            try:
                self._fds[k] = os.open(paths[k], os.O_RDONLY)
            except OSError:
                pass  # the first pass says why
        self.due_ns = now_ns()

    def run(self):
        """One pass, and when the next is due: on a fixed grid; beats that were missed are counted, not caught up."""
        begin = now_ns()
        try:
            pread = os.pread
            values = [pread(fd, PAGE, 0) for fd in self._fds]
        except OSError:
            values = [self._carefully(k) for k in range(len(self._fds))]
        end = now_ns()
        self._buffer.add(begin, end, values)
        self.counts["passes"] += 1
        self.due_ns += self._period_ns
        behind = now_ns() - self.due_ns
        if behind > 0:
            missed = behind // self._period_ns + 1
            self.counts["late_passes"] += missed
            self.due_ns += missed * self._period_ns

    def _carefully(self, k):
        try:
            if self._fds[k] < 0:
                self._fds[k] = os.open(self._paths[k], os.O_RDONLY)
                self.counts["reopened"] += 1
            return os.pread(self._fds[k], PAGE, 0)
        except OSError as error:
            if error.errno in GONE and self._fds[k] >= 0:
                os.close(self._fds[k])
                self._fds[k] = -1
            return error.errno

    def close(self):
        for k, fd in enumerate(self._fds):
            if fd >= 0:
                os.close(fd)
                self._fds[k] = -1


class LineSource:
    """Runs a command and stamps each line when it arrives. A command that ends is started again.

    Its own buffering decides how late a line arrives: a command that does not flush comes in lumps, which are
    counted (`lumped_lines`: lines that came together with an earlier one). It dies with the agent.
    """

    def __init__(self, argv, buffer):
        self._argv, self._buffer = argv, buffer
        self.counts = {"lines": 0, "lumped_lines": 0, "cut_lines": 0, "restarts": 0}
        self._pause_ns = FIRST_PAUSE_NS
        self._ended_ns = 0
        self._process = None
        self.fd = None
        self.due_ns = None  # when to start it again
        try:
            self._start()
        except OSError as error:
            raise AgentError(
                "spec",
                "command {!r} cannot be run: {}".format(argv[0], error.strerror),
                "give its absolute path on the board",
            )

    def _start(self):
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, bufsize=0, preexec_fn=_own_group
        )
        self.fd = self._process.stdout.fileno()
        self._started_ns = now_ns()
        self._rest = b""
        self.due_ns = None

    def read(self):
        data = os.read(self.fd, LONGEST_LINE)
        arrived = now_ns()
        if not data:
            self._ended(arrived)
            return
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_LINE:
            self.counts["cut_lines"] += 1
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            self._buffer.add(arrived, arrived, (line,))
        self.counts["lines"] += len(lines)
        self.counts["lumped_lines"] += max(0, len(lines) - 1)

    def _ended(self, when):
        """Its status goes to the log; a part of a line is no reading."""
        self._wait(0.2)
        self.close()
        if when - self._started_ns >= STEADY_NS:
            self._pause_ns = FIRST_PAUSE_NS
        status = self._process.returncode
        sys.stderr.write("{!r} ended with status {}; starting it again\n".format(self._argv[0], status))
        sys.stderr.flush()
        self._ended_ns, self.due_ns = when, when + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)

    def run(self):
        """Start it again; the time without it is a row that holds EPIPE."""
        try:
            self._start()
        except OSError as error:
            sys.stderr.write("{!r} cannot be started again: {}\n".format(self._argv[0], error.strerror))
            self.due_ns = now_ns() + self._pause_ns
            self._pause_ns = min(2 * self._pause_ns, LONGEST_PAUSE_NS)
            return
        self.counts["restarts"] += 1
        self._buffer.add(self._ended_ns, self._started_ns, (errno.EPIPE,))

    def cpu_s(self):
        """CPU time of the command that runs now; 0 when none does."""
        if self.fd is None:
            return 0.0
        try:
            with open("/proc/{}/stat".format(self._process.pid), "rb") as text:
                fields = text.read().rsplit(b")", 1)[1].split()
        except (OSError, IndexError):
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        """Ends the command with all that it started."""
        if self.fd is None:
            return
        self.fd = self.due_ns = None
        for number, patience_s in ((signal.SIGTERM, 0.5), (signal.SIGKILL, 5.0)):
            try:
                os.killpg(self._process.pid, number)
            except OSError:
                break  # nobody left
            self._wait(patience_s)
        self._process.stdout.close()

    def _wait(self, seconds):
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass


def _own_group():
    os.setpgid(0, 0)
    die_with_parent()
