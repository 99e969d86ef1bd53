"""`agents` and `end`: who works below a directory on this board, and the end of those whom the host names.

The board does not judge whether an owner lives: the owner is a process of another machine. Commands that a killed
agent left behind are known by JOULEBENCH_AGENT in their environment, which every child of an agent inherits.
"""

import json
import os
import shutil
import signal
import time

from .basics import NS, answer, now_ns
from .lease import current
from .life import identity

ROLES = {"serve", "sample"}
MARK = "JOULEBENCH_AGENT"
KEPT_S = 24 * 3600.0


def agents(options):
    """Live agents below ROOT with their owners, what dead ones left running, and who holds the board."""

    def work():
        return {
            "agents": list(agents_below(options.root)),
            "left": list(left_below(options.root)),
            "stale": len(stale_below(os.path.join(options.root, "agents"), KEPT_S)),
            "holder": current(),
        }

    return answer(work)


def end(options):
    """Ends the agents below ROOT, or --only those ([pid, identity] each), and whatever dead ones left running.

    Results of agents that are gone are removed after a day, with --remove all of ROOT at once.
    """
    only = json.loads(options.only)

    def work():
        ended, others = [], []
        for agent in list(agents_below(options.root)):
            if only is not None and [agent["pid"], agent["identity"]] not in only:
                others.append(agent["pid"])
                continue
            end_one(agent["pid"], agent["identity"])
            ended.append(agent["pid"])
            for name in ("agent.json", "socket"):
                _unlink(os.path.join(agent["directory"], name))
        left = []
        for stray in list(left_below(options.root)):
            end_one(stray["pid"], stray["identity"])
            left.append(stray["pid"])
        for path in stale_below(os.path.join(options.root, "agents"), KEPT_S):
            shutil.rmtree(path, ignore_errors=True)
        if options.remove and not others:
            shutil.rmtree(options.root, ignore_errors=True)
        return {"ended": ended, "left": left, "others": others}

    return answer(work)


def agents_below(root):
    """pid, identity, directory, role and owner of live agents below `root`: no stranger shares their command line."""
    root = os.path.realpath(root)
    for pid in _processes():
        try:
            with open("/proc/{}/cmdline".format(pid), "rb") as text:
                argv = text.read().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        roles = ROLES & set(argv)
        if not roles or "--dir" not in argv or "--token" not in argv or "--owner" not in argv:
            continue
        directory = os.path.realpath(argv[argv.index("--dir") + 1])
        named = identity(pid)
        if not _is_below(directory, root) or named is None:
            continue
        try:
            owner = json.loads(argv[argv.index("--owner") + 1])
        except ValueError:
            owner = None
        yield {"pid": pid, "identity": named, "directory": directory, "role": roles.pop(), "owner": owner}


def left_below(root):
    """pid, identity and program of what agents below `root` started and left running when they were killed."""
    alive = set(agent["directory"] for agent in agents_below(root))
    mark = MARK.encode("ascii") + b"="
    for pid in _processes():
        try:
            with open("/proc/{}/environ".format(pid), "rb") as text:
                marked = [word for word in text.read().split(b"\0") if word.startswith(mark)]
        except OSError:
            continue  # of another user, or gone
        if not marked:
            continue
        directory = os.path.realpath(os.fsdecode(marked[0][len(mark) :]))
        named = identity(pid)
        if named is None or directory in alive or not _is_below(directory, os.path.realpath(root)):
            continue
        yield {"pid": pid, "identity": named, "program": _program(pid), "directory": directory}


def _processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is_below(directory, root):
    return (directory + os.sep).startswith(root.rstrip(os.sep) + os.sep)


def _program(pid):
    try:
        with open("/proc/{}/comm".format(pid), "rb") as text:
            return text.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def end_one(pid, before):
    """Ends the process that is `before` (its identity), first politely; another one with its pid is left alone."""
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


def _unlink(path):
    try:
        os.unlink(path)
    except OSError:
        pass


def stale_below(root, age_s):
    """Directories of agents that are gone and whose results nobody has fetched for so long."""
    alive = set(agent["directory"] for agent in agents_below(root))
    found = []
    for name in os.listdir(root) if os.path.isdir(root) else []:
        path = os.path.realpath(os.path.join(root, name))
        try:
            if os.path.isdir(path) and path not in alive and time.time() - os.stat(path).st_mtime > age_s:
                found.append(path)
        except OSError:
            pass
    return found


def size_of(path):
    """Bytes of the files below `path`."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                pass
    return total
