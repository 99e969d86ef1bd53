"""What a sampler costs is told from drift and noise, or it is said that it cannot be told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import simulator
from harness.bench.recorder import open_recorder
from harness.bench.sampler_cost import TURN, CostTrial, Difference
from harness.boards.local import LocalBoard
from harness.config.profiles import QUICK
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest, RawSamples, SamplerPlan, Step
from harness.core.spec import BoardSpec, MeterBinding, RunSpec, RuntimeSpec
from harness.core.timeline import PHASE_CODE, Phase, Timeline
from harness.core.waiting import RealClock, VirtualClock
from harness.models.resolve import prepare_model, resolve_model


def test_an_interval_is_that_of_student() -> None:
    found = Difference.of([1.0, 1.0, 1.0, 1.0], [1.1, 1.2, 1.1, 1.2])
    assert found.level == 1.0
    assert found.difference == pytest.approx(0.15)
    assert found.half_width == pytest.approx(3.18245 * np.std([0.1, 0.2, 0.1, 0.2], ddof=1) / 2, rel=1e-4)
    assert found.resolved


class SlowingBoard:
    """Infers in 5 ms, in `cost_s` more while a sampler (of 1 % of a CPU) runs, and slower by `drift` a block."""

    def __init__(self, *, cost_s: float, drift: float, noise: float = 0.0) -> None:
        self.cost_s, self.drift, self.noise = cost_s, drift, noise
        self.on, self.blocks, self.states = 0, 0, ""
        self.rng = np.random.default_rng(1)

    def perform(self, program: Sequence[Step], start: int, *, seed: int) -> Timeline:
        self.states += "+" if self.on else "-"
        period_s = 0.005 * (1 + self.drift * self.blocks + self.noise * self.rng.standard_normal())
        period_s += self.cost_s * self.on
        self.blocks += 1
        begin = np.arange(100) * round(period_s * 1e9)
        phases = np.full(100, PHASE_CODE[Phase.MEASURED], np.int64)
        return Timeline("board:x", (), np.zeros(100, np.int64), phases, begin, begin + 1000)

    def start_sampler(self, plan: SamplerPlan, *, lease_s: float) -> Any:
        self.on += 1
        none = np.empty(0, np.int64)
        costs = iter([{"cpu_s": 1.0, "wall_s": 100.0}, {"cpu_s": 1.1, "wall_s": 110.0}])
        return SimpleNamespace(
            take=lambda: RawSamples(none, none, ()),
            stop=lambda: RawSamples(none, none, ((b"1",),) * 50, {"late_passes": 2}),
            cost=lambda: next(costs),
            close=self._close,
        )

    def _close(self) -> None:
        self.on -= 1


def trial_on(board: SlowingBoard, turns: int) -> Any:
    trial = CostTrial(board, board, SamplerPlan(files=("/x",)), VirtualClock(), lease_s=1.0)  # type: ignore[arg-type]
    return trial.run(turns, block_s=1.0)


def test_a_cost_is_found_although_the_board_slows_down_all_the_time() -> None:
    board = SlowingBoard(cost_s=2e-5, drift=0.01)
    cost = trial_on(board, 5)
    assert board.states == "-" + "-++-" * 5
    assert "".join("+" if state == "on" else "-" for state in TURN) == "-++-"
    assert cost.period.difference == pytest.approx(2e-5, rel=1e-3)
    assert cost.period.resolved
    assert cost.cpu_share == pytest.approx(0.01)
    assert cost.cpu_s_per_pass == pytest.approx(0.1 / 50)
    assert cost.late_passes == 10
    assert cost.idle is None


def test_what_drowns_in_noise_is_not_resolved() -> None:
    assert not trial_on(SlowingBoard(cost_s=1e-7, drift=0.0, noise=0.02), 6).period.resolved


@pytest.fixture
def power_meter(tmp_path: Path) -> Iterator[Any]:
    """A meter beside the board that sees a constant 40 W."""
    tree, over, begin_ns = simulator(tmp_path / "machine"), threading.Event(), time.monotonic_ns()

    def move() -> None:
        while not over.wait(0.001):
            tree.set_energy_j("package-0", 40.0 * (time.monotonic_ns() - begin_ns) * 1e-9)

    mover = threading.Thread(target=move)
    mover.start()
    (tmp_path / "raw").mkdir()
    binding = MeterBinding("cpu", "rapl", (("package-0", "cpu"),), "package", ("cpu",))
    request = MeterRequest("cpu", {}, binding.rails, sysfs_root=tree.root)
    with contextlib.ExitStack() as stack:
        stack.callback(tree.close)
        stack.callback(mover.join)
        stack.callback(over.set)
        recorder = open_recorder(binding, _Opener(request), tmp_path / "raw/cpu.arrows", RealClock())
        stack.callback(recorder.close)
        recorder.start()
        yield recorder
        recorder.stop()


class _Opener:
    def __init__(self, request: MeterRequest) -> None:
        self.request = request

    def __call__(self) -> Any:
        return open_meter(self.request)


@pytest.mark.realtime
def test_on_a_real_board_with_a_meter_beside_it(tmp_path: Path, power_meter: Any) -> None:
    board = LocalBoard("here", lambda spec: prepare_model(spec.model), directory=tmp_path / "board")
    spec = RunSpec(
        "cost", "here", BoardSpec("here"), (), resolve_model("gen:lstm", 1, {}, 0, tmp_path), RuntimeSpec(), QUICK,
        0, 0, False,
    )  # fmt: skip
    session = board.start_agent(spec, 0)
    try:
        session.load(spec, 0)
        plan = SamplerPlan(files=("/proc/loadavg",), period_s=0.01)
        trial = CostTrial(board, session, plan, RealClock(), lease_s=60.0, power=power_meter, poll=power_meter.poll)
        cost = trial.run(3, block_s=0.3)
    finally:
        session.close()
        board.close()
    assert cost.turns == 3
    assert cost.period.level > 0
    assert 0 < cost.cpu_share < 0.2
    assert cost.cpu_s_per_pass is not None and 1e-6 < cost.cpu_s_per_pass < 2e-3
    assert cost.idle is not None
    assert cost.idle.level == pytest.approx(40.0, rel=0.1)
    assert abs(cost.idle.difference) < max(4.0, cost.idle.half_width)  # in three short turns a busy machine scatters


def test_one_inference_tells_no_period() -> None:
    board = SlowingBoard(cost_s=0.0, drift=0.0)
    one = np.zeros(1, np.int64)
    board.perform = lambda *_, **__: Timeline(  # type: ignore[method-assign]
        "board:x", (), one, np.full(1, PHASE_CODE[Phase.MEASURED], np.int64), one, one + 5
    )
    with pytest.raises(DeviceError, match="lengthen"):
        CostTrial(board, board, SamplerPlan(files=("/x",)), VirtualClock(), lease_s=1.0).run(3, block_s=1.0)  # type: ignore[arg-type]
