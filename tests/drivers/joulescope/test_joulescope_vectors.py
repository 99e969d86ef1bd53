"""The messages that our codec reads and our simulator sends are those of the unmodified package."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from drivers.joulescope.codec import StatisticsCodec
from drivers.joulescope.meter import PACKAGE, find_attached, open_meter
from drivers.simulated.joulescope import Instrument, simulator
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock

package = pytest.importorskip(PACKAGE, reason="needs the extra joulescope: pip install 'joulebench[joulescope]'")


def value(k: int = 1, **changed: Any) -> dict[str, Any]:
    """A message as the package's binding builds it (its statistics branch), of 10 ms at 1 MS/s and 2 W."""
    counts = round(0.02 * k * 2**27)
    return {
        "time": {
            "samples": {"value": [10_000 * (k - 1), 10_000 * k], "units": "samples"},
            "sample_freq": {"value": 1_000_000, "units": "Hz"},
            "accum_samples": {"value": [changed.get("since", 0), 10_000 * k], "units": "samples"},
        },
        "signals": {"power": {"avg": {"value": changed.get("power_w", 2.0), "units": "W"}}},
        "accumulators": {
            "energy": {"value": counts * 2**-27, "units": "J", "int_value": counts, "int_scale": 2**-27},
        },
    }


def instrument() -> tuple[Instrument, VirtualClock]:
    clock = VirtualClock()
    begin_ns = clock.now_ns()
    return Instrument(lambda t_ns: 2.0 * (t_ns - begin_ns) * 1e-9, clock), clock


def test_the_fields_are_those_that_the_packages_binding_fills() -> None:
    source = Path(package.__file__).parent / "binding.c"
    if not source.is_file():
        pytest.skip("this build of the package comes without the source of its binding")
    text = "\n".join(re.findall(r"^ \* (.*)$", source.read_text("utf-8", errors="replace"), re.M))
    begin = text.index("JSDRV_PAYLOAD_TYPE_STATISTICS")
    there = text[begin : text.index("JSDRV_PAYLOAD_TYPE_BUFFER_INFO", begin)]

    def names(part: Any) -> set[str]:
        return set(part) | {n for v in part.values() for n in names(v)} if isinstance(part, dict) else set()

    simulated, _ = instrument()
    for name in names(value()) | names(simulated._value(0, 1000)):
        assert f"'{name}'" in there, f"the package's statistics have no field {name!r}"
    assert "'int_scale': 2 ** -27" in there


def test_the_simulator_has_the_packages_methods() -> None:
    simulated = simulator()
    for name in ("device_paths", "open", "close", "publish", "query", "subscribe", "unsubscribe", "finalize"):
        theirs = [
            p for p in inspect.signature(getattr(package.Driver, name)).parameters if p not in ("self", "timeout")
        ]
        ours = [p for p in inspect.signature(getattr(simulated, name)).parameters if p != "self"]
        assert len(theirs) == len(ours), f"{name}{theirs} of the package, {name}{ours} here"


def test_the_installed_package_finds_nothing_here_and_says_so() -> None:
    if not find_attached(MeterRequest("js")):
        with pytest.raises(DeviceError, match="0 Joulescopes match"):
            open_meter(MeterRequest("js")).open()


def test_rows_are_the_accumulator_at_the_ends_of_windows() -> None:
    codec = StatisticsCodec()
    rows = [codec.feed(value(k)) for k in (1, 2, 2, 5)]
    assert [(r.t_ns, round(r.raw * r.scale_j, 6)) for r in rows if r] == [
        (10_000_000, 0.02),
        (20_000_000, 0.04),
        (50_000_000, 0.1),
    ]
    assert codec.take() == ([], {"repeats": 1})


def test_missing_samples_and_a_cleared_accumulator_are_gaps_that_hold_no_energy() -> None:
    codec = StatisticsCodec()
    assert codec.feed(value(1)) is not None
    assert codec.feed(value(2, power_w=float("nan"))) is None
    assert codec.feed(value(3, since=20_000)) is not None
    gaps, counts = codec.take()
    assert [g.reason.split(":")[0] for g in gaps] == ["reset", "reset"]
    assert [(g.begin_ns, g.end_ns) for g in gaps] == [(10_000_000, 20_000_000), (20_000_000, 30_000_000)]
    assert counts == {"windows_with_missing_samples": 1, "resets": 1}


def test_an_accumulator_that_counts_in_another_unit_is_refused_though_its_fields_agree() -> None:
    codec, later = StatisticsCodec(), value(2)
    codec.feed(value(1))
    later["accumulators"]["energy"] |= {
        "int_value": later["accumulators"]["energy"]["int_value"] * 16,
        "int_scale": 2**-31,
    }
    with pytest.raises(DeviceError, match="counts energy in"):
        codec.feed(later)


def test_opening_leaves_the_boards_supply_alone() -> None:
    simulated, clock = instrument()
    meter = open_meter(MeterRequest("js", stand_ins={PACKAGE: simulator(simulated)}), clock=clock)
    meter.open()
    meter.close()
    assert simulated.settings["s/i/range/mode"] == "auto"
    simulated.open(simulated.path, "defaults")  # what the package does unless told otherwise
    assert simulated.settings["s/i/range/mode"] == "off"


@pytest.mark.parametrize("options", [{"rate": 3}, {"rate_hz": 0}, {"rate_hz": True}, {"device": ""}])
def test_wrong_options_of_a_joulescope_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        open_meter(MeterRequest("js", options))
