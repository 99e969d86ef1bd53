"""The program `nvidia-smi` of the simulated machine: options, loops, messages, exit codes. Standard library only.

Messages and codes are those of the real program as far as its manual page or published logs tell them.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from drivers.simulated.nvidia.layout import MAX_MIG
from drivers.simulated.nvidia.smi.document import table, xml
from drivers.simulated.nvidia.smi.fields import Seen, help_text
from drivers.simulated.nvidia.smi.query import Query, WrongQuery, driver_of, looks
from drivers.simulated.nvidia.smi.setting import SETTINGS, change
from drivers.simulated.nvidia.state import VARIABLE, SharedState, failing

INVALID, NOT_FOUND, OTHER = 2, 6, 255
LOOP_DEFECT, ENDS, HANGS = 1, 2, 3
"""Values of `smi_fault`: after `smi_after` passes of a loop it gives errors only, ends with an error, or stops."""
REFUSED = {
    9: "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
    "driver is installed and running.\n",
    12: "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display "
    "Driver is properly installed and present in your system.\n",
    18: "Failed to initialize NVML: Driver/library version mismatch",
}
FLAGS = {"-pm": "--persistence-mode", "-pl": "--power-limit", "-lgc": "--lock-gpu-clocks",
         "-rgc": "--reset-gpu-clocks", "-lmc": "--lock-memory-clocks", "-rmc": "--reset-memory-clocks",
         "-ac": "--applications-clocks", "-rac": "--reset-applications-clocks", "-mig": "--multi-instance-gpu",
         "-lms": "--loop-ms"}  # fmt: skip


def main(state: str, argv: Sequence[str]) -> None:
    """As the command of this name; ends the process."""
    try:
        code = Program(SharedState(Path(os.environ.get(VARIABLE) or state)), options_of(argv)).run()
    except FileNotFoundError:
        sys.stdout.write(REFUSED[9])
        code = 9
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(0)
    sys.stdout.flush()
    os._exit(code)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        sys.stdout.write(f"Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n{message}\n")
        sys.stdout.flush()
        os._exit(INVALID)


def options_of(argv: Sequence[str]) -> argparse.Namespace:
    parser = _Parser("nvidia-smi", allow_abbrev=False)
    parser.add_argument("-L", "--list-gpus", action="store_true")
    parser.add_argument("-q", "--query", action="store_true")
    parser.add_argument("-x", "--xml-format", action="store_true")
    parser.add_argument("--query-gpu")
    parser.add_argument("--help-query-gpu", action="store_true")
    parser.add_argument("--format", default="")
    parser.add_argument("-i", "--id", default="")
    parser.add_argument("-l", "--loop", nargs="?", type=int, const=5)
    parser.add_argument("--loop-ms", type=int)
    parser.add_argument("-f", "--filename", type=Path)
    parser.add_argument("-c", "--compute-mode")
    for flag in ("--persistence-mode", "--power-limit", "--lock-gpu-clocks", "--lock-memory-clocks",
                 "--applications-clocks", "--multi-instance-gpu"):  # fmt: skip
        parser.add_argument(flag)
    for flag in ("--reset-gpu-clocks", "--reset-memory-clocks", "--reset-applications-clocks"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args([FLAGS.get(word, word) for word in argv])


class Program:
    """One run of it."""

    def __init__(self, shared: SharedState, options: argparse.Namespace) -> None:
        self._shared, self._options = shared, options
        self._out = sys.stdout if options.filename is None else options.filename.open("w", encoding="ascii")
        self._query: Query | None = None
        self._passes = 0

    def run(self) -> int:
        """Its exit code."""
        state, options = self._shared.now, self._options
        if code := int(state.init_ret):
            self._out.write(REFUSED.get(code, "Failed to initialize NVML: Unknown Error") + "\n")
            return code if code in REFUSED else OTHER
        driver = driver_of(state)
        if options.help_query_gpu:
            self._out.write(help_text(driver))
            return 0
        if options.query_gpu is not None:
            try:
                self._query = Query.of(options.query_gpu, options.format, driver)
            except WrongQuery as error:
                self._out.write(f"{error}\n")
                return INVALID
        for name in SETTINGS:
            if getattr(options, name):
                return self._set(name, str(getattr(options, name)))
        if options.list_gpus:
            return self._list()
        time.sleep(state.smi_first_ms / 1000)
        return self._show()

    # --- looking ----------------------------------------------------------------------------------------

    def _looks(self) -> list[Seen]:
        return looks(self._shared, self._options.id, time.time())

    def _show(self) -> int:
        seen_now = self._looks()
        if not seen_now:
            self._out.write("No devices were found\n")
            return NOT_FOUND
        for seen in seen_now:
            if code := failing(seen.live, "handle"):
                bus = bytes(seen.now.bus_id).decode("ascii")[4:]
                words = {15: "GPU is lost.  Reboot the system to recover this GPU"}.get(code, "Unknown Error")
                self._out.write(f"Unable to determine the device handle for GPU{bus}: {words}\n")
                return code if code == 15 else OTHER
        every_s = self._every_s()
        if self._query is not None and self._query.headed:
            self._out.write(self._query.header() + "\n")
        while True:
            self._pass(seen_now)
            self._out.flush()
            if every_s is None:
                return 0
            fault, after = self._shared.now.smi_fault, self._shared.now.smi_after
            if self._passes >= after and fault in (ENDS, HANGS):
                time.sleep(1e6 if fault == HANGS else 0)
                self._out.write("Unable to determine the device handle for GPU0000:01:00.0: Unknown Error\n")
                return OTHER
            jitter_s = random.expovariate(1e6 / jitter) if (jitter := self._shared.now.smi_jitter_us) else 0.0
            time.sleep(every_s + jitter_s)
            seen_now = self._looks()

    def _every_s(self) -> float | None:
        if self._options.loop_ms is not None:
            return float(self._options.loop_ms) / 1000
        return None if self._options.loop is None else float(self._options.loop)

    def _pass(self, seen_now: Sequence[Seen]) -> None:
        self._passes += 1
        state = self._shared.now
        version, cuda = bytes(state.driver_version).decode("ascii"), int(state.cuda_version)
        stamp = time.strftime("%a %b %d %H:%M:%S %Y")
        if self._query is not None:
            broken = state.smi_fault == LOOP_DEFECT and self._passes > max(1, state.smi_after)
            self._out.write("".join(f"{line}\n" for line in self._query.rows(seen_now, broken=broken)))
        elif self._options.query and self._options.xml_format:
            self._out.write(xml(seen_now, driver_version=version, cuda_version=cuda, stamp=stamp))
        else:
            self._out.write(table(seen_now, driver_version=version, cuda_version=cuda, stamp=stamp))

    def _list(self) -> int:
        for seen in self._looks():
            gpu = seen.now
            self._out.write(f"GPU {seen.index}: {bytes(gpu.name).decode()} (UUID: {bytes(gpu.uuid).decode()})\n")
            for k in range(MAX_MIG):
                if gpu.settings.mig_mode and gpu.mig[k].present:
                    profile, uuid = bytes(gpu.mig[k].profile).decode(), bytes(gpu.mig[k].uuid).decode()
                    self._out.write(f"  MIG {profile:<11} Device {k:>2}: (UUID: {uuid})\n")
        return 0

    # --- setting ----------------------------------------------------------------------------------------

    def _set(self, name: str, value: str) -> int:
        seen_now = self._looks()
        if not seen_now:
            self._out.write("No devices were found\n")
            return NOT_FOUND
        for seen in seen_now:
            code, words = change(self._shared.now, seen, name, value)
            self._out.write(words + "\n")
            if code:
                self._out.write("Terminating early due to previous errors.\n")
                return code
        self._out.write("All done.\n")
        return 0
