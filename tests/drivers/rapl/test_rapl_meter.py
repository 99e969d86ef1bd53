"""The shipped RAPL driver on powercap trees of several machines, in virtual time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import PowercapTree
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, PolledMeter, StreamingMeter
from harness.core.trace import ReadingKind

MS = 1_000_000
Machine = Callable[[str], PowercapTree]
MakeBench = Any  # the class Bench of conftest.py


def test_is_a_polled_meter_and_no_streaming_one(machine: Machine, make_bench: MakeBench) -> None:
    meter = make_bench(machine("client"), {}).meter
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
def test_channels_of_real_machines(machine: Machine, make_bench: MakeBench, layout: str, channels: list[str]) -> None:
    info = make_bench(machine(layout), {}).meter.open()
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


def test_two_packages_and_their_dram_at_their_own_units(machine: Machine, make_bench: MakeBench) -> None:
    power_w = {"package-0": 150.0, "package-0/dram": 12.5, "package-1": 90.0, "package-1/dram": 7.25}
    trace = make_bench(machine("server"), power_w).record(60.0)
    for channel, watts in power_w.items():
        assert make_bench.gained_j(trace, channel) == pytest.approx(watts * make_bench.seconds(trace), abs=0.2 * 2)
    assert trace.info.details["unit_uj:package-0"] == "61.035"
    assert trace.info.details["unit_uj:package-0/dram"] == "15.3"
    assert not trace.gaps


@pytest.mark.parametrize(
    ("layout", "zone"), [("client", "package-0"), ("amd", "package-0"), ("server", "package-0/dram")]
)
def test_many_wraps_lose_no_joule(machine: Machine, make_bench: MakeBench, layout: str, zone: str) -> None:
    """3 h at 900 W are 9.7 MJ: 37 turns of an Intel package, 148 of an AMD one or a server's DRAM."""
    tree = machine(layout)
    bench = make_bench(tree, {zone: 900.0}, {"poll_s": 2.0}, channels=(zone,))
    trace = bench.record(3 * 3600.0, update_ns=500 * MS)
    raw = trace.columns[f"{zone}:energy_uj"]
    wraps = int(np.count_nonzero(np.diff(raw) < 0))
    assert wraps >= 35
    assert make_bench.gained_j(trace, zone) == pytest.approx(900.0 * make_bench.seconds(trace), rel=1e-6)
    assert not trace.gaps


def test_one_joule_steps_of_a_server_psys(machine: Machine, make_bench: MakeBench) -> None:
    trace = make_bench(machine("sapphire-rapids"), {"psys": 600.0}, channels=("psys",)).record(20.0)
    raw = trace.columns["psys:energy_uj"]
    assert set(np.unique(raw % 1_000_000)) == {0}
    assert make_bench.gained_j(trace, "psys") == pytest.approx(600.0 * make_bench.seconds(trace), abs=1.5)
    assert trace.info.details["unit_uj:psys"] == "1e+06"
    assert not trace.gaps


def test_psys_and_packages_say_who_contains_whom(machine: Machine, make_bench: MakeBench) -> None:
    details = make_bench(machine("client"), {}).meter.open().details
    assert details["part_of:package-0/core"] == "package-0"
    assert details["part_of:package-0"] == "psys"
    assert "part_of:psys" not in details


def test_only_bound_channels_are_read(machine: Machine, make_bench: MakeBench) -> None:
    trace = make_bench(machine("client"), {"package-0": 20.0}, channels=("package-0",)).record(0.5)
    assert list(trace.columns) == ["package-0:energy_uj"]


def test_a_reading_every_poll_with_whole_nanoseconds(machine: Machine, make_bench: MakeBench) -> None:
    trace = make_bench(machine("client"), {"package-0": 20.0}).record(1.0)
    assert trace.t_ns.dtype == np.int64
    assert set(np.diff(trace.t_ns)) == {20 * MS}
    assert len(trace) == 51
    assert trace.values("package-0:energy_uj")[0] == pytest.approx(65_997.277, abs=0.001)


def test_polling_too_slowly_to_see_every_wrap_is_refused(machine: Machine, make_bench: MakeBench) -> None:
    bench = make_bench(machine("amd"), {}, {"poll_s": 60.0, "max_power_w": 400.0})
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


def test_stop_and_close_may_come_twice_and_a_meter_opens_again(machine: Machine, make_bench: MakeBench) -> None:
    bench = make_bench(machine("client"), {"package-0": 10.0})
    first = bench.record(0.2)
    assert bench.meter.stop() is None
    bench.meter.close()
    bench.blocks.clear()
    second = bench.record(0.2)
    assert len(first) == len(second) == 11
    assert second.t_ns[0] >= first.t_ns[-1]


def test_blocks_in_many_steps_join_to_the_same_trace(machine: Machine, make_bench: MakeBench) -> None:
    bench = make_bench(machine("client"), {"package-0": 33.0})
    info = bench.start()
    for _ in range(40):
        bench.run(0.05)
    trace = bench.stop(info)
    assert len(trace) == 101
    assert len([p for p in trace.calibration if p.column == "package-0:energy_uj"]) == 1
    assert not np.isnan(trace.values("package-0:energy_uj")).any()


def test_starting_an_unopened_meter_is_said_in_words(machine: Machine, make_bench: MakeBench) -> None:
    with pytest.raises(DeviceError, match="is not open"):
        make_bench(machine("client"), {}).meter.start()
