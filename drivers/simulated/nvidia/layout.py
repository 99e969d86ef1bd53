"""The simulated machine's state: one file that the fake library, the fake program and whoever plays the GPUs all map.

Its shape is declared here once; the library's header is made from it, so that C and Python cannot disagree. Writers of
what GPUs show raise `sequence` to an odd number while they write (a reader then looks again); what a user sets (clocks,
limits) is written by the library and the program themselves, one word each. Standard library only: the fake program
must start as quickly as the real one.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int32, c_int64, c_uint32, c_uint64
from typing import Any

MAGIC = 0x4C4D564E
VERSION = 1
MAX_GPUS, MAX_MIG, MAX_PROCESSES, RING = 16, 8, 8, 128

FEATURES = (
    "all", "handle", "power", "average", "instant", "energy", "module_average", "module_instant", "memory_average",
    "memory_instant", "samples", "utilization", "memory", "temperature", "clocks", "limits", "pstate", "fan",
    "processes", "settings", "mig", "mig_power",
)  # fmt: skip
"""What can fail by itself: each has a return code (0: works), and how often it does (`every`: 0 or 1 always)."""
FEATURE = {name: k for k, name in enumerate(FEATURES)}

GRAPHICS, SM, MEMORY, VIDEO = range(4)
"""Clock domains."""


class Process(ctypes.Structure):
    """`kind`: 0 compute, 1 graphics; `gi`, `ci`: instances of MIG, all ones without."""

    _fields_ = (
        ("pid", c_uint32), ("kind", c_uint32), ("gi", c_uint32), ("ci", c_uint32), ("memory_bytes", c_uint64),
        ("name", c_char * 96),
    )  # fmt: skip


class Mig(ctypes.Structure):
    """One MIG device; `slices`: of the GPU's seven."""

    _fields_ = (
        ("present", c_uint32), ("gi", c_uint32), ("ci", c_uint32), ("slices", c_uint32),
        ("multiprocessors", c_uint32), ("unused", c_uint32), ("memory_bytes", c_uint64),
        ("uuid", c_char * 96), ("profile", c_char * 32),
    )  # fmt: skip


class Sample(ctypes.Structure):
    _fields_ = (("t_us", c_uint64), ("power_mw", c_uint32), ("unused", c_uint32))


class Settings(ctypes.Structure):
    """What a user may set. Locks: MHz, 0 where there is none; `limit_mw`: the power limit now."""

    _fields_ = (
        ("persistence", c_uint32), ("compute_mode", c_uint32), ("limit_mw", c_uint32),
        ("lock_min", c_uint32), ("lock_max", c_uint32), ("memory_lock_min", c_uint32), ("memory_lock_max", c_uint32),
        ("app_sm", c_uint32), ("app_memory", c_uint32), ("mig_mode", c_uint32), ("mig_pending", c_uint32),
        ("ecc", c_uint32),
    )  # fmt: skip


class Gpu(ctypes.Structure):
    """Power in mW, clocks in MHz, memory in bytes, times in us since 1970; `stamp_us`: of the last update of power."""

    _fields_ = (
        ("name", c_char * 96), ("uuid", c_char * 96), ("serial", c_char * 32), ("vbios", c_char * 32),
        ("bus_id", c_char * 32), ("product", c_char * 32),
        ("domain", c_uint32), ("bus", c_uint32), ("device", c_uint32), ("pci_device_id", c_uint32),
        ("pci_subsystem_id", c_uint32), ("minor", c_uint32), ("architecture", c_uint32), ("brand", c_uint32),
        ("cc_major", c_uint32), ("cc_minor", c_uint32), ("cores", c_uint32), ("listed", c_uint32),
        ("limit_default_mw", c_uint32), ("limit_min_mw", c_uint32), ("limit_max_mw", c_uint32),
        ("clock_max", c_uint32 * 4), ("clock_default", c_uint32 * 4), ("clock", c_uint32 * 4),
        ("power_mw", c_uint32), ("average_mw", c_uint32), ("instant_mw", c_uint32),
        ("module_average_mw", c_uint32), ("module_instant_mw", c_uint32),
        ("memory_average_mw", c_uint32), ("memory_instant_mw", c_uint32),
        ("temperature_c", c_uint32), ("memory_temperature_c", c_uint32),
        ("utilization_gpu", c_uint32), ("utilization_memory", c_uint32), ("pstate", c_uint32), ("fan", c_uint32),
        ("delay_us", c_uint32),
        ("energy_mj", c_uint64), ("memory_total", c_uint64), ("memory_used", c_uint64), ("memory_reserved", c_uint64),
        ("throttle_reasons", c_uint64), ("stamp_us", c_int64), ("sample_count", c_uint64),
        ("ret", c_int32 * len(FEATURES)), ("every", c_uint32 * len(FEATURES)), ("calls", c_uint32 * len(FEATURES)),
        ("processes", Process * MAX_PROCESSES), ("mig", Mig * MAX_MIG), ("samples", Sample * RING),
        ("settings", Settings),
    )  # fmt: skip


class State(ctypes.Structure):
    """The whole file. `init_ret`: what starting the library gives; `any_user`: settings need no root; `smi_fault`: by
    number what the program suffers (see smi.faults)."""

    _fields_ = (
        ("magic", c_uint32), ("version", c_uint32), ("sequence", c_uint32), ("gpu_count", c_uint32),
        ("init_ret", c_int32), ("any_user", c_uint32), ("cuda_version", c_uint32), ("smi_fault", c_uint32),
        ("smi_after", c_uint32), ("smi_first_ms", c_uint32), ("smi_jitter_us", c_uint32), ("unused", c_uint32),
        ("now_us", c_int64), ("driver_version", c_char * 80), ("nvml_version", c_char * 80),
        ("gpus", Gpu * MAX_GPUS),
    )  # fmt: skip


_WORDS: dict[Any, str] = {
    c_uint32: "uint32_t",
    c_int32: "int32_t",
    c_uint64: "uint64_t",
    c_int64: "int64_t",
    c_char: "char",
}
_STRUCTS: dict[Any, str] = {
    Process: "process",
    Mig: "mig",
    Sample: "sample",
    Settings: "settings",
    Gpu: "gpu",
    State: "state",
}


def c_header() -> str:
    """The same shape in C, with an assertion on every size."""
    lines = ["#include <stdint.h>"]
    numbers = {"MAGIC": MAGIC, "STATE_VERSION": VERSION, "MAX_GPUS": MAX_GPUS, "MAX_MIG": MAX_MIG, "RING": RING,
               "MAX_PROCESSES": MAX_PROCESSES, "FEATURES": len(FEATURES)}  # fmt: skip
    lines += [f"#define {name} {number}u" for name, number in numbers.items()]
    lines.append("enum feature { " + ", ".join(f"F_{name.upper()}" for name in FEATURES) + " };")
    for kind, name in _STRUCTS.items():
        lines.append(f"struct {name} {{")
        lines += [f"    {_declared(field[0], field[1])};" for field in kind._fields_]
        lines += ["};", f'_Static_assert(sizeof(struct {name}) == {ctypes.sizeof(kind)}, "{name}");']
    return "\n".join(lines) + "\n"


def _declared(name: str, what: Any) -> str:
    length = getattr(what, "_length_", None)
    element = what if length is None else what._type_
    word = _WORDS.get(element) or f"struct {_STRUCTS[element]}"
    return f"{word} {name}" if length is None else f"{word} {name}[{length}]"
