"""The protocols through which the parts of a bench meet. Small capabilities instead of one fat base class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from harness.core.clock import FloatArray, Int64Array
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.sampling import RawSamples as RawSamples
from harness.core.sampling import SamplerPlan as SamplerPlan
from harness.core.spec import BoardSpec, RunSpec
from harness.core.telemetry import Telemetry
from harness.core.timeline import Phase, Timeline
from harness.core.trace import Block, MeterInfo

# --- meters -----------------------------------------------------------------------------------------


class Meter(Protocol):
    """What every meter can: say what it is, acquire, and be left in peace.

    `open` identifies and configures, stops a device found sampling and drains what it still holds (then
    `recovered` is True). `step(until_ns)` reads what arrives until that host time and returns it, or None
    when there was nothing. `stop` ends acquisition and returns what was still under way. `close` may be
    called twice and after any error. Errors: DeviceError, TransientError.
    """

    @property
    def recovered(self) -> bool: ...

    def open(self) -> MeterInfo: ...

    def start(self) -> None: ...

    def step(self, until_ns: int) -> Block | None: ...

    def stop(self) -> Block | None: ...

    def close(self) -> None: ...


@runtime_checkable
class StreamingMeter(Meter, Protocol):
    """A meter that samples by itself. `buffer_s`: how long it keeps samples nobody reads; below 0.1 s
    it is read in a child process."""

    @property
    def buffer_s(self) -> float: ...


@runtime_checkable
class PolledMeter(Meter, Protocol):
    """A meter (register or counter) that must be asked; `poll_s` is how often it asks."""

    @property
    def poll_s(self) -> float: ...


@runtime_checkable
class VoltageOutput(Protocol):
    """A meter that also supplies the board. Never changed while the board is powered unless asked by name."""

    def voltage_v(self) -> float: ...

    def set_voltage(self, voltage_v: float) -> None: ...


# --- boards and agents ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Completed:
    """A finished command: exit status and its output, decoded with replacement."""

    status: int
    stdout: str
    stderr: str


class LineStream(Protocol):
    """A two-way line channel to a process (the agent's attach command)."""

    def write_line(self, line: str) -> None: ...

    def read_line(self, timeout_s: float) -> str: ...  # TransientError on time-out or end

    def close(self) -> None: ...


class Transport(Protocol):
    """How a board is reached: files go over and commands run there. Errors: DeviceError, TransientError."""

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed: ...

    def put(self, local: Path, remote: str) -> None: ...  # atomic, verified by hash, nothing re-sent

    def get(self, remote: str, local: Path) -> None: ...

    def spawn(self, argv: Sequence[str], *, log: str, env: Mapping[str, str]) -> int: ...  # detached; its pid

    def stream(self, argv: Sequence[str]) -> LineStream: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Step:
    """One instruction of a program that the agent carries out alone, without traffic on the link.

    op "infer": inferences of `phase` for `seconds` (or exactly `count`), then goes on without a break;
    after each inference a pause of U(`pause_min_s`, `pause_max_s`) (0, 0: back-to-back).
    op "idle": sleep `seconds`. op "marker": `bits`, each 1 a spin and each 0 a sleep of `chip_s`.
    """

    op: str
    phase: Phase
    seconds: float = 0.0
    count: int | None = None
    pause_min_s: float = 0.0
    pause_max_s: float = 0.0
    bits: str = ""
    chip_s: float = 0.0


@dataclass(frozen=True)
class LoadReport:
    """What the agent says after loading a model: runtime version, settings in force, and when."""

    details: Mapping[str, Any]
    timeline: Timeline


class AgentSession(Protocol):
    """A live agent on a board with at most one model loaded. Errors: SpecError, DeviceError, TransientError."""

    @property
    def clock(self) -> str: ...

    @property
    def link_account(self) -> Sequence[Mapping[str, Any]]: ...  # a program: what the link did while it ran

    def hello(self) -> Mapping[str, Any]: ...  # version handshake: agent, python, pid, machine

    def ping(self, count: int) -> Int64Array: ...  # (count, 3): host before, board, host after; ns

    def load(self, spec: RunSpec, start: int) -> LoadReport: ...

    def perform(self, program: Sequence[Step], start: int, *, seed: int) -> Timeline: ...

    def outputs(self) -> Mapping[str, npt.NDArray[np.generic]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class ProfileReport:
    """What a profile pass yields. `graph`: the runtime's optimised graph without its weights (ONNX bytes), or None;
    `problem`: why it is None, if the runtime has one to give."""

    profile: LayerProfile
    graph: bytes | None = None
    problem: str = ""


@runtime_checkable
class ProfilingSession(Protocol):
    """An agent session whose runtime can say when each kernel ran.

    `profile` runs and stamps `count` inferences with a profiler and as many without; SpecError or DeviceError if the
    runtime cannot. `layer_stamps`: stamps of the measured inferences of the programs performed so far, if the run's
    protocol says `layers: instances`; else None.
    """

    def profile(self, spec: RunSpec, *, count: int) -> ProfileReport: ...

    def layer_stamps(self) -> LayerStamps | None: ...


@dataclass(frozen=True)
class CheckItem:
    """One finding about a board or meter: `mend` is the command that puts it right, if any."""

    name: str
    ok: bool
    found: str
    mend: str = ""


class Board(Protocol):
    """A machine that can run agents. What `configure` sets, `restore` puts back, also after a crash."""

    @property
    def name(self) -> str: ...

    @property
    def clock(self) -> str: ...

    def check(self, spec: RunSpec | None = None) -> Sequence[CheckItem]: ...

    def state(self) -> Mapping[str, Any]: ...  # governor, frequencies, temperatures, load, ...

    def configure(self, spec: RunSpec) -> Mapping[str, Any]: ...

    def restore(self) -> Sequence[str]: ...  # names of what was put back

    def end_orphans(self) -> Sequence[int]: ...  # pids of agents left by a dead harness, now ended

    def start_agent(self, spec: RunSpec, start: int) -> AgentSession: ...

    def close(self) -> None: ...


class TelemetrySource(Protocol):
    """A board that tells of itself while a run is measured. Errors: DeviceError, TransientError."""

    def take(self) -> Telemetry | None: ...  # what was read since the last call; None: nothing

    def stop(self) -> Telemetry | None: ...  # the rest; it reads no more

    def cost(self) -> Mapping[str, float]: ...  # `cpu_s`, `wall_s` of reading, on the board; empty if it costs nothing

    def close(self) -> None: ...  # may be called twice


@runtime_checkable
class TellingBoard(Protocol):
    """A board that can say how warm it is and how fast it runs, every `period_s`; None if it has no sensor for either.

    What reads it ends by itself when nobody has spoken to it for `lease_s`.
    """

    def start_telemetry(self, board: BoardSpec, period_s: float, *, lease_s: float) -> TelemetrySource | None: ...


@runtime_checkable
class LeasedBoard(Protocol):
    """A board that several harnesses may reach. The lease lies on the board, names its holder, and runs out.

    `lease` takes it or renews it for `seconds`; TransientError naming the holder while another one lives.
    """

    def lease(self, seconds: float) -> None: ...

    def release(self) -> None: ...


class BoardFiles(Protocol):
    """Small files of a board (/sys, /proc, journals), paths absolute as the board sees them. Few round trips."""

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]: ...  # all readable files that match the globs

    def write(self, path: str, data: bytes) -> None: ...  # in place, as sysfs wants; DeviceError if refused

    def keep(self, path: str, data: bytes) -> None: ...  # atomic and fsynced

    def remove(self, path: str) -> None: ...  # no error if it is not there


# --- on-board meters: sampled by the agent, decoded on the host --------------------------------------


class Sampler(Protocol):
    """The agent's second role on a board: it samples by itself, and keeps what nobody has fetched yet.

    A link that breaks is opened again and loses nothing. Errors: DeviceError, TransientError.
    """

    def ping(self, count: int) -> Int64Array: ...  # as AgentSession.ping

    def take(self) -> RawSamples: ...  # what was read since the last call

    def stop(self) -> RawSamples: ...  # the rest; it samples no more

    def cost(self) -> Mapping[str, float]: ...  # `cpu_s`, `wall_s` of the sampler's process so far

    def close(self) -> None: ...  # may be called twice


@runtime_checkable
class SamplingBoard(Protocol):
    """A board whose agent can sample meters that are part of the board.

    A sampler ends by itself when nobody has spoken to it for `lease_s`.
    """

    @property
    def files(self) -> BoardFiles: ...

    def start_sampler(self, plan: SamplerPlan, *, lease_s: float) -> Sampler: ...


@runtime_checkable
class OnBoardMeter(Protocol):
    """The host's half of a meter that is part of a board: says what to sample, and decodes what came.

    `prepare` looks at the board's files and gives what the meter is (on the clock `clock`) and what is sampled.
    """

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]: ...

    def decode(self, samples: RawSamples) -> Block | None: ...

    def finish(self) -> Block | None: ...


# --- finding and testing meters ---------------------------------------------------------------------


@dataclass(frozen=True)
class FoundMeter:
    """Something that a driver found plugged in or built in. `where`: in words; `options`: that open this very one;
    `usable`: it can be opened now; else `trouble` says why not and `mend` what to type."""

    driver: str
    where: str
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    model: str = ""
    channels: tuple[str, ...] = ()
    usable: bool = True
    trouble: str = ""
    mend: str = ""


class FindAttached(Protocol):
    """Entry point `joulebench.discovery`: meters attached to this machine. It opens nothing that would disturb, and
    finding nothing is no error. `surroundings`: injected roots and ports; its options are ignored."""

    def __call__(self, surroundings: MeterRequest) -> Sequence[FoundMeter]: ...


class FindOnBoard(Protocol):
    """Entry point `joulebench.onboard_discovery`: meters that are part of a board, found in its files below
    `surroundings.sysfs_root`."""

    def __call__(self, files: BoardFiles, surroundings: MeterRequest) -> Sequence[FoundMeter]: ...


@runtime_checkable
class SelfTesting(Protocol):
    """A meter (opened) or on-board meter (prepared) that can say more of its own health than its readings do:
    supply, calibration register, clock against the host's, shunt against what is declared."""

    def self_test(self) -> Sequence[CheckItem]: ...


# --- judgement --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """`ok`, and why, in words for a log."""

    ok: bool
    reason: str


class Judge(Protocol):
    """Judgement during a run; implemented in analysis, handed to the runner by the composition root."""

    def settled(self, t_ns: Int64Array, power_w: FloatArray, *, reference_w: float | None) -> Verdict:
        """Is the power (points of a few ms, newest last) steady, and near `reference_w` if given?"""
        ...


class RecentPower(Protocol):
    """The newest power of the primary meter while it acquires: host time ns (K,), watt (K,)."""

    def recent(self, seconds: float) -> tuple[Int64Array, FloatArray]: ...


@dataclass(frozen=True)
class MeterRequest:
    """What a driver's `open_meter` gets: the binding's options, and the injected surroundings.

    `sysfs_root`: prefix of /sys (tests and simulators give another); `usb_backend`: a pyusb backend or
    None for the system's; `serial_port`: (path, baud) -> harness.io.serial_port.SerialPort, or None for the system's;
    `visa`: (resource, harness.io.visa_line.LineSettings) -> VisaLine, or None for pyvisa's; `nvml_library`: path of the
    libnvidia-ml.so.1 to load, or None for the one that the loader finds; `stand_ins`: by a package's name, what takes
    its place where its wire lies within a library of its own;
    `tap`: called with ("in" | "out", bytes) for all that crosses the wire, to make a capture; `simulated`: mark all
    data as such.
    """

    name: str
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    rails: tuple[tuple[str, str], ...] = ()
    sysfs_root: Path = Path("/")
    usb_backend: Any = None
    serial_port: Any = None
    visa: Any = None
    nvml_library: Path | None = None
    stand_ins: Mapping[str, Any] = field(default_factory=dict)
    tap: Callable[[str, bytes], None] | None = None
    simulated: bool = False
