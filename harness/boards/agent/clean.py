"""`clean`: removes what the harness left on the board, but nothing that a live agent needs."""

import json
import os
import shutil

from .basics import answer
from .lease import current, release_own, same_owner
from .orphans import agents_below, size_of


def clean(options):
    """Removes deployed files and results of agents that are gone, below ROOT, and --owner's lease in the end.

    While somebody else holds the board, nothing is touched; while an agent lives, the deployed files stay. A journal
    of changed settings stays always: `restore` needs it.
    """
    root = os.path.abspath(options.root)
    owner = json.loads(options.owner)

    def work():
        holder = current()
        if holder is not None and not same_owner(holder["owner"], owner):
            return {"freed": 0, "removed": [], "kept": [], "holder": holder}
        report = {"freed": 0, "removed": [], "kept": [], "holder": None}
        alive = set(agent["directory"] for agent in agents_below(root))
        for path in _candidates(root):
            if os.path.realpath(path) in alive or (alive and os.path.dirname(path) == os.path.join(root, "files")):
                report["kept"].append(path)
            else:
                _remove(path, report)
        if os.path.exists(os.path.join(root, "restore.json")):
            report["kept"].append(os.path.join(root, "restore.json"))
        release_own(owner)
        return report

    return answer(work)


def _candidates(root):
    for folder in ("files", "agents"):
        path = os.path.join(root, folder)
        for name in sorted(os.listdir(path)) if os.path.isdir(path) else []:
            yield os.path.join(path, name)


def _remove(path, report):
    size = size_of(path) if os.path.isdir(path) else os.lstat(path).st_size
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    except OSError:
        report["kept"].append(path)
        return
    report["freed"] += size
    report["removed"].append(path)
