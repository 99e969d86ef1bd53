"""Every way in which RAPL fails on real machines: no joule may come of it, and no 0."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import PowercapTree
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S, VirtualClock

MS = 1_000_000
Machine = Callable[[str], PowercapTree]
MakeBench = Any  # the class Bench of conftest.py


def test_permission_denied_says_what_to_type_and_what_it_means(machine: Machine, make_bench: MakeBench) -> None:
    bench = make_bench(machine("client"), {}, deny=True)
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


def test_a_channel_the_machine_lacks_is_named_with_those_it_has(machine: Machine, make_bench: MakeBench) -> None:
    with pytest.raises(DeviceError, match=r"no RAPL channel 'package-0/dram'; it has \['package-0', "):
        make_bench(machine("client"), {}, channels=("package-0/dram",)).meter.open()


def test_an_unreadable_range_is_refused_not_ignored(machine: Machine, make_bench: MakeBench) -> None:
    tree = machine("client")
    (tree.class_dir / "intel-rapl:0/max_energy_range_uj").unlink()
    with pytest.raises(DeviceError, match="could not be told from a reset"):
        make_bench(tree, {}, channels=("package-0",)).meter.open()
    details = make_bench(tree, {}).meter.open().details  # nobody asked for it by name: left out, and said so
    assert "max_energy_range_uj" in details["left_out:package-0"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENODATA])
def test_a_failed_read_is_a_gap_and_never_a_zero(machine: Machine, make_bench: MakeBench, code: int) -> None:
    bench = make_bench(machine("client"), {"package-0": 50.0, "psys": 80.0}, channels=("package-0", "psys"))
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


def test_a_zone_that_vanishes_and_returns_is_read_again(machine: Machine, make_bench: MakeBench) -> None:
    tree = machine("server")
    bench = make_bench(tree, {"package-1": 50.0}, channels=("package-1",))
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


def test_a_zone_that_stays_away_leaves_an_open_gap_to_the_end(machine: Machine, make_bench: MakeBench) -> None:
    tree = machine("server")
    bench = make_bench(tree, {"package-0": 50.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    tree.vanish("package-0")
    bench.run(2.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.begin_ns == trace.t_ns[-1]
    assert gap.end_ns == bench.clock.now_ns()


def test_a_counter_that_started_anew_is_a_gap_and_not_a_wrap(machine: Machine, make_bench: MakeBench) -> None:
    tree = machine("client")
    bench = make_bench(tree, {"package-0": 50.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    tree.reset("package-0")  # 66 kJ -> 0: taken for a wrap it would be 196 kJ
    bench.run(1.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.reason.startswith("reset: package-0 went from 66047")
    assert trace.counts["jumps:package-0"] == 1
    assert gap.end_ns - gap.begin_ns == 20 * MS


def test_a_counter_that_stands_still_is_counted(machine: Machine, make_bench: MakeBench) -> None:
    tree = machine("client")
    tree.stick("package-0/uncore")
    bench = make_bench(tree, {"package-0": 50.0, "package-0/uncore": 5.0})
    trace = bench.record(1.0)
    assert trace.counts["unchanged:package-0/uncore"] == 50
    assert "unchanged:package-0" not in trace.counts
    assert make_bench.gained_j(trace, "package-0/uncore") == 0.0


def test_a_reset_hidden_by_failing_reads_is_found_behind_them(machine: Machine, make_bench: MakeBench) -> None:
    tree = machine("client")
    bench = make_bench(tree, {"package-0": 50.0}, channels=("package-0",))
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


def test_failing_reads_cost_no_energy(machine: Machine, make_bench: MakeBench) -> None:
    """The counter goes on: the difference across the gap is what was used meanwhile."""
    bench = make_bench(machine("client"), {"package-0": 50.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    bench.files.fail("package-0", errno.EIO)
    bench.run(0.5)
    bench.files.mend("package-0")
    bench.run(1.0)
    trace = bench.stop(info)
    assert [gap.reason for gap in trace.gaps] == ["package-0: EIO"]
    assert make_bench.gained_j(trace, "package-0") == pytest.approx(50.0 * make_bench.seconds(trace), abs=0.1)


def test_a_reader_held_up_longer_than_a_wrap_leaves_a_gap(machine: Machine, make_bench: MakeBench) -> None:
    bench = make_bench(machine("amd"), {"package-0": 100.0}, {"max_power_w": 400.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    bench.clock.sleep_until(bench.clock.now_ns() + 200 * NS_PER_S)  # 65.5 kJ last 164 s at 400 W
    bench.run(1.0)
    trace = bench.stop(info)
    (gap,) = trace.gaps
    assert gap.reason == "reset: not read for 200.0 s, a counter may have wrapped more than once"


def test_a_short_delay_costs_readings_but_no_energy(machine: Machine, make_bench: MakeBench) -> None:
    bench = make_bench(machine("client"), {"package-0": 100.0}, channels=("package-0",))
    info = bench.start()
    bench.run(1.0)
    bench.clock.sleep_until(bench.clock.now_ns() + 3 * NS_PER_S)
    bench.run(1.0)
    trace = bench.stop(info)
    assert not trace.gaps
    assert trace.counts["late_polls"] == pytest.approx(150, abs=2)
    assert make_bench.gained_j(trace, "package-0") == pytest.approx(100.0 * make_bench.seconds(trace), abs=0.2)


def test_a_value_beyond_the_range_is_no_reading(machine: Machine, make_bench: MakeBench) -> None:
    tree = machine("client")
    bench = make_bench(tree, {"psys": 10.0}, channels=("package-0",))
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
