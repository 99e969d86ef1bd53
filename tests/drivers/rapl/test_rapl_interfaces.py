"""RAPL through perf events and registers, on processors of several kinds, in virtual time."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.readings.counter import counter_steps
from drivers.rapl import codec
from drivers.rapl.meter import Rapl, open_meter
from drivers.simulated.powercap import PowercapTree
from drivers.simulated.powercap.devices import SimulatedDevices
from drivers.simulated.powercap.processors import PROCESSORS, SimulatedProcessor
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.trace import Block, MeterInfo, Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock

MS = 1_000_000
BOTH = ("perf", "msr")


class Rig:
    """A processor whose channels each draw `watts`, and the shipped driver on it."""

    def __init__(self, root: Path, layout: str | SimulatedProcessor, *, watts: float = 40.0, pmus: bool = True) -> None:
        self.clock = VirtualClock()
        self.origin_ns = self.clock.now_ns()
        self.devices = SimulatedDevices(root, layout, now_ns=self.clock.now_ns).create(pmus=pmus)
        self.watts = watts
        self.clock.subscribe(self.move, period_ns=MS)

    def move(self, now_ns: int) -> None:
        for channel in self.devices.channels:
            self.devices.set_energy_j(channel, self.watts * (now_ns - self.origin_ns) / NS_PER_S)

    def meter(self, *channels: str, **options: str | float) -> Rapl:
        rails = tuple((channel, channel) for channel in channels)
        request = MeterRequest("cpu", options=options, rails=rails, sysfs_root=self.devices.root, simulated=True)
        return open_meter(request, clock=self.clock, calls=self.devices)

    def info(self, *channels: str, **options: str | float) -> MeterInfo:
        meter = self.meter(*channels, **options)
        try:
            return meter.open()
        finally:
            meter.close()

    def record(self, seconds: Sequence[float], between: Callable[[int], None] | None = None, *channels: str,
               **options: str | float) -> Trace:  # fmt: skip
        """Stretches of so many seconds; `between(k)` is called before stretch k."""
        meter = self.meter(*channels, **options)
        info = meter.open()
        meter.start()
        blocks: list[Block | None] = []
        for k, length in enumerate(seconds):
            if between is not None:
                between(k)
            blocks.append(meter.step(self.clock.now_ns() + round(length * NS_PER_S)))
        blocks.append(meter.stop())
        meter.close()
        assert self.devices.open_count == 0
        return join_blocks(info, [block for block in blocks if block is not None])


@pytest.fixture
def rig(tmp_path: Path) -> Callable[..., Rig]:
    return lambda layout, **how: Rig(tmp_path, layout, **how)


MakeRig = Callable[..., Rig]


def energy_j(trace: Trace, channel: str) -> float:
    steps = counter_steps(trace, trace.info.channel(channel))
    return float(steps.energy_j[steps.plausible].sum())


CHANNELS = {
    "client": ["package-0", "package-0/core", "package-0/uncore", "psys"],
    "server": ["package-0", "package-0/dram", "package-1", "package-1/dram"],
    "multi-die": [f"package-{p}-die-{d}{leaf}" for p in (0, 1) for d in (0, 1) for leaf in ("", "/dram")],
    "sapphire-rapids": ["package-0", "package-0/dram", "package-1", "package-1/dram", "psys"],
    "amd": ["package-0"],
    "epyc": ["package-0", "package-1"],  # its dies share their package's counter
}


@pytest.mark.parametrize("interface", BOTH)
@pytest.mark.parametrize("layout", PROCESSORS)
def test_channels_are_called_as_powercap_calls_them(rig: MakeRig, layout: str, interface: str) -> None:
    info = rig(layout).info(interface=interface)
    assert [channel.name for channel in info.channels] == CHANNELS[layout]
    assert info.details["interface"] == interface
    assert info.serial == interface
    for channel in info.channels:
        assert channel.modulus_raw == (codec.EVENT_MODULUS if interface == "perf" else 1 << 32)


@pytest.mark.parametrize("interface", BOTH)
@pytest.mark.parametrize("layout", PROCESSORS)
def test_every_channel_counts_its_joules(rig: MakeRig, layout: str, interface: str) -> None:
    """Units by processor: ESU 14 and 16, 15.3 uJ of a server's DRAM, 1 J of a platform; wraps (AMD's is near)."""
    trace = rig(layout, watts=75.0).record([20.0], interface=interface)
    seconds = float(trace.t_ns[-1] - trace.t_ns[0]) / NS_PER_S
    for channel in CHANNELS[layout]:
        assert energy_j(trace, channel) == pytest.approx(75.0 * seconds, abs=2.1 if channel == "psys" else 0.2)
    assert not trace.gaps


def test_many_wraps_of_a_register_lose_nothing(rig: MakeRig) -> None:
    made = rig("amd", watts=1500.0)
    trace = made.record([600.0], None, "package-0", interface="msr", poll_s=0.5)
    raw = trace.columns["package-0:energy_count"]
    assert np.count_nonzero(np.diff(raw) < 0) >= 13
    assert energy_j(trace, "package-0") == pytest.approx(
        1500.0 * float(trace.t_ns[-1] - trace.t_ns[0]) / NS_PER_S, rel=1e-5
    )


def test_polling_too_slowly_for_a_register_is_refused_and_an_event_never_wraps(rig: MakeRig) -> None:
    with pytest.raises(SpecError, match=r"package-0 can wrap in 32.8 s at 2000 W"):
        rig("amd").info(interface="msr", poll_s=20.0)
    assert rig("amd").info(interface="perf", poll_s=20.0)


@pytest.mark.parametrize("interface", BOTH)
def test_units_are_said(rig: MakeRig, interface: str) -> None:
    server, rapids = rig("server").info(interface=interface), rig("sapphire-rapids").info(interface=interface)
    assert server.details["unit_uj:package-0"] == "61.0352"
    assert server.details["unit_uj:package-0/dram"] == "15.2588"  # fixed, whatever the register of units says
    assert rapids.details["unit_uj:psys"] == "1e+06"
    assert rapids.details["part_of:package-1/dram"] == "psys"


def test_cores_of_amd_are_counted_once_each_and_only_where_they_are_named(rig: MakeRig) -> None:
    """Eight CPUs, four cores: a sibling shows the same register, and reading it too would double the core."""
    for interface in BOTH:
        made = rig("amd", watts=10.0)
        left_out = {key for key in made.info(interface=interface).details if key.startswith("left_out:")}
        assert left_out == {f"left_out:package-0/core-{k}" for k in range(4)}
        trace = made.record([5.0], None, "package-0/core-3", "package-0/core-1", interface=interface)
        assert trace.info.details["zone:package-0/core-3"].endswith("on CPU 3")
        assert energy_j(trace, "package-0/core-3") == pytest.approx(50.0, abs=0.2)
        whole = rig("amd").info("package-0", "package-0/core-1", interface=interface)
        assert whole.details["part_of:package-0/core-1"] == "package-0"


@pytest.mark.parametrize("interface", BOTH)
def test_cores_that_are_numbered_anew_in_each_die_are_all_there(tmp_path: Path, interface: str) -> None:
    again = dataclasses.replace(PROCESSORS["epyc"], cpus=tuple((0, die, core) for die in (0, 1) for core in (0, 1)) * 2)
    details = Rig(tmp_path, again).info(interface=interface).details
    named = {key.removeprefix("left_out:package-0/") for key in details if key.startswith("left_out:")}
    assert named == {"core-0", "core-1", "core-cpu2", "core-cpu3"}


def test_junk_above_the_counter_is_no_energy(rig: MakeRig) -> None:
    made = rig("client")

    def change(k: int) -> None:
        made.devices.junk = (0x1234 + k) << 32

    trace = made.record([1.0, 1.0, 1.0], change, "package-0", interface="msr")
    assert trace.columns["package-0:energy_count"].max() < 1 << 32
    assert energy_j(trace, "package-0") == pytest.approx(40.0 * 3, abs=0.2)


# --- what the kernel refuses -------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
@pytest.mark.parametrize(
    ("interface", "mend"), [("perf", "sudo sysctl kernel.perf_event_paranoid=0"), ("msr", "CAP_SYS_RAWIO")]
)
def test_missing_privilege_says_what_grants_it(rig: MakeRig, interface: str, mend: str, code: int) -> None:
    made = rig("client")
    made.devices.deny = code
    with pytest.raises(DeviceError, match="may not be") as caught:
        made.info(interface=interface)
    assert mend in caught.value.hint
    with pytest.raises(DeviceError, match="may not be"):
        made.info()  # chosen by itself: the error is that of what is there
    assert made.devices.open_count == 0


def test_missing_registers_say_what_to_load(rig: MakeRig) -> None:
    made = rig("client", pmus=False)
    made.devices.absent = True
    with pytest.raises(
        DeviceError, match=r"dev/cpu/0/msr: no energy registers \(register 0x606 gives ENOENT\)"
    ) as caught:
        made.info(interface="msr")
    assert "sudo modprobe msr" in caught.value.hint
    with pytest.raises(DeviceError, match="no perf events of energy"):
        made.info(interface="perf")
    with pytest.raises(DeviceError, match="no RAPL zone") as caught:
        made.info()
    assert "perf: no perf events" in caught.value.hint and "msr: " in caught.value.hint


def test_a_guest_whose_host_answers_zero_is_refused(rig: MakeRig) -> None:
    made = rig("sapphire-rapids")
    made.devices.hypervisor = True
    with pytest.raises(DeviceError, match="register 0x606 reads 0000"):
        made.info(interface="msr")
    with pytest.raises(DeviceError, match="not one of them moved within 1 s") as caught:
        made.info(interface="perf")
    assert "virtual machine" in caught.value.hint


def test_a_register_the_processor_lacks_is_left_out_or_refused_by_name(rig: MakeRig) -> None:
    made = rig("server")
    details = made.info(interface="msr").details
    assert "EIO" in details["left_out:package-0/uncore"]
    with pytest.raises(DeviceError, match=r"register 0x641 on CPU 0: .*EIO"):
        made.info("package-0/uncore", interface="msr")
    with pytest.raises(DeviceError, match=r"no RAPL channel 'package-3' through msr; it has \['package-0'"):
        made.info("package-3", interface="msr")
    with pytest.raises(DeviceError, match="no RAPL channel 'package-0/uncore' through perf"):
        made.info("package-0/uncore", interface="perf")


def test_a_register_that_reads_zero_counts_nothing(tmp_path: Path) -> None:
    """A client's DRAM register: it can be read, and stays at 0. A silent 0 is no reading."""
    client = PROCESSORS["client"]
    empty = dataclasses.replace(client.domains[2], start=0)
    made = Rig(tmp_path, dataclasses.replace(client, domains=(*client.domains[:2], empty)), watts=0.0)
    assert "reads 0" in made.info(interface="msr").details["left_out:package-0/uncore"]
    with pytest.raises(DeviceError, match="reads 0: this processor does not count it"):
        made.info("package-0/uncore", interface="msr")


@pytest.mark.parametrize(
    ("vendor", "family", "model", "words"),
    [("GenuineIntel", 6, 0x37, "in a way that is not known"), ("CentaurHauls", 7, 59, "are not known"),
     ("AuthenticAMD", 21, 2, "are not known"), ("", -1, -1, "are not known")],
)  # fmt: skip
def test_registers_of_unknown_processors_are_not_guessed(
    rig: MakeRig, vendor: str, family: int, model: int, words: str
) -> None:
    made = rig("client", pmus=False)
    cpuinfo = made.devices.root / "proc/cpuinfo"
    cpuinfo.write_text(f"vendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t: {model}\n", encoding="ascii")
    with pytest.raises(DeviceError, match=words):
        made.info(interface="msr")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("events/energy-pkg.unit", "Watts", "it counts 'Watts', not Joules"),
        ("events/energy-pkg.scale", "0", "its scale is 0"),
        ("events/energy-pkg", "event=0x02,umask=0x1", "which is not understood"),
        ("format/event", "config:0-63", "its events are coded as 'config:0-63'"),
        ("cpumask", "0,99", "CPU 99 of its cpumask has no topology"),
    ],
)
def test_events_that_are_described_otherwise_are_not_guessed(rig: MakeRig, name: str, text: str, words: str) -> None:
    made = rig("client")
    (made.devices.root / "sys/bus/event_source/devices/power" / name).write_text(text + "\n", encoding="ascii")
    try:
        said = str(dict(made.info(interface="perf").details))
    except DeviceError as error:
        said = str(error)
    assert words in said
    if name == "events/energy-pkg.unit":
        assert "left_out:power/energy-pkg" in said


def test_two_cpus_of_one_package_in_a_cpumask_are_one_counter(rig: MakeRig) -> None:
    made = rig("amd")
    (made.devices.root / "sys/bus/event_source/devices/power/cpumask").write_text("0-1\n", encoding="ascii")
    info = made.info(interface="perf")
    assert [channel.name for channel in info.channels] == ["package-0"]
    assert "never counted twice" in info.details["left_out:package-0 on CPU 1"]


# --- what goes wrong while it is read ----------------------------------------------------------------


@pytest.mark.parametrize("interface", BOTH)
def test_a_failing_read_is_a_gap_and_costs_no_energy(rig: MakeRig, interface: str) -> None:
    made = rig("client")

    def fail(k: int) -> None:
        made.devices.mend("package-0")
        if k == 1:
            made.devices.fail("package-0", errno.EIO)

    trace = made.record([1.0, 0.5, 1.0], fail, "package-0", interface=interface)
    (gap,) = trace.gaps
    assert (gap.reason, gap.lost) == ("package-0: EIO", 25)
    assert energy_j(trace, "package-0") == pytest.approx(40.0 * float(trace.t_ns[-1] - trace.t_ns[0]) / 1e9, abs=0.2)


@pytest.mark.parametrize("interface", BOTH)
def test_a_counter_that_starts_anew_is_a_reset_and_not_a_wrap(rig: MakeRig, interface: str) -> None:
    made = rig("client")

    def reset(k: int) -> None:
        if k == 1:
            made.devices.reset("package-0")

    trace = made.record([1.0, 1.0], reset, "package-0", interface=interface)
    (gap,) = trace.gaps
    assert gap.reason.startswith("reset: package-0 went from ")
    assert gap.reason.endswith(" counts, more than can have been drawn")
    assert 78.0 < energy_j(trace, "package-0") < 80.0


def test_an_event_that_was_not_counted_all_the_time_is_no_reading(rig: MakeRig) -> None:
    made = rig("client")

    def lose(k: int) -> None:
        made.devices.idle_ns = k * 5 * MS

    trace = made.record([1.0, 1.0], lose, "package-0", interface="perf")
    (gap,) = trace.gaps
    assert gap.reason.startswith("package-0: the event was counted ")
    assert gap.begin_ns == trace.t_ns[-1]


def test_a_stuck_package_is_counted_as_such(rig: MakeRig) -> None:
    made = rig("client")
    made.devices.set_energy_j("package-0/uncore", 5.0)
    made.devices.stick("package-0/uncore")
    trace = made.record([1.0], None, "package-0", "package-0/uncore", interface="msr")
    assert trace.counts["unchanged:package-0/uncore"] == 50
    assert "unchanged:package-0" not in trace.counts


# --- which interface is read -------------------------------------------------------------------------


def test_one_interface_is_chosen_in_a_fixed_order(tmp_path: Path) -> None:
    PowercapTree(tmp_path, "client").create().close()
    rig = Rig(tmp_path / "bare", "client")
    both = SimulatedDevices(tmp_path, "client", now_ns=rig.clock.now_ns)
    both_files = tmp_path / "sys/bus/event_source/devices"
    (rig.devices.root / "sys/bus/event_source/devices").rename(_made(both_files.parent) / "devices")
    (rig.devices.root / "sys/devices/system").rename(_made(tmp_path / "sys/devices") / "system")
    info = open_meter(MeterRequest("cpu", sysfs_root=tmp_path), clock=rig.clock, calls=both).open()
    assert info.details["interface"] == "powercap" and not any(k.startswith("passed_over") for k in info.details)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_what_was_passed_over_is_said(rig: MakeRig) -> None:
    assert "no RAPL zone" in rig("client").info().details["passed_over:powercap"]
    details = rig("client", pmus=False).info().details
    assert details["interface"] == "msr"
    assert "no perf events" in details["passed_over:perf"]


def test_amd_energy_of_hwmon_is_refused_by_name(rig: MakeRig) -> None:
    """Linux 5.8 to 5.12: its counters are read as registers or events of the same kernels, never through it."""
    made = rig("amd", pmus=False)
    made.devices.absent = True
    for number, name in enumerate(("nvme", "amd_energy")):
        folder = _made(made.devices.root / f"sys/class/hwmon/hwmon{number}")
        (folder / "name").write_text(name + "\n", encoding="ascii")
    with pytest.raises(DeviceError, match="hwmon1 is amd_energy, which is not read here") as caught:
        made.info()
    assert "sudo modprobe msr" in caught.value.hint
    made.devices.absent = False
    assert made.info().details["interface"] == "msr"


def test_a_channel_that_only_another_interface_has_is_found_there(rig: MakeRig) -> None:
    """powercap and `power` know no single cores; a bench that names one gets it where it is."""
    made = rig("amd", pmus=False)
    assert made.info("package-0/core-2").details["interface"] == "msr"


def test_an_unknown_interface_is_refused() -> None:
    with pytest.raises(SpecError, match="interface is 'sysfs'"):
        open_meter(MeterRequest("cpu", options={"interface": "sysfs"}))


Options = dict[str, Any]


@pytest.mark.parametrize(
    ("options", "words"), [({"edge_s": -1.0}, "edge_s is -1"), ({"edge_s": 0.02}, "more than half of poll_s")]
)
def test_wrong_edges_are_refused(options: Options, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        open_meter(MeterRequest("cpu", options=options))
