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
from drivers.simulated.nvidia.smi.fields import Seen, header, help_text, known, row
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
        code = Program(SharedState(Path(os.environ.get(VARIABLE) or state)), _options(argv)).run()
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


def _options(argv: Sequence[str]) -> argparse.Namespace:
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
        self._names: list[str] = []
        self._units = self._header = True
        self._passes = 0

    def run(self) -> int:
        """Its exit code."""
        state, options = self._shared.now, self._options
        if code := int(state.init_ret):
            self._out.write(REFUSED.get(code, "Failed to initialize NVML: Unknown Error") + "\n")
            return code if code in REFUSED else OTHER
        driver = int(bytes(state.driver_version).split(b".")[0])
        if options.help_query_gpu:
            self._out.write(help_text(driver))
            return 0
        if options.query_gpu is not None and (trouble := self._take_query(driver)):
            self._out.write(trouble + "\n")
            return INVALID
        for name in SETTINGS:
            if getattr(options, name):
                return self._set(name, str(getattr(options, name)))
        if options.list_gpus:
            return self._list()
        time.sleep(state.smi_first_ms / 1000)
        return self._show()

    # --- looking ----------------------------------------------------------------------------------------

    def _take_query(self, driver: int) -> str:
        words = self._options.format.split(",")
        if "csv" not in words:
            return '"--format=" switch is missing. Currently the only supported format is "csv".'
        self._units, self._header = "nounits" not in words, "noheader" not in words
        for name in self._options.query_gpu.split(","):
            full = known(name, driver)
            if full is None:
                return f'Field "{name.strip()}" is not a valid field to query.\n'
            self._names.append(full)
        return ""

    def _looks(self) -> list[Seen]:
        """The GPUs that are asked for, in order; [] where there is none."""
        now = time.time()
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(now)) + f".{int(now * 1000) % 1000:03d}"
        seen = self._shared.copy()
        listed = [k for k in range(seen.gpu_count) if seen.gpus[k].listed]
        looks = [Seen(seen, seen.gpus[k], self._shared.now.gpus[k], i, stamp) for i, k in enumerate(listed)]
        wanted = [word.strip() for word in self._options.id.split(",") if word.strip()]
        return [look for look in looks if not wanted or any(_is(look, word) for word in wanted)]

    def _show(self) -> int:
        looks = self._looks()
        if not looks:
            self._out.write("No devices were found\n")
            return NOT_FOUND
        for seen in looks:
            if code := failing(seen.live, "handle"):
                bus = bytes(seen.now.bus_id).decode("ascii")[4:]
                words = {15: "GPU is lost.  Reboot the system to recover this GPU"}.get(code, "Unknown Error")
                self._out.write(f"Unable to determine the device handle for GPU{bus}: {words}\n")
                return code if code == 15 else OTHER
        every_s = self._every_s()
        if self._names and self._header:
            self._out.write(header(self._names) + "\n")
        while True:
            self._pass(looks)
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
            looks = self._looks()

    def _every_s(self) -> float | None:
        if self._options.loop_ms is not None:
            return float(self._options.loop_ms) / 1000
        return None if self._options.loop is None else float(self._options.loop)

    def _pass(self, looks: Sequence[Seen]) -> None:
        self._passes += 1
        version = bytes(self._shared.now.driver_version).decode("ascii")
        cuda = int(self._shared.now.cuda_version)
        if self._names:
            broken = self._shared.now.smi_fault == LOOP_DEFECT and self._passes > max(1, self._shared.now.smi_after)
            for seen in looks:
                text = row(seen, self._names, units=self._units)
                self._out.write((_broken(text, self._names) if broken else text) + "\n")
        elif self._options.query and self._options.xml_format:
            stamp = time.strftime("%a %b %d %H:%M:%S %Y")
            self._out.write(xml(looks, driver_version=version, cuda_version=cuda, stamp=stamp))
        else:
            stamp = time.strftime("%a %b %d %H:%M:%S %Y")
            self._out.write(table(looks, driver_version=version, cuda_version=cuda, stamp=stamp))

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
        looks = self._looks()
        if not looks:
            self._out.write("No devices were found\n")
            return NOT_FOUND
        for seen in looks:
            code, words = change(self._shared.now, seen, name, value)
            self._out.write(words + "\n")
            if code:
                self._out.write("Terminating early due to previous errors.\n")
                return code
        self._out.write("All done.\n")
        return 0


def _is(seen: Seen, word: str) -> bool:
    """Whether a GPU is meant by its index, UUID or PCI address."""
    if ":" in word:
        return bytes(seen.now.bus_id).decode("ascii").lower().endswith(word.lower()[-12:])
    return word in (str(seen.index), bytes(seen.now.uuid).decode("ascii"))


def _broken(text: str, names: Sequence[str]) -> str:
    """A row of the loop defect: what is measured is an error, what the GPU is stays."""
    stable = ("timestamp", "index", "name", "uuid", "pci.bus_id", "driver_version", "count", "serial")
    words = text.split(", ")
    return ", ".join(w if n in stable else "[Unknown Error]" for n, w in zip(names, words, strict=True))
