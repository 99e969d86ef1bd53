"""NVML of a board that is not this machine: the agent's sampler calls the library there, this decodes on the host."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from drivers.nvidia import access, nvml_setup
from drivers.nvidia.inventory import machine_of
from drivers.nvidia.nvml_meter import SLOW_NS
from drivers.nvidia.nvml_setup import Setup, setup_of
from drivers.nvidia.options import nvml_options
from drivers.nvidia.readings import Missing, Readings
from drivers.nvidia.sensors import MS
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, CheckItem, MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S

QUESTION = "agent:nvml "
VALUE = struct.Struct("<iIQq")  # as the plan says: return code, type, value, time in us
COUNT_NAMES = {"late_passes": "late_polls"}


def open_on_board(request: MeterRequest) -> OnBoardNvml:
    """The host's half of NVML on a board; SpecError for wrong options. Touches nothing."""
    return OnBoardNvml(request)


class OnBoardNvml:
    """OnBoardMeter (and SelfTesting) over the registers of a board's GPUs; judged as by the meter that polls."""

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = nvml_options(request.options)
        self._setup: Setup | None = None
        self._readings: Readings | None = None
        self._end_ns = 0

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """One question to the board. DeviceError, SpecError or TransientError as NvmlMeter.open."""
        library = str(self._request.nvml_library or self._options.where)
        question = QUESTION + library
        machine = machine_of(files.read([question]).get(question, b""), library=library)
        self._setup = setup = setup_of(machine, self._request, self._options)
        self._readings = None
        plan = SamplerPlan(nvml=setup.registers, nvml_library=library, period_s=setup.timing.poll_ns / NS_PER_S)
        return setup.info(clock=clock, simulated=self._request.simulated), plan

    def decode(self, samples: RawSamples) -> Block | None:
        """Passes in order -> rows, gaps and counts; None while there is no row."""
        setup = self._prepared()
        if self._readings is None:
            if not len(samples.begin_ns):
                return None
            self._readings = setup.readings(int(samples.begin_ns[0]))
        for name, count in samples.counts.items():
            self._readings.count(COUNT_NAMES.get(name, name), count)
        for begin_ns, end_ns, entries in zip(
            samples.begin_ns.tolist(), samples.end_ns.tolist(), samples.data, strict=True
        ):
            self._end_ns = end_ns
            values = [value_of(entry) for entry in entries]
            if end_ns - begin_ns > SLOW_NS and not any(isinstance(value, Missing) for value in values):
                self._readings.count("slow_passes")
                self._readings.lose(f"a pass took more than {SLOW_NS / MS:g} ms, so it is not known when it read")
                continue  # one in which the library was started anew is slow too: that a GPU was away counts
            self._readings.add((begin_ns + end_ns) // 2, values)
        return self._readings.take()

    def finish(self) -> Block | None:
        """What was held back; an open gap ends with the last pass."""
        return self._readings.finish(self._end_ns) if self._readings is not None else None

    def self_test(self) -> Sequence[CheckItem]:
        """What is known of the sensors, and whether the driver stays loaded."""
        return nvml_setup.checks(self._prepared())

    def _prepared(self) -> Setup:
        if self._setup is None:
            raise DeviceError(f"nvml meter {self._request.name!r} is not prepared", hint="call prepare() first")
        return self._setup


def value_of(entry: bytes | int) -> int | Missing:
    """One entry of a pass: mW or mJ, or why not."""
    if isinstance(entry, int):
        return Missing(f"the sampler lost passes (errno {entry})")
    try:
        code, _, value, _ = VALUE.unpack(entry)
    except struct.error:
        return Missing(f"{len(entry)} bytes instead of {VALUE.size}")
    return int(value) if code == access.SUCCESS else access.missing(code)
