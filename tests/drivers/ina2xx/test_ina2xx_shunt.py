"""Which shunt is believed: the trap of the kernel's 10 mohm, overrides on both generations, the bug, declarations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.simulated.ina2xx.kernel_files import BUGGY, NEW, OLD
from drivers.simulated.ina2xx.layouts import NEW_RELEASE, OLD_RELEASE, Layout, Wired
from harness.core.errors import SpecError

Make = Callable[..., Any]


def one(model: str, shunt_ohm: float, kernel_uohm: int, generation: str = NEW, **more: Any) -> Layout:
    release = OLD_RELEASE if generation == OLD else "4.17.2" if generation == BUGGY else NEW_RELEASE
    wired = Wired(model, "1-0040", shunt_ohm=(shunt_ohm,), kernel_uohm=(kernel_uohm,), generation=generation, **more)
    return Layout((wired,), release)


def mean_w(bench: Any, channel: str = "main") -> float:
    return float(np.mean(bench.record(1.0).power_w(channel)))


@pytest.mark.parametrize("model", ["ina219", "ina226"])
@pytest.mark.parametrize("generation", [OLD, NEW])
def test_the_kernels_default_is_refused_unless_somebody_said_so(make_held: Make, model: str, generation: str) -> None:
    layout = one(model, 0.1, 10_000, generation)
    with pytest.raises(SpecError, match="ten times too large") as caught:
        make_held(layout)
    assert "shunt_ohm" in caught.value.hint
    assert make_held(layout, shunt_ohm=0.01).info.details["shunt_ohm:main"] == "0.01 (declared)"
    in_tree = make_held(one(model, 0.01, 10_000, generation, declared=True))
    assert in_tree.info.details["shunt_ohm:main"] == "0.01 (device tree)"


@pytest.mark.parametrize("driver", ["iio", "iio-old"])
def test_the_iio_driver_has_the_same_default(make_held: Make, driver: str) -> None:
    with pytest.raises(SpecError, match="10 mohm"):
        make_held(one("ina219", 0.1, 10_000, driver=driver))
    assert mean_w(make_held(one("ina219", 0.1, 10_000, driver=driver), shunt_ohm=0.1)) == pytest.approx(2.5, rel=2e-3)


@pytest.mark.parametrize("generation", [OLD, NEW])
@pytest.mark.parametrize(
    ("model", "true_ohm", "kernel_uohm", "current_a"),
    [("ina219", 0.1, 10_000, 1.1), ("ina219", 0.1, 100_000, 1.1), ("ina226", 0.1, 10_000, 0.7),
     ("ina226", 0.02, 10_000, 1.1), ("ina226", 0.1, 100_000, 0.7), ("ina226", 0.003, 10_000, 2.0)],
)  # fmt: skip
def test_an_override_gives_the_true_watts_on_both_generations(
    make_held: Make, generation: str, model: str, true_ohm: float, kernel_uohm: int, current_a: float
) -> None:
    """Within a step of 1 mA or of the power register: also where an old kernel rounds its calibration (51 for 51.2)."""
    bench = make_held(one(model, true_ohm, kernel_uohm, generation), current_a=current_a, shunt_ohm=true_ohm)
    step_w = float(bench.info.details["step_w:main"])
    assert mean_w(bench) == pytest.approx(5.0 * current_a, abs=1.2 * step_w)
    if kernel_uohm != round(true_ohm * 1e6):
        factor = kernel_uohm * 1e-6 / true_ohm
        assert bench.info.details["shunt_override:main"].endswith(f"x {factor:.6g}")


def test_without_the_override_the_default_is_ten_times_too_much(make_held: Make) -> None:
    """The trap itself, so that the tests above are known to test something."""
    wrong = make_held(one("ina219", 0.1, 10_000), current_a=0.2, shunt_ohm=0.01)
    assert mean_w(wrong) == pytest.approx(10.0, rel=0.01)


def test_an_old_kernel_gives_back_its_rounded_calibration(make_held: Make) -> None:
    """40960000 / 410 = 99902: the file says what the kernel truly computes with."""
    bench = make_held(one("ina219", 0.1, 100_000, OLD), shunt_ohm=0.1)
    assert bench.info.details["kernel_shunt_ohm:main"] == "0.099902"
    assert "shunt_override:main" not in bench.info.details


def test_a_calibration_register_in_place_of_the_shunt_is_refused(make_held: Make) -> None:
    for model in ("ina219", "ina226"):
        layout = one(model, 0.1, 100_000, BUGGY)
        with pytest.raises(SpecError, match="calibration register"):
            make_held(layout, shunt_ohm=0.1)
        told = make_held(layout, shunt_ohm=0.1, kernel_shunt_ohm=0.1)
        assert mean_w(told) == pytest.approx(2.5, rel=5e-3)
        in_tree = make_held(one(model, 0.1, 100_000, BUGGY, declared=True))
        assert mean_w(in_tree) == pytest.approx(2.5, rel=5e-3)


def test_rails_of_one_chip_may_have_shunts_of_their_own(make_held: Make) -> None:
    bench = make_held("orin-nano", shunt_ohm__VDD_SOC=0.0025)
    trace = bench.record(0.5)
    assert np.mean(trace.power_w("VDD_SOC")) == pytest.approx(2 * np.mean(trace.power_w("VDD_IN")), rel=1e-6)
    assert "shunt_override:VDD_IN" not in bench.info.details


def test_a_shunt_that_nobody_shows_is_not_put_right_blindly(make_held: Make) -> None:
    with pytest.raises(SpecError, match="does not show"):
        make_held("nano", shunt_ohm=0.01)
    assert make_held("nano").info.details["shunt_ohm:POM_5V_IN"].startswith("module's device tree")
    with pytest.raises(SpecError, match="inside"):
        make_held("ina260", shunt_ohm=0.1)


def test_the_finer_of_the_two_files_makes_the_power(make_held: Make) -> None:
    """New kernel, 0.1 ohm: the power register's 2 mW beat 1 mA at 5 V; old kernel: 1 mA beats 20 mW."""
    assert make_held("ina219").info.details["power_from:main"] == "power1_uw"
    assert make_held("ina219-old").info.details["power_from:main"] == "curr1_ma x in1_mv"
    assert make_held("ina226").info.details["power_from:main"] == "power1_uw"
    assert make_held("ina260").info.details["power_from:main"] == "power1_uw"
    unknown = Layout(one("ina219", 0.1, 100_000).chips, "unheard-of")
    assert make_held(unknown).info.details["power_from:main"] == "curr1_ma x in1_mv"
    assert make_held(unknown, kernel_driver="new").info.details["power_from:main"] == "power1_uw"


@pytest.mark.parametrize("layout", ["ina219", "ina219-old", "ina260"])
def test_what_does_not_make_the_power_is_kept_raw(make_held: Make, layout: str) -> None:
    trace = make_held(layout).record(0.3)
    assert {"main:in1_mv", "main:curr1_ma", "main:power1_uw"} <= set(trace.columns)


def test_current_is_never_taken_from_whole_millivolts(make_held: Make) -> None:
    """At 0.1 ohm a step of in0_input is 10 mA: two currents 4 mA apart must differ."""
    low, high = (mean_w(make_held("ina219-old", current_a=a)) for a in (0.500, 0.504))
    assert high - low == pytest.approx(0.020, abs=0.006)
    for layout in ("ina219", "ina219-old"):
        assert not any("in0" in c for c in make_held(layout).info.channels[0].columns)


def test_flags_of_an_ina219s_bus_register_are_no_voltage(make_held: Make) -> None:
    """Older IIO drivers show the whole register: the value from bit 3 up, below it conversion-ready and overflow."""
    bench = make_held("iio-ina219", current_a=1.0)
    raw = bench.record(0.5).columns["main:bus_raw"]
    assert set(raw.tolist()) == {1250 << 3}
    seen = {bench.board.get(path, t) for path in bench.plan.files if "supply" in path for t in (0, 1_000_000)}
    assert seen == {b"10000\n", b"10002\n"}
