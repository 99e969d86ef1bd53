"""`end`: finds the agents below a directory and ends those that nobody owns any more."""

import json
import os
import shutil
import signal
import time

from .basics import NS, now_ns
from .life import identity, owner_lives


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
