"""Memory: a model that does not fit is one clear error, and not an agent that the kernel kills without a word.

The limit is RLIMIT_DATA: private writable memory. RLIMIT_AS counts the libraries' mapped files too (torch: 400 MiB
that are never read), and RLIMIT_RSS does nothing on Linux. What asks for more gets a MemoryError or std::bad_alloc.
"""

import os
import re

from .basics import AgentError

MIB = 1 << 20
WORDS = re.compile(
    r"bad_alloc|allocate memory|allocate \d+ bytes|out of memory|memory allocation|ENOMEM", re.IGNORECASE
)


def memory_available():
    """Bytes that new programs can have without swapping (MemAvailable); None if the kernel does not say."""
    return _kib("/proc/meminfo", "MemAvailable")


def memory_taken():
    """Bytes of this process that count against RLIMIT_DATA; None if the kernel does not say."""
    return _kib("/proc/self/status", "VmData")


def _kib(path, name):
    try:
        with open(path) as text:
            for line in text:
                if line.startswith(name + ":"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def check_size(job):
    """Before anything is loaded: a model takes at least the bytes of its file."""
    size, limit_mib, available = _size(job), job.get("memory_limit_mib"), memory_available()
    if limit_mib is not None and size > limit_mib * MIB:
        raise too_large(job)
    if available is not None and size > available:
        raise AgentError(
            "spec",
            "model {} is too large for this board: its file alone has {:.0f} MiB, {:.0f} MiB of memory are free".format(
                _name(job), size / MIB, available / MIB
            ),
            "end other programs on the board, or take a smaller model",
        )


def limit_memory(job):
    """Sets the job's limit for this process and its children. Called once the runtime is imported: libraries abort
    instead of complaining when they cannot even start."""
    limit_mib = job.get("memory_limit_mib")
    if limit_mib is None:
        return
    import resource

    taken = memory_taken()
    if taken is not None and taken >= limit_mib * MIB:
        raise AgentError(
            "spec",
            "memory_limit_mib {} is too small: Python with the runtime {} takes {:.0f} MiB before any model".format(
                limit_mib, job["runtime"]["name"], taken / MIB
            ),
            "raise memory_limit_mib in the board's file",
        )
    try:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (limit_mib * MIB, hard))
    except (OSError, ValueError) as error:
        raise AgentError(
            "device",
            "the memory limit {} MiB cannot be set: {}".format(limit_mib, error),
            "raise or remove memory_limit_mib in the board's file",
        )


def out_of_memory(error):
    """Does this error of a runtime mean that memory ran out? They have no type of their own for it."""
    return isinstance(error, MemoryError) or bool(WORDS.search(str(error)))


def too_large(job, error=None):
    """The one error for a model that does not fit: names it, its bytes and the limit."""
    limit_mib, available = job.get("memory_limit_mib"), memory_available()
    where = "memory_limit_mib {}".format(limit_mib)
    if limit_mib is None:
        where = "the board's memory" + ("" if available is None else " ({:.0f} MiB free)".format(available / MIB))
    told = str(error).strip().splitlines() if error is not None else []
    return AgentError(
        "spec",
        "model {} is too large for {}: its file has {:.1f} MiB, batch {}{}".format(
            _name(job), where, _size(job) / MIB, job.get("batch", 1), " (" + told[0][:200] + ")" if told else ""
        ),
        "raise memory_limit_mib in the board's file" if limit_mib else "take a smaller model or batch",
    )


def _name(job):
    return job.get("name") or os.path.basename(job["model"])


def _size(job):
    try:
        return os.path.getsize(job["model"])
    except OSError as error:
        raise AgentError("device", "model file {} cannot be read: {}".format(job["model"], error.strerror))
