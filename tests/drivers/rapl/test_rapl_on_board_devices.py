"""Registers and events of a board: found through its files, read by its sampler, decoded as the polling meter does."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.readings.counter import counter_steps
from drivers.rapl import codec
from drivers.rapl.counters import Event
from drivers.rapl.devices import SystemDevices
from drivers.rapl.meter import open_meter
from drivers.rapl.onboard import OnBoardRapl, open_on_board
from drivers.simulated.powercap.board import DeviceFiles
from drivers.simulated.powercap.devices import SimulatedDevices
from drivers.simulated.powercap.processors import PROCESSORS
from harness.boards.local import LocalBoard
from harness.boards.state.files import LocalFiles
from harness.core.errors import BenchError, DeviceError
from harness.core.ports import MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import MeterInfo, join_blocks

CLOCK = "board:server"
MS = 1_000_000
BOTH = ("perf", "msr")


def request(root: Path, *channels: str, **options: str | float) -> MeterRequest:
    return MeterRequest("cpu", options=options, rails=tuple((c, c) for c in channels), sysfs_root=root, simulated=True)


def prepared(
    devices: SimulatedDevices, *channels: str, **options: str | float
) -> tuple[OnBoardRapl, MeterInfo, SamplerPlan]:
    meter = open_on_board(request(devices.root, *channels, **options))
    info, plan = meter.prepare(DeviceFiles(devices), clock=CLOCK)
    return meter, info, plan


@pytest.mark.parametrize("interface", BOTH)
@pytest.mark.parametrize("layout", PROCESSORS)
def test_it_is_the_meter_that_polling_finds(tmp_path: Path, layout: str, interface: str) -> None:
    devices = SimulatedDevices(tmp_path, layout, now_ns=time.monotonic_ns).create()
    _, info, plan = prepared(devices, interface=interface, edge_s=0.002)
    for channel in devices.channels:
        devices.set_energy_j(channel, 0.0)
    moved = _Moving(devices)
    polled = open_meter(request(tmp_path, interface=interface, edge_s=0.002), calls=moved)
    found = polled.open()
    polled.close()
    assert (info.channels, info.columns, info.details) == (found.channels, found.columns, found.details)
    assert (info.model, info.serial, info.clock) == (found.model, found.serial, CLOCK)
    assert plan.width == len(info.channels) and not plan.files and plan.edge_s == 0.002
    assert bool(plan.registers) == (interface == "msr") and bool(plan.events) == (interface == "perf")


class _Moving:
    """The same devices, moved by being read: a real clock needs no thread then."""

    def __init__(self, devices: SimulatedDevices) -> None:
        self._devices, self._joules = devices, 0.0
        self.open_register, self.open_event, self.close = devices.open_register, devices.open_event, devices.close
        self.read_register = devices.read_register

    def read_event(self, fd: int) -> bytes:
        self._joules += 2.0
        for channel in self._devices.channels:
            self._devices.set_energy_j(channel, self._joules)
        return self._devices.read_event(fd)


@pytest.mark.parametrize("interface", BOTH)
def test_it_refuses_what_polling_refuses(tmp_path: Path, interface: str) -> None:
    devices = SimulatedDevices(tmp_path, "client").create()
    devices.deny = errno.EPERM
    for asked in (request(tmp_path, interface=interface), request(tmp_path)):
        errors = []
        for act in (
            lambda asked=asked: open_meter(asked, calls=devices).open(),
            lambda asked=asked: open_on_board(asked).prepare(DeviceFiles(devices), clock=CLOCK),
        ):
            with pytest.raises(BenchError) as caught:
                act()
            errors.append((type(caught.value), str(caught.value)))
        assert errors[0] == errors[1] and issubclass(errors[0][0], DeviceError)


def test_an_agent_that_does_not_know_the_question_has_no_registers(tmp_path: Path) -> None:
    SimulatedDevices(tmp_path, "client").create(pmus=False)
    silent = LocalFiles()
    silent.read = lambda patterns: LocalFiles.read(silent, [p for p in patterns if "agent:at" not in p])  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match="register 0x606 gives ENOSYS"):
        open_on_board(request(tmp_path, interface="msr")).prepare(silent, clock=CLOCK)


# --- decoding ----------------------------------------------------------------------------------------


def passes(
    meter: OnBoardRapl, info: MeterInfo, rows: Sequence[Sequence[bytes | int]]
) -> tuple[list[int], list[str], float]:
    """Passes every 20 ms -> raw values, reasons of gaps, joules by the shipped analysis, of the first channel."""
    begin = np.arange(len(rows), dtype=np.int64) * 20 * MS
    blocks = [meter.decode(RawSamples(begin, begin + 20_000, tuple(map(tuple, rows)))), meter.finish()]
    trace = join_blocks(info, [block for block in blocks if block is not None])
    spec = info.channels[0]
    steps = counter_steps(trace, spec)
    values = [int(v) for v in trace.columns[spec.columns[0]]]
    return values, [gap.reason for gap in trace.gaps], float(steps.energy_j[steps.plausible].sum())


@given(
    start=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(0, 500_000), min_size=2, max_size=40),
    junk=st.lists(st.integers(0, 2**32 - 1), min_size=41, max_size=41),
)
def test_registers_are_added_up_over_wraps_whatever_lies_above_them(
    tmp_path_factory: pytest.TempPathFactory, start: int, steps: list[int], junk: list[int]
) -> None:
    devices = _CLIENT or _client(tmp_path_factory)
    meter, info, _ = prepared(devices, "package-0", interface="msr")
    counts = np.cumsum([start, *steps])
    rows = [[struct.pack("<Q", int(count) % 2**32 | high << 32)] for count, high in zip(counts, junk, strict=False)]
    values, reasons, joules = passes(meter, info, rows)
    assert values == [int(count) % 2**32 for count in counts]
    assert not reasons
    assert joules == pytest.approx(sum(steps) * 2**-14, abs=1e-6)


_CLIENT: SimulatedDevices | None = None


def _client(factory: pytest.TempPathFactory) -> SimulatedDevices:
    global _CLIENT
    _CLIENT = SimulatedDevices(factory.mktemp("client"), "client").create()
    return _CLIENT


@given(
    data=st.lists(
        st.one_of(st.binary(max_size=30), st.sampled_from([errno.EIO, errno.ENODEV])), min_size=1, max_size=20
    )
)
@pytest.mark.parametrize("interface", BOTH)
def test_no_bytes_whatever_make_an_accident(
    tmp_path_factory: pytest.TempPathFactory, interface: str, data: list[bytes | int]
) -> None:
    meter, info, _ = prepared(_CLIENT or _client(tmp_path_factory), "package-0", interface=interface)
    values, reasons, joules = passes(meter, info, [[entry] for entry in data])
    assert len(values) <= len(data)
    assert 0.0 <= joules <= len(data) * 50.0  # no more than max_power_w allows
    good = 8 if interface == "msr" else 24
    for entry in data:
        if isinstance(entry, int) or len(entry) != good:
            assert reasons


def test_an_event_cut_short_or_beyond_its_range_is_a_gap(tmp_path: Path) -> None:
    devices = SimulatedDevices(tmp_path, "client").create()
    meter, info, _ = prepared(devices, "package-0", interface="perf")
    rows = [[struct.pack("<QQQ", count, 5, 5)] for count in (0, 1 << 30)] + [[b""], [struct.pack("<QQQ", 2**63, 5, 5)]]
    values, reasons, joules = passes(meter, info, rows)
    assert (values, joules) == ([0, 1 << 30], 0.25)
    assert reasons == ["package-0: the event gave 0 bytes, not 24"]
    assert codec.EVENT_MODULUS < 2**63


# --- through the agent, on this machine's own kernel -------------------------------------------------


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LocalBoard]:
    made = LocalBoard("here", lambda spec: None, directory=tmp_path / "board")  # type: ignore[arg-type,return-value]
    yield made
    made.close()


def sampled(board: LocalBoard, meter: OnBoardRapl, plan: SamplerPlan, seconds: float) -> list[object]:
    sampler = board.start_sampler(plan, lease_s=30.0)
    try:
        time.sleep(seconds)
        return [meter.decode(sampler.stop()), meter.finish()]
    finally:
        sampler.close()


@pytest.mark.realtime
def test_registers_in_files_are_read_by_a_real_sampler(tmp_path: Path, board: LocalBoard) -> None:
    root = tmp_path / "machine"
    devices = SimulatedDevices(root, "server").create(pmus=False)
    devices.set_energy_j("package-1", 1000.0)
    devices.write_registers()
    devices.close_registers()
    meter = open_on_board(request(root, interface="msr"))
    info, plan = meter.prepare(board.files, clock=board.clock)
    assert [channel.name for channel in info.channels] == ["package-0", "package-0/dram", "package-1", "package-1/dram"]
    block = sampled(board, meter, plan, 0.3)[0]
    assert block is not None
    columns = block.columns  # type: ignore[attr-defined]
    assert set(columns["package-1:energy_count"]) == {0x7FFF0000 + 1000 * 2**14}
    assert set(columns["package-0/dram:energy_count"]) == {0x7FFF0000}


@pytest.mark.realtime
def test_events_of_the_kernel_itself_are_counted_here_and_by_the_sampler(tmp_path: Path, board: LocalBoard) -> None:
    """The clock of a CPU as if it were its energy: 1 W by definition, through the real system call at both ends."""
    try:
        os.close(SystemDevices().open_event(Event(1, 0, 0)))
    except OSError as error:
        pytest.skip(f"perf events cannot be opened here: {error}")
    root = tmp_path / "machine"
    SimulatedDevices(root, "amd").create()
    pmu = root / "sys/bus/event_source/devices/power"
    for name, text in {"type": "1", "events/energy-pkg": "event=0x00", "events/energy-pkg.scale": "1e-9"}.items():
        (pmu / name).write_text(text + "\n", encoding="ascii")
    asked = request(root, "package-0", interface="perf")
    on_board = open_on_board(asked)
    info, plan = on_board.prepare(board.files, clock=board.clock)
    polled = open_meter(asked)
    assert polled.open().columns == info.columns
    polled.start()
    here = [polled.step(time.monotonic_ns() + 300 * MS), polled.stop()]
    polled.close()
    for blocks in (here, sampled(board, on_board, plan, 0.3)):
        trace = join_blocks(info, [block for block in blocks if block is not None])  # type: ignore[misc]
        steps = counter_steps(trace, info.channel("package-0"))
        seconds = float(trace.t_ns[-1] - trace.t_ns[0]) * 1e-9
        assert seconds > 0.1 and steps.plausible.all()
        assert steps.energy_j.sum() == pytest.approx(seconds, rel=0.02)
