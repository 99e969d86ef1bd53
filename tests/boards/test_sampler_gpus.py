"""The agent's sampler on GPUs: NVML called by the agent itself, and a program that gets stuck and is started again."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from drivers.nvidia.nvml_onboard import open_on_board as open_nvml
from drivers.nvidia.smi_onboard import open_on_board as open_smi
from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import Feeder, GpuSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Errors
from harness.boards.local import LocalBoard
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest, OnBoardMeter, SamplerPlan
from harness.core.trace import Trace, join_blocks
from harness.testing.wires import executable_stub

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
NOISE = Errors(noise_mw=200)
SECONDS = 1.0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NvidiaMachine]:
    made = NvidiaMachine(
        tmp_path / "machine",
        [GpuSpec("a100", lambda t: 120.0 * t, NOISE), GpuSpec("rtx3090", lambda t: 80.0 * t, NOISE)],
    )
    feeder = Feeder(made)
    yield made
    feeder.close()
    made.close()


def read(board: LocalBoard, meter: OnBoardMeter, between: Callable[[], None] = lambda: None) -> tuple[Trace, float]:
    """What the board's sampler read in SECONDS, and its CPU seconds."""
    info, plan = meter.prepare(board.files, clock=board.clock)
    sampler = board.start_sampler(plan, lease_s=20.0)
    try:
        time.sleep(SECONDS / 2)
        between()
        time.sleep(SECONDS / 2)
        blocks = [meter.decode(sampler.stop()), meter.finish()]
        return join_blocks(info, [block for block in blocks if block is not None]), sampler.cost()["cpu_s"]
    finally:
        sampler.close()


def test_the_agent_reads_the_library_itself(board: LocalBoard, machine: NvidiaMachine) -> None:
    request = MeterRequest("gpu", {"library": str(machine.library)}, (("gpu0/instant", "a"), ("gpu1/energy", "b")))
    trace, cpu_s = read(board, open_nvml(request))
    assert 6 <= len(trace) <= 12 and trace.counts["repeated"] > 20
    assert abs(np.mean(trace.power_w("gpu0/instant")) - 120.0) < 0.5
    energy = trace.values("gpu1/energy:energy_mj")
    assert np.ptp(energy) / (np.ptp(trace.t_ns) * 1e-9) == pytest.approx(80.0, rel=0.2)
    assert cpu_s < 1.0


def test_a_gpu_that_is_lost_meanwhile_is_tried_again(board: LocalBoard, machine: NvidiaMachine) -> None:
    request = MeterRequest("gpu", {"library": str(machine.library)}, (("gpu0/energy", "a"),))
    trace, _ = read(board, open_nvml(request), machine.gpus[0].lose)
    [gap] = trace.gaps
    assert "lost" in gap.reason and gap.end_ns - gap.begin_ns > 0.3e9


def test_nvidia_smi_is_run_in_its_loop(board: LocalBoard, machine: NvidiaMachine) -> None:
    request = MeterRequest("gpu", {"command": str(machine.program)}, (("gpu0/instant", "a"), ("gpu1/average", "b")))
    trace, _ = read(board, open_smi(request))
    assert len(trace) >= 5
    assert abs(np.mean(trace.power_w("gpu0/instant")) - 120.0) < 0.5
    assert abs(np.mean(trace.power_w("gpu1/average")) - 80.0) < 0.5


def test_a_library_that_is_not_there_is_said(board: LocalBoard, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "libnvidia-ml.so.1")
    with pytest.raises(DeviceError, match="cannot be loaded"):
        open_nvml(MeterRequest("gpu", {"library": nowhere})).prepare(board.files, clock=board.clock)
    with pytest.raises(DeviceError, match="cannot be loaded"):
        board.start_sampler(SamplerPlan(nvml=(("GPU-x", 186, 0),), nvml_library=nowhere), lease_s=5.0)
    with pytest.raises(DeviceError, match="cannot be run"):
        open_smi(MeterRequest("gpu", {"command": nowhere})).prepare(board.files, clock=board.clock)


def test_a_program_stuck_in_errors_is_started_again_and_one_that_is_not_goes_on(
    board: LocalBoard, tmp_path: Path
) -> None:
    path = executable_stub(tmp_path / "stuck", ["good", *["[Unknown Error]"] * 500], every_s=0.01)
    sampler = board.start_sampler(
        SamplerPlan(command=(str(path),), renew_on="[Unknown Error]", renew_after=5), lease_s=20.0
    )
    try:
        time.sleep(1.2)
        rows = [row[0] for row in sampler.stop().data]
    finally:
        sampler.close()
    assert rows.count(b"good") >= 2 and rows.count(errno.EPIPE) >= 1
    between = rows[: rows.index(errno.EPIPE)]
    assert 5 <= between.count(b"[Unknown Error]") <= 8
