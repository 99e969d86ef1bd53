"""The runtime torch in real agents: outputs, settings in force, what idle workers cost, and what is said without it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.boards.agent import inference_loop, runtime_onnx, runtime_torch
from harness.boards.agent.basics import AgentError
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import Phase
from harness.models import torch_zoo
from harness.models.reference import compare_outputs, reference_outputs
from harness.models.resolve import prepare_model

needs_torch = pytest.mark.skipif(
    torch_zoo.torch_version() is None, reason="needs the extra torch: pip install 'joulebench[torch]'"
)
TORCH = RuntimeSpec("torch")

WRITE = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch

class Named(torch.nn.Module):
    def forward(self, left, right):
        return {"sum": left + right, "difference": left - right}

class Broken(torch.nn.Module):
    def forward(self, x):
        return x.reshape(7)

folder = Path(sys.argv[1])
example = (torch.ones(2, 3), torch.full((2, 3), 2.0))
torch.jit.trace(Named(), example, strict=False).save(str(folder / "named.pt"))
torch.export.save(torch.export.export(Named(), example), folder / "named.pt2")
torch.jit.trace(Broken(), torch.ones(7)).save(str(folder / "broken.pt"))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    subprocess.run([sys.executable, "-c", WRITE, str(folder)], check=True, timeout=120, capture_output=True)
    left = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez(folder / "both.npz", right=np.full((2, 3), 0.5, np.float32), left=left)
    np.savez(folder / "x.npz", x=left)
    return folder


def test_both_runtimes_measure_by_the_same_loops() -> None:
    for runtime in (runtime_onnx.OnnxRuntime, runtime_torch.TorchRuntime):
        assert runtime.infer is inference_loop.InProcessRuntime.infer
        assert runtime._back_to_back is inference_loop.InProcessRuntime._back_to_back


@needs_torch
@pytest.mark.parametrize("optimisation", ["disabled", "basic", "extended", "all"])
def test_a_network_of_torch_is_measured_and_right(board, make_spec, cache, optimisation: str) -> None:
    spec = make_spec("torch:convnet", 2, runtime=dataclasses.replace(TORCH, optimisation=optimisation))
    session = board.start_agent(spec, 0)
    details = session.load(spec, 0).details
    timeline = session.perform(
        [
            Step("infer", Phase.LEAD_IN, seconds=0.05),
            Step("infer", Phase.MEASURED, count=9),
            Step("infer", Phase.PROBE, count=3, pause_min_s=0.01, pause_max_s=0.01),
        ], 0, seed=1,
    )  # fmt: skip
    outputs = session.outputs()
    session.close()
    assert details["runtime"] == "torch" and details["version"] == torch_zoo.torch_version()
    assert (details["threads"], details["interop_threads"], details["spinning"]) == (1, 1, "off")
    assert details["waiting"]["OMP_WAIT_POLICY"] == "passive"
    assert details["inputs"] == [["images", [2, 3, 64, 64], "float32"]]
    assert ("frozen" in details["form"]) is (optimisation in ("extended", "all"))
    assert timeline.n == 9 and len(timeline.rows(Phase.PROBE)[0]) == 3
    begin, end = timeline.rows(Phase.MEASURED)
    assert np.median(begin[1:] - end[:-1]) < 200_000
    reference = reference_outputs(prepare_model(spec.model, cache))
    assert reference is not None
    verdict = compare_outputs(outputs, reference, 1e-3)
    assert verdict.ok, verdict.reason


@needs_torch
def test_the_marker_pin_follows_inferences_of_torch(board, make_spec, tmp_path: Path) -> None:
    pin = tmp_path / "value"
    pin.write_text("0")
    spec = make_spec("torch:convnet", runtime=TORCH, marker_pin=str(pin))
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    timeline = session.perform([Step("infer", Phase.MEASURED, count=20)], 0, seed=1)
    session.close()
    assert timeline.n == 20 and pin.read_text() == "0"


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@needs_torch
@pytest.mark.realtime
@pytest.mark.parametrize("spinning", ["off", "on"])
def test_idle_workers_sleep_unless_they_are_asked_to_spin(board, make_spec, spinning: str) -> None:
    """Left alone, torch's workers spin for some 5 ms after each inference: active power in gaps and standby."""
    spec = make_spec("torch:convnet", runtime=RuntimeSpec("torch", threads=2, spinning=spinning))
    session = board.start_agent(spec, 0)
    assert session.load(spec, 0).details["threads"] == 2
    pid = int(session.hello()["pid"])

    def used_s(pause_s: float) -> float:
        before = cpu_s(pid)
        step = Step("infer", Phase.PROBE, count=50, pause_min_s=pause_s, pause_max_s=pause_s)
        session.perform([step], 0, seed=1)
        return cpu_s(pid) - before

    used_s(0.0)
    in_a_gap_ms = (used_s(0.02) - used_s(0.0)) / 50 * 1e3
    session.close()
    if spinning == "off":
        assert in_a_gap_ms < 2.0
    else:
        assert in_a_gap_ms > 5.0  # of 20 ms, on however busy a machine


@needs_torch
@pytest.mark.parametrize("file", ["named.pt", "named.pt2"])
def test_inputs_by_name_and_outputs_in_a_dict(board, make_spec, written: Path, file: str) -> None:
    spec = make_spec(str(written / file), 2, runtime=TORCH, inputs_npz=str(written / "both.npz"))
    session = board.start_agent(spec, 0)
    details = session.load(spec, 0).details
    outputs = session.outputs()
    session.close()
    assert [name for name, _, _ in details["inputs"]] == ["left", "right"]
    left = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(outputs["sum"], left + 0.5) and np.array_equal(outputs["difference"], left - 0.5)


@needs_torch
def test_a_program_that_torch_cannot_run(board, make_spec, written: Path) -> None:
    spec = make_spec(str(written / "broken.pt"), 2, runtime=TORCH, inputs_npz=str(written / "x.npz"))
    session = board.start_agent(spec, 0)
    with pytest.raises(SpecError, match=r"torch cannot run broken: .*shape '\[7\]' is invalid"):
        session.load(spec, 0)
    session.close()


@needs_torch
@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_a_version_that_the_board_does_not_have(board, make_spec, name: str) -> None:
    model = "torch:convnet" if name == "torch" else "gen:lstm"
    spec = make_spec(model, runtime=RuntimeSpec(name, version="0.7"))
    session = board.start_agent(spec, 0)
    with pytest.raises(DeviceError, match=rf"the board has {name} \d.*, the campaign asks for 0\.7") as caught:
        session.load(spec, 0)
    assert f"-m pip install {name}==0.7" in caught.value.hint
    session.close()


@needs_torch
def test_a_board_without_torch_says_what_to_install(board, make_spec, tmp_path: Path) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    spec = make_spec("torch:convnet", runtime=TORCH, python=str(bare))
    session = board.start_agent(spec, 0)
    with pytest.raises(DeviceError, match="cannot run the runtime torch: No module named") as caught:
        session.load(spec, 0)
    assert "-m pip install torch" in caught.value.hint
    session.close()


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        ("2.13.0+cpu", "2.13", True), ("2.13.0+cpu", "2.13.0", True), ("2.13.0+cpu", "2.13.0+cpu", True),
        ("2.13.0", None, True), ("2.1.0", "2.13", False), ("2.13.0", "2.1", False), ("1.18.1", "1.18", True),
    ],
)  # fmt: skip
def test_versions(found: str, wanted: str | None, fits: bool) -> None:
    if fits:
        inference_loop.demand_version("torch", found, wanted, "pip install")
    else:
        with pytest.raises(AgentError):
            inference_loop.demand_version("torch", found, wanted, "pip install")
