"""A battery as a meter: readings at updates only, nothing while it does not discharge, energy as a counter."""

from __future__ import annotations

import errno
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.battery import codec
from drivers.battery.onboard import OnBoardBattery, find_on_board, open_on_board
from drivers.simulated.battery import simulator
from drivers.simulated.battery.gauge import KINDS, Gauge
from drivers.simulated.battery.trials import trials
from harness.bench.rails import check_total
from harness.boards.local import LocalBoard
from harness.boards.state.files import LocalFiles
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, OnBoardMeter, RawSamples, SamplerPlan, SelfTesting
from harness.core.spec import MeterBinding
from harness.core.trace import Block, MeterInfo, ReadingKind, Trace, join_blocks
from harness.testing.fault_matrix import judge

S = 1_000_000_000
Fields = Mapping[str, "int | str"]


def prepared(
    root: Path, *rails: str, kind: str = "energy", **options: str | float
) -> tuple[OnBoardBattery, MeterInfo, SamplerPlan]:
    simulator(root, kind)
    meter = open_on_board(MeterRequest("bat", options, tuple((r, r) for r in rails), root, simulated=True))
    info, plan = meter.prepare(LocalFiles(), clock="board:laptop")
    return meter, info, plan


def decoded(
    meter: OnBoardBattery, info: MeterInfo, plan: SamplerPlan, passes: Sequence[Fields | int], *, every_s: float = 1.0
) -> Trace:
    """Passes one after another: fields by name (an int: each read failed with it)."""
    blocks: list[Block | None] = []
    names = [Path(path).name for path in plan.files]
    for first in range(0, len(passes), 5):
        part = passes[first : first + 5]
        t_ns = np.array([round((first + k) * every_s * S) for k in range(len(part))], np.int64)
        data = tuple(
            tuple([p] * len(names) if isinstance(p, int) else [_text(p.get(n, "Discharging")) for n in names])
            for p in part
        )
        blocks.append(meter.decode(RawSamples(t_ns, t_ns, data)))
    blocks.append(meter.finish())
    return join_blocks(info, [block for block in blocks if block is not None])


def _text(value: int | str) -> bytes:
    return f"{value}\n".encode("ascii")


def level(energy_mwh: int, power_mw: int = 8000, status: str = "Discharging") -> Fields:
    return {
        "energy_now": energy_mwh * 1000, "power_now": power_mw * 1000, "voltage_now": 11_400_000, "status": status,
    }  # fmt: skip


def test_it_is_what_the_battery_has(tmp_path: Path) -> None:
    meter, info, plan = prepared(tmp_path, update_s=5.0)
    assert isinstance(meter, OnBoardMeter) and isinstance(meter, SelfTesting)
    folder = f"{tmp_path}/sys/class/power_supply/BAT0"
    fields = ("status", "power_now", "voltage_now", "energy_now")
    assert plan == SamplerPlan(files=tuple(f"{folder}/{name}" for name in fields), period_s=1.0)
    assert [(c.name, c.reading.kind, c.reading.period_ns) for c in info.channels] == [
        ("energy", ReadingKind.COUNTER, 5 * S),
        ("power", ReadingKind.POINT, 5 * S),
    ]
    assert info.model == "SMP 01AV423 Li-poly" and info.serial == "4711"
    assert all(item.ok for item in meter.self_test())


def test_both_channels_are_never_summed(tmp_path: Path) -> None:
    _, info, _ = prepared(tmp_path)
    both = MeterBinding("b", "battery", (("energy", "a"), ("power", "b")), "dc_input", ("a", "b"))
    with pytest.raises(SpecError, match="is a part of it"):
        check_total(both, info)


def test_a_reading_is_a_moment_at_which_something_changed(tmp_path: Path) -> None:
    meter, info, plan = prepared(tmp_path, "energy")
    levels = [50_000, 50_000, 49_990, 49_990, 49_990, 49_980, 49_970]
    trace = decoded(meter, info, plan, [level(mwh) for mwh in levels])
    assert trace.t_ns.tolist() == [2 * S, 5 * S, 6 * S]  # the first figure is of unknown age
    assert np.diff(trace.values("energy:drawn")).tolist() == pytest.approx([36.0, 36.0])  # 10 mWh a step
    assert not trace.gaps and trace.counts["repeated_passes"] == 3


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown", ""])
def test_what_does_not_discharge_is_a_gap_and_no_energy(tmp_path: Path, status: str) -> None:
    meter, info, plan = prepared(tmp_path, "energy")
    before = [level(50_000 - 10 * k) for k in range(4)]
    during = [level(49_970 + 20 * k, 0, status) for k in range(4)]
    after = [level(50_030 - 10 * k) for k in range(4)]
    trace = decoded(meter, info, plan, [*before, *during, *after])
    (gap,) = trace.gaps
    assert gap.reason.startswith("reset: the battery is not discharging")
    assert (gap.begin_ns, gap.end_ns) == (3 * S, 9 * S)
    assert trace.t_ns.tolist() == [k * S for k in (1, 2, 3, 9, 10, 11)]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (errno.EIO, "status: EIO"),
        (errno.ENODEV, "reset: status: ENODEV"),
        (level(49_960, 0), "power_now is 0 while the battery discharges"),
        ({**level(49_960), "power_now": "unknown"}, "is not a number"),
        (level(49_960, -8000), "changed its sign"),
    ],
)
def test_what_is_refused_is_part_of_a_gap(tmp_path: Path, bad: Fields | int, why: str) -> None:
    meter, info, plan = prepared(tmp_path, "power", update_s=1.0)
    passes: list[Fields | int] = [level(50_000 - 10 * k, 8000 + k) for k in range(9)]
    passes[4] = bad
    trace = decoded(meter, info, plan, passes)
    (gap,) = trace.gaps
    assert why in gap.reason
    assert 4 * S not in trace.t_ns and gap.begin_ns == 3 * S
    assert np.all(trace.power_w("power") > 7.9)  # nothing became a 0


@pytest.mark.parametrize("step_mwh", [2000, -500])
def test_a_gauge_that_corrects_itself_is_no_energy(tmp_path: Path, step_mwh: int) -> None:
    meter, info, plan = prepared(tmp_path, "energy", max_power_w=100.0)
    passes = [level(50_000 - 10 * k - (step_mwh if k >= 5 else 0)) for k in range(9)]
    trace = decoded(meter, info, plan, passes)
    (gap,) = trace.gaps
    assert gap.reason.startswith("reset: ") and gap.begin_ns == 4 * S and gap.end_ns == 5 * S
    assert trace.counts["jumps"] == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_discharge_is_positive_whatever_the_kernel_says(tmp_path: Path, sign: int) -> None:
    meter, info, plan = prepared(tmp_path, "power", kind="negative", update_s=1.0)
    passes = [
        {"current_now": sign * (700_000 + k), "voltage_now": 11_400_000, "charge_now": 4_000_000 - k} for k in range(6)
    ]
    trace = decoded(meter, info, plan, passes)
    assert trace.power_w("power").tolist() == pytest.approx([7.98] * 5, rel=1e-4)
    assert trace.columns["power:current_now"][0] == sign * 700_001  # raw as it was


def test_charge_times_voltage_is_energy(tmp_path: Path) -> None:
    meter, info, plan = prepared(tmp_path, "energy", kind="charge")
    passes = [
        {"current_now": 700_000, "voltage_now": 11_400_000 - 1000 * k, "charge_now": 4_000_000 - 1000 * k}
        for k in range(11)
    ]
    trace = decoded(meter, info, plan, passes)
    gained_j = float(np.diff(trace.values("energy:drawn")).sum())
    assert gained_j == pytest.approx(9 * 0.001 * 3600 * 11.3945, rel=1e-6)  # steps of 1 mAh at 11.4 V and falling


def test_updates_at_another_pace_than_declared_are_an_error(tmp_path: Path) -> None:
    meter, info, plan = prepared(tmp_path, "power", update_s=10.0)
    with pytest.raises(DeviceError, match="renews its figures every 2 s, but update_s is 10 s") as caught:
        decoded(meter, info, plan, [level(50_000 - k // 2, 8000 + k // 2) for k in range(40)])
    assert "update_s to 2" in (caught.value.hint or "")


def test_without_a_battery_or_with_two_it_says_so(tmp_path: Path) -> None:
    none = open_on_board(MeterRequest("bat", sysfs_root=tmp_path))
    with pytest.raises(DeviceError, match="no battery"):
        none.prepare(LocalFiles(), clock="host")
    tree = simulator(tmp_path)
    (tree.folder / "BAT1").mkdir()
    (tree.folder / "BAT1/type").write_text("Battery\n")
    (tree.folder / "BAT1/energy_now").write_text("1\n")
    with pytest.raises(DeviceError, match="2 batteries"):
        open_on_board(MeterRequest("bat", sysfs_root=tmp_path)).prepare(LocalFiles(), clock="host")
    named = open_on_board(MeterRequest("bat", {"supply": "BAT1"}, (("power", "p"),), tmp_path))
    with pytest.raises(DeviceError, match="no channel 'power'; it has energy"):
        named.prepare(LocalFiles(), clock="host")


def test_it_is_found_and_a_mouse_is_not(tmp_path: Path) -> None:
    tree = simulator(tmp_path)
    (found,) = find_on_board(LocalFiles(), MeterRequest("any", sysfs_root=tmp_path))
    assert found.usable and found.options == {"supply": "BAT0"} and found.channels == ("energy", "power")
    tree.show({}, status="Charging")
    (found,) = find_on_board(LocalFiles(), MeterRequest("any", sysfs_root=tmp_path))
    assert not found.usable and "Charging" in found.trouble and "plug" in found.mend


@pytest.mark.parametrize(
    "options",
    [{"speed": 1}, {"period_s": 0.0}, {"update_s": "slow"}, {"supply": "../x"}, {"period_s": 5, "update_s": 2}],
)
def test_wrong_options_are_refused(options: dict[str, str | float]) -> None:
    with pytest.raises(SpecError):
        open_on_board(MeterRequest("bat", options=options))


@given(st.binary(max_size=24))
def test_any_bytes_are_one_whole_number_or_an_error(data: bytes) -> None:
    try:
        value = codec.number("energy_now", data)
    except ValueError:
        return
    assert data.strip().lstrip(b"-").lstrip(b"0") in (str(abs(value)).encode("ascii"), b"")


@pytest.mark.parametrize("fault", [trial.fault for trial in trials()])
def test_no_fault_is_silently_wrong(fault: str) -> None:
    (trial,) = [trial for trial in trials() if trial.fault == fault]
    judged = judge(trial)
    assert not judged.wrong, judged
    if fault in ("none", "none_power", "none_charge"):
        assert judged.outcome == "recovered" and not judged.gap_marked


def test_real_files_under_a_real_sampler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tree = simulator(tmp_path / "laptop", "fine")
    begin = time.monotonic()
    gauge = Gauge(lambda t_s: 30.0 * t_s, KINDS["fine"], update_s=0.2)
    meter = open_on_board(MeterRequest("bat", {"update_s": 0.2, "period_s": 0.05}, (("power", "p"),), tree.root))
    board = LocalBoard("battery-test", lambda run: run)
    info, plan = meter.prepare(board.files, clock=board.clock)
    sampler = board.start_sampler(plan, lease_s=30.0)
    try:
        while (now := time.monotonic()) < begin + 2.5:
            tree.show(gauge.fields(now - begin))
            time.sleep(0.01)
        samples = sampler.stop()
    finally:
        sampler.close()
        board.close()
    trace = join_blocks(info, [b for b in (meter.decode(samples), meter.finish()) if b is not None])
    assert 5 <= len(trace) <= 14
    assert np.median(trace.power_w("power")) == pytest.approx(30.0, abs=0.3)
