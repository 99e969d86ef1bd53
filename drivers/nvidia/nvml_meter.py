"""NVML as a polled meter: the GPUs of this machine, on the host's clock."""

from __future__ import annotations

import itertools

from drivers.nvidia import nvml_setup
from drivers.nvidia.inventory import machine_of
from drivers.nvidia.nvml_library import Library
from drivers.nvidia.nvml_setup import Setup, setup_of
from drivers.nvidia.options import NvidiaOptions, nvml_options
from drivers.nvidia.readings import Missing, Readings
from drivers.nvidia.sensors import MS
from harness.core.clock import HOST
from harness.core.errors import DeviceError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, RealClock, WaitClock

SLOW_NS = 10 * MS  # a pass that took longer was interrupted: its stamp says too little
TRIES = 3
AGAIN_NS = NS_PER_S
WATCH_S = 2.0
WATCH_PASSES = 400
PERIOD_REL = 0.3  # a sensor that is written so much sooner than the table says


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> NvmlMeter:
    """An unopened meter over NVML; SpecError for wrong options. Loads nothing."""
    return NvmlMeter(request, clock=clock if clock is not None else RealClock())


class NvmlMeter:
    """PolledMeter and SelfTesting over the registers of this machine's GPUs.

    Reads the channels that `request.rails` names, or all there are. A pass in which any of them failed is no reading:
    it becomes part of a gap, whose reason begins with `reset:` where a counter may have begun anew.
    """

    def __init__(self, request: MeterRequest, *, clock: WaitClock) -> None:
        self._request, self._clock = request, clock
        self._options: NvidiaOptions = nvml_options(request.options)
        self._library: Library | None = None
        self._setup: Setup | None = None
        self._readings: Readings | None = None
        self._next_ns = self._tried_ns = 0

    @property
    def recovered(self) -> bool:
        """Always False: a register cannot be left sampling."""
        return False

    @property
    def poll_s(self) -> float:
        return self._setup.timing.poll_ns / NS_PER_S if self._setup else (self._options.poll_ms or 20.0) * 1e-3

    def open(self) -> MeterInfo:
        """Starts NVML and looks at its GPUs. DeviceError, SpecError or TransientError."""
        self.close()
        path = self._request.nvml_library
        where = str(path) if path is not None else self._options.where
        self._library = Library(where)
        try:
            self._library.start()
            machine = machine_of(self._library.look(), library=where)
            self._setup = setup_of(machine, self._request, self._options)
        except BaseException:
            self.close()
            raise
        return self._setup.info(clock=HOST, simulated=self._request.simulated)

    def start(self) -> None:
        setup, _ = self._open()
        now_ns = self._clock.now_ns()
        self._readings = setup.readings(now_ns)
        self._tried_ns = now_ns - AGAIN_NS
        self._pass(self._readings)
        self._next_ns = self._clock.now_ns() + setup.timing.poll_ns

    def step(self, until_ns: int) -> Block | None:
        """Polls until `until_ns` on the host clock -> what was read, or None."""
        if self._readings is None or self._setup is None:
            return None
        poll_ns = self._setup.timing.poll_ns
        while self._next_ns <= until_ns:
            self._clock.sleep_until(self._next_ns)
            self._pass(self._readings)
            self._next_ns += poll_ns
            if (late_ns := self._clock.now_ns() - self._next_ns) > 0:  # the process was held up: keep the beat
                missed = late_ns // poll_ns + 1
                self._readings.count("late_polls", missed)
                self._next_ns += missed * poll_ns
        self._clock.sleep_until(until_ns)
        return self._readings.take()

    def stop(self) -> Block | None:
        """What was not yet handed on. May be called twice."""
        readings, self._readings = self._readings, None
        return readings.finish(self._clock.now_ns()) if readings is not None else None

    def close(self) -> None:
        self._readings = self._setup = None
        library, self._library = self._library, None
        if library is not None:
            library.stop()

    def self_test(self) -> list[CheckItem]:
        """What is known of the sensors, and how often they are written; takes about two seconds, moving or not."""
        setup, library = self._open()
        begin_ns, looks = self._clock.now_ns(), []
        for k in range(WATCH_PASSES):
            self._clock.sleep_until(begin_ns + round(k * WATCH_S / WATCH_PASSES * NS_PER_S))
            looks.append((self._clock.now_ns(), library.values(setup.registers)))
        found = nvml_setup.checks(setup)
        for k, channel in enumerate(setup.channels):
            seen = [(t, values[k]) for t, values in looks]
            expected_ms = channel.sensor.update_ms if channel.sensor else channel.register.update_ns / MS
            found.append(_watched(channel.name, seen, expected_ms))
        return found

    # --- inside ---------------------------------------------------------------------------------------

    def _open(self) -> tuple[Setup, Library]:
        if self._setup is None or self._library is None:
            raise DeviceError(f"nvml meter {self._request.name!r} is not open", hint="call open() before start()")
        return self._setup, self._library

    def _pass(self, readings: Readings) -> None:
        """One pass, stamped at its middle; a library that lost its GPU is started anew, at most once a second."""
        setup, library = self._open()
        for _ in range(TRIES):
            before_ns = self._clock.now_ns()
            values = library.values(setup.registers)
            after_ns = self._clock.now_ns()
            if after_ns - before_ns <= SLOW_NS:
                break
            readings.count("slow_passes")
        readings.add((before_ns + after_ns) // 2, values)
        if any(isinstance(v, Missing) and v.gone for v in values) and after_ns - self._tried_ns >= AGAIN_NS:
            self._tried_ns = after_ns
            readings.count("nvml_restarts")
            library.start_again()


def _watched(name: str, seen: list[tuple[int, int | Missing]], expected_ms: float) -> CheckItem:
    """Whether a register can be read, and is written as often as expected."""
    for _, value in seen:
        if isinstance(value, Missing):
            return CheckItem(f"update {name}", ok=False, found=value.why, mend="look at `nvidia-smi` and dmesg")
    moved = [t for (_, a), (t, b) in itertools.pairwise(seen) if a != b]
    if len(moved) < 3:
        words = f"changed {len(moved)} times in {WATCH_S:g} s"
        return CheckItem(f"update {name}", ok=bool(moved), found=words, mend="" if moved else "put the GPU to work")
    spans = sorted(b - a for a, b in itertools.pairwise(moved))
    least_ms = spans[len(spans) // 10] / MS  # equal numbers hide updates, nothing makes them come sooner
    words = f"changes no sooner than every {least_ms:.0f} ms; the table says {expected_ms:g} ms"
    ok = least_ms >= (1 - PERIOD_REL) * expected_ms
    mend = "" if ok else f"set option update_ms: {least_ms:.0f}, or let `joulebench meters characterise` find it"
    return CheckItem(f"update {name}", ok=ok, found=words, mend=mend)
