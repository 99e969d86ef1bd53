"""Settings of NVIDIA GPUs, changed by the board's own nvidia-smi: what `files` writes to `agent:nvidia_smi ...`.

The tool's exit status is no proof: what a GPU does not offer it calls a warning, and ends with 0.
"""

import os
import shutil
import subprocess

from .basics import AgentError

PATIENCE_S = 60.0  # without persistence mode the driver sets every GPU up first
DEFAULT = "default"
ARGUMENTS = {  # setting -> (option that sets it, option that puts it back to its default)
    "persistence": ("-pm", None),
    "power_limit_w": ("-pl", None),
    "compute_mode": ("-c", None),
    "applications_clocks_mhz": ("-ac", "-rac"),
    "memory_clocks_mhz": ("-lmc", "-rmc"),
    "clocks_mhz": ("-lgc", "-rgc"),
}
NOT_TAKEN = ("not supported", "treating as warning", "deprecated", "not valid", "invalid")
REFUSED = ("permission", "insufficient")


def change(question, data):
    """`question`: `SETTING UUID COMMAND`; `data`: the value's text, or "default". AgentError unless it was taken."""
    setting, uuid, command = question.split(" ", 2)
    value = data.decode("utf-8").strip()
    if setting not in ARGUMENTS:
        raise AgentError("spec", "nvidia-smi: unknown setting {!r}".format(setting))
    option, reset = ARGUMENTS[setting]
    if value == DEFAULT and reset is None:
        raise AgentError("spec", "nvidia-smi: {} has no default".format(setting))
    words = [reset] if value == DEFAULT else [option, value]
    argv = [shutil.which(command) or command, "-i", uuid] + words
    status, said = _run(argv)
    if _is(said, REFUSED) and os.geteuid() != 0 and shutil.which("sudo"):
        again, told = _run(["sudo", "-n"] + argv)
        if again == 0 or not told.startswith("sudo"):
            status, said = again, told
    if status == 0 and not _is(said, NOT_TAKEN):
        return
    what = "{} of {} cannot be set to {!r}: {}".format(setting, uuid, value, " ".join(said.split())[:300] or status)
    typed = "sudo " + " ".join(argv)
    if _is(said, REFUSED):
        typed += "  # or let this user do it: '{} ALL=(root) NOPASSWD: {}' in /etc/sudoers.d".format(_user(), argv[0])
    raise AgentError("device", what, typed)


def _run(argv):
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_S
        )
    except OSError as error:
        return 127, "{} cannot be run: {}".format(argv[0], error.strerror)
    except subprocess.TimeoutExpired:
        return 124, "{} did not end within {:.0f} s".format(argv[0], PATIENCE_S)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _is(said, words):
    said = said.lower()
    return any(word in said for word in words)


def _user():
    return os.environ.get("USER") or str(os.getuid())
