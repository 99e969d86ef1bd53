"""Builds the firmware and the machine around it, starts it, and knows the energy of the trace that it plays.

Needs gcc-avr, avr-libc, libsimavr-dev and libelf-dev (Debian) and a C compiler; nothing else of joulebench does.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from harness.core.clock import FloatArray
from harness.core.errors import DeviceError, SpecError

HERE = Path(__file__).resolve().parent
FIRMWARE = HERE.parents[2] / "firmware"
BUILD_S, ANSWER_S = 120, 10
_PACKAGE_OF_TOOL = {"avr-gcc": "gcc-avr", "make": "make", "cc": "gcc"}
_PACKAGE_OF_FILE = {
    Path("/usr/lib/avr/include/avr/io.h"): "avr-libc",
    Path("/usr/include/simavr/sim_avr.h"): "libsimavr-dev",
    Path("/usr/include/libelf.h"): "libelf-dev",
}


def missing_packages() -> list[str]:
    """Debian packages that building and running the firmware still needs."""
    missing = [package for tool, package in _PACKAGE_OF_TOOL.items() if shutil.which(tool) is None]
    return missing + [package for path, package in _PACKAGE_OF_FILE.items() if not path.exists()]


def _run(argv: Sequence[str], what: str) -> str:
    if missing := missing_packages():
        raise SpecError(f"{what} needs {', '.join(missing)}", hint=f"sudo apt install {' '.join(missing)}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode:
        raise SpecError(f"{what} failed: {(done.stderr or done.stdout).strip()[-800:]}", hint="see docs/firmware.md")
    return done.stdout


def build_firmware(
    folder: Path, *, baud: int = 115200, clock_start_us: int = 0, uid: int = 0x3F9A01, least_read_us: int | None = None
) -> Path:
    """The ELF of the streamer, built in `folder`. `clock_start_us` (u32): where its clock begins, to see it wrap;
    `least_read_us`: another limit of its rate, to measure where the true one is."""
    extra = f"-DCLOCK_START_US={clock_start_us}UL"
    if least_read_us is not None:
        extra += f" -DLEAST_READ_US={least_read_us}u"
    settings = [f"BUILD={folder}", f"BAUD={baud}", f"UID=0x{uid:06X}", f"EXTRA={extra}"]
    _run(["make", "-s", "-C", str(FIRMWARE), *settings], "building the firmware")
    return folder / "streamer.elf"


def build_host(folder: Path) -> Path:
    """The program that runs the ELF, built in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "streamer_host"
    sources = sorted(str(path) for path in HERE.glob("*.c"))
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
    _run(["cc", *flags, *sources, "-o", str(made), "-lsimavr", "-lelf", "-lutil", "-lm"], "building the simulator")
    return made


@dataclass(frozen=True)
class PlayedTrace:
    """What the load draws over true time, constant between rows: float (N,), seconds from 0, A, and V at the load."""

    t_s: FloatArray
    current_a: FloatArray
    voltage_v: FloatArray

    @classmethod
    def of_steps(cls, steps: Sequence[tuple[float, float, float]]) -> PlayedTrace:
        """(duration in s, A, V) one after the other; the last one lasts."""
        durations = np.array([step[0] for step in steps])
        t_s = np.concatenate(([0.0], np.cumsum(durations)[:-1]))
        return cls(t_s, np.array([step[1] for step in steps]), np.array([step[2] for step in steps]))

    def write(self, path: Path) -> None:
        rows = np.column_stack((self.t_s, self.current_a, self.voltage_v)).astype("<f8")
        path.write_bytes(rows.tobytes())

    def energy_j(self, from_s: float, to_s: float) -> float:
        """The load's true energy between two true times: the sum over pieces of A times V times duration."""
        return float(np.dot(self._pieces_s(from_s, to_s), self.current_a * self.voltage_v))

    def charge_c(self, from_s: float, to_s: float) -> float:
        return float(np.dot(self._pieces_s(from_s, to_s), self.current_a))

    def _pieces_s(self, from_s: float, to_s: float) -> FloatArray:
        ends_s = np.append(self.t_s[1:], np.inf)
        pieces_s: FloatArray = np.maximum(np.minimum(ends_s, to_s) - np.maximum(self.t_s, from_s), 0.0)
        return pieces_s


class AvrStreamer:
    """A running streamer. `pty`: what a driver opens as its serial port; `origin_ns`: CLOCK_MONOTONIC at second 0 of
    the trace.

    `options` are those of streamer_host.c without their dashes, such as `crystal_ppm=5000`, `conversion_error=0.1`,
    `reset_on_open=1`; `events` are (kind, second, seconds): reset, brownout, nack, hold. Errors: DeviceError.
    """

    def __init__(
        self, host: Path, firmware: Path, trace: PlayedTrace, folder: Path, *,
        options: Mapping[str, float] | None = None, events: Sequence[tuple[str, float, float]] = (),
    ) -> None:  # fmt: skip
        self.trace = trace
        played = folder / "played.bin"
        trace.write(played)
        argv = [str(host), str(firmware), str(played)]
        for name, value in (options or {}).items():
            argv += [f"--{name.replace('_', '-')}", repr(float(value))]
        for kind, at_s, for_s in events:
            argv += ["--event", f"{kind}@{at_s:.6f}:{for_s:.6f}"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pty = self._line("pty")
        self.origin_ns = int(self._line("origin"))

    def _line(self, name: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line.startswith(f"{name} "):
            self.close()
            raise DeviceError(
                f"the simulated streamer ended instead of saying its {name}", hint="see what it printed above"
            )
        return line.removeprefix(f"{name} ")

    def _say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def status(self) -> dict[str, Any]:
        """What is known inside: true time, counts of line and chip, the worst lag behind real time."""
        assert self._process.stdout is not None
        self._say("status")
        return dict(json.loads(self._process.stdout.readline()))

    def reset(self) -> None:
        self._say("reset")

    def brown_out(self, for_s: float = 0.0) -> None:
        """The chip, not the microcontroller, is without supply for a while."""
        self._say(f"brownout {for_s}")

    def nack(self, for_s: float) -> None:
        self._say(f"nack {for_s}")

    def hold_bus(self, for_s: float) -> None:
        """Somebody keeps the bus low: no transfer ends."""
        self._say(f"hold {for_s}")

    def true_s(self, host_ns: int) -> float:
        """Second of the trace at a host time (CLOCK_MONOTONIC)."""
        return (host_ns - self.origin_ns) * 1e-9

    def close(self) -> None:
        """End it, as a cable that is pulled. May be called twice."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()
