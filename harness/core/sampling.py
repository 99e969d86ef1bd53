"""What the agent's sampler is told to read on a board, and what it has read: the words of `ports.Sampler`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.core.clock import Int64Array


@dataclass(frozen=True)
class SamplerPlan:
    """What the agent's sampler reads: files, registers or events once every `period_s`, or what `command` prints.

    `files`: each from its beginning. `registers`: (path, offset, size in bytes) of files that are read at an offset, as
    the registers of /dev/cpu/N/msr are; they follow the files. `events`: (PMU type, config, CPU) of perf events that
    the sampler opens itself, counting that CPU; a value is 24 bytes: count, time enabled and time running (ns), each
    uint64 of the board's byte order. Events go with nothing else. `edge_s`: above 0, a beat waits for at most so long
    until the first value changes, spinning.
    `repeat_s`: above 0, `command` prints once and ends; it is run anew so often, and all that a run prints (on both
    outputs) is one sample, stamped before and after the run. It costs the board a process a sample.
    `renew_on`, `renew_after`: a command that goes on is ended and started again after so many lines in a row that hold
    that text (0: never), for programs that never recover by themselves.
    `nvml`: (GPU's UUID, field id, scope) of NVIDIA's library `nvml_library`; ids below 0 are functions (-1
    nvmlDeviceGetPowerUsage, -2 nvmlDeviceGetTotalEnergyConsumption). A value is 24 bytes, little-endian: NVML's return
    code (int32), value type (uint32), value (uint64), the field's own time in us (int64). They go with nothing else.
    `keep_bytes`: how much it keeps on the board before it counts what it reads as lost; `cpus`, `nice`: where and
    how urgently it runs (empty, 0: as any other process).
    """

    files: tuple[str, ...] = ()
    registers: tuple[tuple[str, int, int], ...] = ()
    events: tuple[tuple[int, int, int], ...] = ()
    command: tuple[str, ...] = ()
    period_s: float = 0.02
    edge_s: float = 0.0
    repeat_s: float = 0.0
    renew_on: str = ""
    renew_after: int = 0
    nvml: tuple[tuple[str, int, int], ...] = ()
    nvml_library: str = "libnvidia-ml.so.1"
    keep_bytes: int = 64 << 20
    cpus: tuple[int, ...] = ()
    nice: int = 0

    @property
    def width(self) -> int:
        """Entries of a row."""
        return len(self.files) + len(self.registers) + len(self.events) + len(self.nvml) or 1


@dataclass(frozen=True)
class RawSamples:
    """What a sampler has read: N passes over its files, N lines, or N runs; bytes as they were, nothing interpreted.

    `begin_ns`, `end_ns`: int64 (N,), before and after each pass on the board's clock (a line: its arrival, twice).
    `data[i]`: one entry a file, register or event: its bytes, or the errno (int) of a read that failed; a line: one
    entry, EPIPE for the time from the command's end to its next start; a repeated command: what it printed, or
    ETIMEDOUT if it hung.
    `counts`: what was lost, e.g. `late_passes`, `lost_passes`.
    """

    begin_ns: Int64Array
    end_ns: Int64Array
    data: tuple[tuple[bytes | int, ...], ...]
    counts: Mapping[str, int] = field(default_factory=dict)
