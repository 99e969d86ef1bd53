"""`files`: small files of the board (/sys, /proc, journals), read and written for the host in one go.

The host knows what they mean; the board only hands over bytes. The harness uses the same functions for its own
machine. Some things are in no file: a pattern `agent:QUESTION` asks for them. Questions: `machine`, `python`,
`writable GLOB` and `executable GLOB` (paths, one a line), `refused GLOB` (errno by path, JSON), `get_throttled`
(vcgencmd's answer), `at OFFSET SIZE PATH` (bytes of a file or device there, as hexadecimal digits, or the errno, JSON),
`event TYPE CONFIG CPU` (what a perf event that is opened and read once answers, likewise), `nvml LIBRARY` (what
NVIDIA's library says of the GPUs, JSON), `nvidia_smi log COMMAND` and `nvidia_smi fields COMMAND` (what that tool
prints of them, and which fields it can be asked for).
"""

import base64
import binascii
import glob
import json
import os
import platform
import stat
import subprocess

from .basics import AgentError, answer

LARGEST = 1 << 20
SMI_ARGUMENTS = {"log": ["-q", "-x"], "fields": ["--help-query-gpu"]}
SMI_SETTING = "agent:nvidia_smi "
SMI_PATIENCE_S = 60.0  # without persistence mode the driver sets every GPU up first
ASKED = "agent:"
FIRMWARE = "/sys/devices/platform/soc*/*firmware/get_throttled"  # soc:firmware; a Pi 5 has the address in it
VCGENCMD = ("/usr/bin/vcgencmd", "/opt/vc/bin/vcgencmd")


def files(options):
    """One request, as JSON: read (patterns), write, keep (path and base64 data), or remove (path)."""
    request = json.loads(options.request)
    root = options.root

    def work():
        if "read" in request:
            found = read_files(request["read"], root)
            return {"files": dict((path, _sendable(data)) for path, data in found.items())}
        if "write" in request:
            write_file(request["write"], base64.b64decode(request["data"]), root)
        elif "keep" in request:
            keep_file(request["keep"], base64.b64decode(request["data"]), root)
        elif "remove" in request:
            remove_file(request["remove"], root)
        else:
            raise AgentError("spec", "files: say read, write, keep or remove")
        return {}

    return answer(work)


def _sendable(data):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def read_files(patterns, root="/"):
    """Bytes by path of all readable regular files of at most 1 MiB that match, and of questions that have answers."""
    found = {}
    for pattern in patterns:
        if pattern.startswith(ASKED):
            said = _ask(pattern[len(ASKED) :], root)
            if said is not None:
                found[pattern] = said.encode("utf-8")
            continue
        prefix = root.rstrip("/")
        for path in sorted(glob.glob(glob.escape(prefix) + pattern)):
            data = _read_one(path)
            if data is not None:
                found[path[len(prefix) :]] = data
    return found


def _read_one(path):
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    data = b""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        while len(data) <= LARGEST:
            more = os.read(handle, 1 << 16)
            if not more:
                return data
            data += more
    except OSError:  # sysfs refuses some reads: then the board does not offer it
        pass
    finally:
        os.close(handle)
    return None


def _ask(question, root):
    word, _, rest = question.partition(" ")
    if word == "machine":
        return platform.machine()
    if word == "python":
        return platform.python_version()
    if word in ("writable", "executable"):
        prefix = root.rstrip("/")
        right = os.W_OK if word == "writable" else os.X_OK
        paths = [path for path in sorted(glob.glob(glob.escape(prefix) + rest)) if os.access(path, right)]
        return "\n".join(path[len(prefix) :] for path in paths)
    if word == "refused":
        return json.dumps(_refused(rest, root))
    if word == "get_throttled":
        return _vcgencmd(root)
    if word == "nvml":
        from .nvml_source import look  # few boards are asked for it

        return look(rest)
    if word == "nvidia_smi":
        return _nvidia_smi(*rest.split(" ", 1))
    if word in ("at", "event"):
        return _value(_read_at if word == "at" else _read_event, rest, root)
    raise AgentError("spec", "files: unknown question {!r}".format(question))


def _refused(pattern, root):
    """errno by path of the files that match and may not be read."""
    prefix = root.rstrip("/")
    refused = {}
    for path in sorted(glob.glob(glob.escape(prefix) + pattern)):
        try:
            with open(path, "rb") as found:
                found.read(1)
        except OSError as error:
            refused[path[len(prefix) :]] = error.errno
    return refused


def _value(read, rest, root):
    try:
        return json.dumps(binascii.hexlify(read(rest, root)).decode("ascii"))
    except OSError as error:
        return json.dumps(error.errno)


def _read_at(rest, root):
    offset, size, path = rest.split(" ", 2)
    handle = os.open(root.rstrip("/") + path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(handle, int(size), int(offset))
    finally:
        os.close(handle)


def _read_event(rest, root):
    from .event_source import VALUE_BYTES, open_event  # few boards are asked for one

    handle = open_event(*[int(number) for number in rest.split()])
    try:
        return os.read(handle, VALUE_BYTES)
    finally:
        os.close(handle)


def _nvidia_smi(what, command):
    """What it prints on both of its outputs, whatever its exit status; None if it cannot be run."""
    try:
        return subprocess.run(
            [command] + SMI_ARGUMENTS[what],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SMI_PATIENCE_S,
        ).stdout.decode("utf-8", "replace")  # fmt: skip
    except (OSError, KeyError, subprocess.SubprocessError):
        return None


def _vcgencmd(root):
    """What the firmware of a Raspberry Pi says, where the kernel does not show it as a file."""
    prefix = root.rstrip("/")
    if glob.glob(glob.escape(prefix) + FIRMWARE):
        return None
    for program in VCGENCMD:
        if os.access(prefix + program, os.X_OK):
            try:
                return subprocess.check_output(
                    [prefix + program, "get_throttled"],
                    stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5.0,
                ).decode("utf-8", "replace")  # fmt: skip
            except (OSError, subprocess.SubprocessError):
                return None
    return None


def write_file(path, data, root="/"):
    """In place and in one write, as sysfs wants; the file must exist. `agent:nvidia_smi ...` sets a GPU."""
    if path.startswith(SMI_SETTING):
        from .nvidia_setting import change  # few boards are asked for it

        return change(path[len(SMI_SETTING) :], data)
    try:
        handle = os.open(root.rstrip("/") + path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(handle, data)
        finally:
            os.close(handle)
    except OSError as error:
        value = data.decode("utf-8", "replace").strip()
        raise AgentError(
            "device",
            "{} cannot be set to {!r}: {}".format(path, value, error.strerror),
            "echo {} | sudo tee {}".format(value, path),
        )


def keep_file(path, data, root="/"):
    """After a power cut there is the old file or the new one, whole."""
    target = root.rstrip("/") + path
    directory = os.path.dirname(target)
    beside = "{}.{}.part".format(target, os.getpid())
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        try:
            with open(beside, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(beside, target)
        finally:
            if os.path.exists(beside):
                os.unlink(beside)
        _sync_directory(directory)
    except OSError as error:
        raise AgentError(
            "device", "{} cannot be written: {}".format(path, error.strerror), "df -h {0}; ls -ld {0}".format(directory)
        )


def remove_file(path, root="/"):
    target = root.rstrip("/") + path
    try:
        os.unlink(target)
        _sync_directory(os.path.dirname(target))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise AgentError("device", "{} cannot be removed: {}".format(path, error.strerror), "rm {}".format(path))


def _sync_directory(directory):
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
