"""A machine with an NVIDIA GPU: run there with `pytest --run-hardware tests/drivers/nvml tests/drivers/nvidia-smi`.

What the table assumes is held against the registers of that very GPU; a test that fails here is a finding about the
table or the driver, to be sent with the output of `nvidia-smi -q -x`.
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from drivers.nvidia.nvml_library import USUAL, Library
from drivers.nvidia.nvml_meter import open_meter
from drivers.nvidia.nvml_onboard import open_on_board
from drivers.nvidia.smi_onboard import look as look_by_program
from harness.bench.single_meter import BoardMeter
from harness.boards.agent.nvml_source import look
from harness.boards.local import LocalBoard
from harness.boards.state.files import LocalFiles
from harness.core.clock import HOST
from harness.core.ports import MeterRequest
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import NS_PER_S, RealClock

pytestmark = [pytest.mark.hardware, pytest.mark.realtime]
SECONDS = 20.0


def read(*rails: str, seconds: float = SECONDS) -> Trace:
    meter, clock = open_meter(MeterRequest("gpu", rails=tuple((name, name) for name in rails))), RealClock()
    info = meter.open()
    meter.start()
    blocks = [meter.step(clock.now_ns() + NS_PER_S // 4) for _ in range(round(4 * seconds))]
    blocks.append(meter.stop())
    meter.close()
    return join_blocks(info, [block for block in blocks if block is not None])


def lost_share(trace: Trace) -> float:
    """A machine at work holds a reader up now and then."""
    return sum(gap.end_ns - gap.begin_ns for gap in trace.gaps) / float(trace.t_ns[-1] - trace.t_ns[0])


def test_both_halves_and_the_program_see_the_same_gpus() -> None:
    library = Library(USUAL)
    library.start()
    try:
        here = json.loads(library.look())
    finally:
        library.stop()
    assert json.loads(look(USUAL)) == here
    program = shutil.which("nvidia-smi")
    assert program is not None
    machine = look_by_program(LocalFiles(), program)
    assert [(gpu.index, gpu.uuid, gpu.name) for gpu in machine.gpus] == [
        (gpu["index"], gpu["uuid"], gpu["name"]) for gpu in here["gpus"] if "error" not in gpu
    ]


def test_the_registers_are_written_as_often_as_the_table_says() -> None:
    meter = open_meter(MeterRequest("gpu"))
    meter.open()
    found = meter.self_test()
    meter.close()
    assert not [item for item in found if item.name.startswith("update ") and not item.ok], found
    assert not [item for item in found if item.name.startswith("sensor ") and not item.ok], "a GPU that no row has"


def test_an_idle_gpu_is_read_without_gaps() -> None:
    trace = read()
    assert lost_share(trace) < 0.05, trace.gaps
    assert len(trace) * np.median(np.diff(trace.t_ns)) * 1e-9 == pytest.approx(SECONDS, rel=0.05)


def test_counter_and_power_tell_the_same_energy() -> None:
    try:
        trace = read("gpu0/energy", "gpu0/power")
    except Exception as error:  # noqa: BLE001 - older than Volta
        pytest.skip(str(error))
    energy = trace.values("gpu0/energy:energy_mj")
    mean_w = (energy[-1] - energy[0]) / ((trace.t_ns[-1] - trace.t_ns[0]) * 1e-9)
    assert mean_w == pytest.approx(float(np.mean(trace.power_w("gpu0/power"))), rel=0.05)


def test_what_a_pass_costs() -> None:
    """A pass over all registers must be short against the time between two."""
    meter, clock = open_meter(MeterRequest("gpu")), RealClock()
    meter.open()
    assert meter._library is not None and meter._setup is not None
    stamps = []
    for _ in range(200):
        meter._library.values(meter._setup.registers)
        stamps.append(clock.now_ns())
    meter.close()
    spent_ms = sorted((b - a) * 1e-6 for a, b in itertools.pairwise(stamps))
    assert spent_ms[len(spent_ms) // 2] < meter.poll_s * 1e3 / 2, spent_ms[-10:]


def test_the_agent_reads_the_same_power(tmp_path: Path) -> None:
    board = LocalBoard("gpu-box", lambda spec: None, directory=tmp_path / "board")  # type: ignore[arg-type,return-value]
    one = BoardMeter(open_on_board(MeterRequest("gpu", rails=(("gpu0/power", "a"),))), board, HOST, RealClock())
    try:
        trace = join_blocks(one.info, list(one.blocks(5.0)))
    finally:
        one.close()
        board.close()
    assert lost_share(trace) < 0.05, trace.gaps
    assert float(np.mean(trace.power_w("gpu0/power"))) == pytest.approx(
        float(np.mean(read("gpu0/power", seconds=5.0).power_w("gpu0/power"))), rel=0.2
    )
