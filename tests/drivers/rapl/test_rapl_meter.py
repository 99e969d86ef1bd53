"""The shipped RAPL driver on powercap trees of several machines, in virtual time."""

import errno
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from drivers.rapl import codec
from drivers.rapl.acquisition import column_name
from drivers.rapl.meter import Rapl, open_meter
from drivers.simulated.powercap import FaultyFiles, PowercapTree, simulator
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, PolledMeter, StreamingMeter
from harness.core.trace import Block, MeterInfo, ReadingKind, Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock

MS = 1_000_000
Watts = Mapping[str, float]


@dataclass
class Bench:
    """A driver on a tree that draws constant power a zone; every test turns one thing wrong."""

    tree: PowercapTree
    power_w: Watts
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    deny: bool = False

    def __post_init__(self) -> None:
        self.clock = VirtualClock()
        self.origin_ns = self.clock.now_ns()
        self.files = FaultyFiles(self.tree, deny=self.deny)
        self.blocks: list[Block] = []
        request = MeterRequest(
            "rapl",
            options=self.options,
            rails=tuple((channel, "rail") for channel in self.channels),
            sysfs_root=self.tree.root,
            simulated=True,
        )
        self.meter: Rapl = open_meter(request, clock=self.clock, files=self.files)

    def energy_j(self, zone: str) -> float:
        return self.power_w[zone] * (self.clock.now_ns() - self.origin_ns) / NS_PER_S

    def move(self, _now_ns: int = 0) -> None:
        for zone in self.power_w:
            self.tree.set_energy_j(zone, self.energy_j(zone))

    def start(self, *, update_ns: int = MS) -> MeterInfo:
        info = self.meter.open()
        self.clock.subscribe(self.move, period_ns=update_ns)
        self.meter.start()
        return info

    def run(self, seconds: float) -> None:
        block = self.meter.step(self.clock.now_ns() + round(seconds * NS_PER_S))
        if block is not None:
            self.blocks.append(block)

    def stop(self, info: MeterInfo) -> Trace:
        block = self.meter.stop()
        if block is not None:
            self.blocks.append(block)
        self.meter.close()
        return join_blocks(info, self.blocks)

    def record(self, seconds: float, *, update_ns: int = MS) -> Trace:
        info = self.start(update_ns=update_ns)
        self.run(seconds)
        return self.stop(info)


def gained_j(trace: Trace, channel: str) -> float:
    """Energy between first and last reading, wraps counted."""
    spec = trace.info.channel(channel)
    assert spec.modulus_raw is not None
    return float(codec.unwrapped_uj(trace.columns[spec.columns[0]], spec.modulus_raw)[-1]) * 1e-6


def seconds(trace: Trace) -> float:
    return float(trace.t_ns[-1] - trace.t_ns[0]) / NS_PER_S


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], PowercapTree]]:
    trees: list[PowercapTree] = []

    def make(layout: str) -> PowercapTree:
        trees.append(simulator(tmp_path / layout, layout=layout))
        return trees[-1]

    yield make
    for tree in trees:
        tree.close()


Machine = Callable[[str], PowercapTree]


def test_is_a_polled_meter_and_no_streaming_one(machine: Machine) -> None:
    meter = Bench(machine("client"), {}).meter
    assert isinstance(meter, PolledMeter)
    assert not isinstance(meter, StreamingMeter)
    assert meter.recovered is False


@pytest.mark.parametrize(
    ("layout", "channels"),
    [
        ("client", ["package-0", "package-0/core", "package-0/uncore", "psys"]),
        ("server", ["package-0", "package-0/dram", "package-1", "package-1/dram"]),
        (
            "multi-die",
            [f"package-{p}-die-{d}{leaf}" for p in (0, 1) for d in (0, 1) for leaf in ("", "/dram")],
        ),
        ("amd", ["package-0", "package-0/core"]),
        ("sapphire-rapids", ["package-0", "package-0/dram", "psys", "package-1", "package-1/dram"]),
    ],
)
def test_channels_of_real_machines(machine: Machine, layout: str, channels: list[str]) -> None:
    info = Bench(machine(layout), {}).meter.open()
    assert [channel.name for channel in info.channels] == channels
    assert info.clock == "host"
    assert info.simulated
    for channel in info.channels:
        assert channel.quantity == "energy_j"
        assert channel.reading.kind is ReadingKind.COUNTER
        assert channel.modulus_raw is not None
        assert channel.accuracy is not None
        assert channel.accuracy.gain_rel > 0
        assert channel.accuracy.source.startswith("assumed")


def test_two_packages_and_their_dram_at_their_own_units(machine: Machine) -> None:
    power_w = {"package-0": 150.0, "package-0/dram": 12.5, "package-1": 90.0, "package-1/dram": 7.25}
    trace = Bench(machine("server"), power_w).record(60.0)
    for channel, watts in power_w.items():
        assert gained_j(trace, channel) == pytest.approx(watts * seconds(trace), abs=0.2 * 2)
    assert trace.info.details["unit_uj:package-0"] == "61.035"
    assert trace.info.details["unit_uj:package-0/dram"] == "15.3"
    assert not trace.gaps


@pytest.mark.parametrize(
    ("layout", "zone"), [("client", "package-0"), ("amd", "package-0"), ("server", "package-0/dram")]
)
def test_many_wraps_lose_no_joule(machine: Machine, layout: str, zone: str) -> None:
    """3 h at 900 W are 9.7 MJ: 37 turns of an Intel package, 148 of an AMD one or a server's DRAM."""
    tree = machine(layout)
    bench = Bench(tree, {zone: 900.0}, {"poll_s": 2.0}, channels=(zone,))
    trace = bench.record(3 * 3600.0, update_ns=500 * MS)
    raw = trace.columns[column_name(zone)]
    wraps = int(np.count_nonzero(np.diff(raw) < 0))
    assert wraps >= 35
    assert gained_j(trace, zone) == pytest.approx(900.0 * seconds(trace), rel=1e-6)
    assert not trace.gaps


def test_one_joule_steps_of_a_server_psys(machine: Machine) -> None:
    trace = Bench(machine("sapphire-rapids"), {"psys": 600.0}, channels=("psys",)).record(20.0)
    raw = trace.columns["psys:energy_uj"]
    assert set(np.unique(raw % 1_000_000)) == {0}
    assert gained_j(trace, "psys") == pytest.approx(600.0 * seconds(trace), abs=1.5)
    assert trace.info.details["unit_uj:psys"] == "1e+06"
    assert not trace.gaps


def test_psys_and_packages_say_who_contains_whom(machine: Machine) -> None:
    details = Bench(machine("client"), {}).meter.open().details
    assert details["part_of:package-0/core"] == "package-0"
    assert details["part_of:package-0"] == "psys"
    assert "part_of:psys" not in details


def test_only_bound_channels_are_read(machine: Machine) -> None:
    trace = Bench(machine("client"), {"package-0": 20.0}, channels=("package-0",)).record(0.5)
    assert list(trace.columns) == ["package-0:energy_uj"]


def test_a_reading_every_poll_with_whole_nanoseconds(machine: Machine) -> None:
    trace = Bench(machine("client"), {"package-0": 20.0}).record(1.0)
    assert trace.t_ns.dtype == np.int64
    assert set(np.diff(trace.t_ns)) == {20 * MS}
    assert len(trace) == 51
    assert trace.values("package-0:energy_uj")[0] == pytest.approx(65_997.277, abs=0.001)


def test_permission_denied_says_what_to_type_and_what_it_means(machine: Machine) -> None:
    bench = Bench(machine("client"), {}, deny=True)
    with pytest.raises(DeviceError) as caught:
        bench.meter.open()
    assert caught.value.message.endswith("intel-rapl:0/energy_uj may be read by root only (permission denied)")
    for words in ("sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj", "/etc/udev/rules.d/", "PLATYPUS"):
        assert words in caught.value.hint
    bench.files.deny = False
    assert bench.meter.open().channels  # nothing was left half open


def test_no_powercap_says_what_to_check(tmp_path: Path) -> None:
    meter = open_meter(MeterRequest("rapl", sysfs_root=tmp_path), clock=VirtualClock())
    with pytest.raises(DeviceError) as caught:
        meter.open()
    assert "no RAPL zone" in caught.value.message
    assert "virtual machine" in caught.value.hint


def test_a_channel_the_machine_lacks_is_named_with_those_it_has(machine: Machine) -> None:
    with pytest.raises(DeviceError, match=r"no RAPL channel 'package-0/dram'; it has \['package-0', "):
        Bench(machine("client"), {}, channels=("package-0/dram",)).meter.open()


def test_an_unreadable_range_is_refused_not_ignored(machine: Machine) -> None:
    tree = machine("client")
    (tree.class_dir / "intel-rapl:0/max_energy_range_uj").unlink()
    with pytest.raises(DeviceError, match="could not be told from a reset"):
        Bench(tree, {}, channels=("package-0",)).meter.open()
    details = Bench(tree, {}).meter.open().details  # nobody asked for it by name: left out, and said so
    assert "max_energy_range_uj" in details["left_out:package-0"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODATA])
def test_a_failed_read_is_a_gap_and_never_a_zero(machine: Machine, code: int) -> None:
    bench = Bench(machine("client"), {"package-0": 50.0, "psys": 80.0}, channels=("package-0", "psys"))
    info = bench.start()
    bench.run(1.0)
    bench.files.fail("psys", code)
    bench.run(0.5)
    bench.files.mend("psys")
    bench.run(1.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.reason == f"psys: {errno.errorcode[code]}"
    assert gap.lost == 25
    assert gap.end_ns - gap.begin_ns == 26 * 20 * MS
    assert np.all(np.diff(trace.columns["psys:energy_uj"]) > 0)
    assert np.all((trace.t_ns <= gap.begin_ns) | (trace.t_ns >= gap.end_ns))
    assert trace.counts["failed_passes"] == 25


def test_a_zone_that_vanishes_and_returns_is_read_again(machine: Machine) -> None:
    tree = machine("server")
    bench = Bench(tree, {"package-1": 50.0}, channels=("package-1",))
    info = bench.start()
    bench.run(1.0)
    tree.vanish("package-1")
    bench.run(1.0)
    tree.come_back("package-1")
    tree.reset("package-1")
    bench.run(1.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.reason == "reset: package-1 was gone and may have started anew"
    assert gap.lost >= 50
    after = trace.t_ns >= gap.end_ns
    assert np.count_nonzero(after) >= 48
    assert trace.columns["package-1:energy_uj"][after][0] < 2_000_000  # it started anew behind the gap


def test_a_zone_that_stays_away_leaves_an_open_gap_to_the_end(machine: Machine) -> None:
    tree = machine("server")
    bench = Bench(tree, {"package-0": 50.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    tree.vanish("package-0")
    bench.run(2.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.begin_ns == trace.t_ns[-1]
    assert gap.end_ns == bench.clock.now_ns()


def test_a_counter_that_started_anew_is_a_gap_and_not_a_wrap(machine: Machine) -> None:
    tree = machine("client")
    bench = Bench(tree, {"package-0": 50.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    tree.reset("package-0")  # 66 kJ -> 0: taken for a wrap it would be 196 kJ
    bench.run(1.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.reason.startswith("reset: package-0 went from 66047")
    assert trace.counts["jumps:package-0"] == 1
    assert gap.end_ns - gap.begin_ns == 20 * MS


def test_a_counter_that_stands_still_is_counted(machine: Machine) -> None:
    tree = machine("client")
    tree.stick("package-0/uncore")
    bench = Bench(tree, {"package-0": 50.0, "package-0/uncore": 5.0})
    trace = bench.record(1.0)
    assert trace.counts["unchanged:package-0/uncore"] == 50
    assert "unchanged:package-0" not in trace.counts
    assert gained_j(trace, "package-0/uncore") == 0.0


def test_a_reset_hidden_by_failing_reads_is_found_behind_them(machine: Machine) -> None:
    tree = machine("client")
    bench = Bench(tree, {"package-0": 50.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    bench.files.fail("package-0", errno.EIO)
    bench.run(0.5)
    tree.reset("package-0")
    bench.files.mend("package-0")
    bench.run(1.0)
    (gap,) = bench.stop(info).gaps
    assert gap.reason.startswith("reset: package-0 went from")
    assert gap.lost == 25


def test_failing_reads_cost_no_energy(machine: Machine) -> None:
    """The counter goes on: the difference across the gap is what was used meanwhile."""
    bench = Bench(machine("client"), {"package-0": 50.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    bench.files.fail("package-0", errno.EIO)
    bench.run(0.5)
    bench.files.mend("package-0")
    bench.run(1.0)
    trace = bench.stop(info)
    assert [gap.reason for gap in trace.gaps] == ["package-0: EIO"]
    assert gained_j(trace, "package-0") == pytest.approx(50.0 * seconds(trace), abs=0.1)


def test_a_reader_held_up_longer_than_a_wrap_leaves_a_gap(machine: Machine) -> None:
    bench = Bench(machine("amd"), {"package-0": 100.0}, {"max_power_w": 400.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    bench.clock.sleep_until(bench.clock.now_ns() + 200 * NS_PER_S)  # 65.5 kJ last 164 s at 400 W
    bench.run(1.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.reason == "reset: not read for 200.0 s, a counter may have wrapped more than once"


def test_a_short_delay_costs_readings_but_no_energy(machine: Machine) -> None:
    bench = Bench(machine("client"), {"package-0": 100.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    bench.clock.sleep_until(bench.clock.now_ns() + 3 * NS_PER_S)
    bench.run(1.0)
    trace = bench.stop(info)
    assert not trace.gaps
    assert trace.counts["late_polls"] == pytest.approx(150, abs=2)
    assert gained_j(trace, "package-0") == pytest.approx(100.0 * seconds(trace), abs=0.2)


def test_polling_too_slowly_to_see_every_wrap_is_refused(machine: Machine) -> None:
    bench = Bench(machine("amd"), {}, {"poll_s": 60.0, "max_power_w": 400.0})
    with pytest.raises(SpecError, match=r"poll_s is 60 s, but package-0 can wrap in 164 s at 400 W"):
        bench.meter.open()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pol_s": 0.1}, "no option 'pol_s'"),
        ({"poll_s": 0}, "poll_s is 0"),
        ({"poll_s": "fast"}, "poll_s is 'fast'"),
        ({"poll_s": True}, "poll_s is True"),
        ({"poll_s": float("nan")}, "poll_s is nan"),
        ({"poll_s": 0.0005}, "change every 0.001 s only"),
        ({"max_power_w": -1}, "max_power_w is -1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_opened(options: dict[str, float], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        open_meter(MeterRequest("rapl", options=options))


def test_a_value_beyond_the_range_is_no_reading(machine: Machine) -> None:
    tree = machine("client")
    bench = Bench(tree, {"psys": 10.0}, channels=("package-0",))
    info = bench.start()
    bench.run(0.2)
    path = tree.energy_path("package-0")
    kept = path.read_bytes()
    path.write_bytes(b"999999999999\n")
    bench.run(0.2)
    path.write_bytes(kept)
    bench.run(0.2)
    trace = bench.stop(info)
    assert "beyond its range" in trace.gaps[0].reason
    assert trace.columns["package-0:energy_uj"].max() < 262_143_328_850


def test_stop_and_close_may_come_twice_and_a_meter_opens_again(machine: Machine) -> None:
    bench = Bench(machine("client"), {"package-0": 10.0})
    first = bench.record(0.2)
    assert bench.meter.stop() is None
    bench.meter.close()
    bench.blocks.clear()
    second = bench.record(0.2)
    assert len(first) == len(second) == 11
    assert second.t_ns[0] >= first.t_ns[-1]


def test_blocks_in_many_steps_join_to_the_same_trace(machine: Machine) -> None:
    bench = Bench(machine("client"), {"package-0": 33.0})
    info = bench.start()
    for _ in range(40):
        bench.run(0.05)
    trace = bench.stop(info)
    assert len(trace) == 101
    assert len([p for p in trace.calibration if p.column == "package-0:energy_uj"]) == 1
    assert not np.isnan(trace.values("package-0:energy_uj")).any()


def test_starting_an_unopened_meter_is_said_in_words(machine: Machine) -> None:
    with pytest.raises(DeviceError, match="is not open"):
        Bench(machine("client"), {}).meter.start()
