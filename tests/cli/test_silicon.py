"""The kernels of this machine: found in a process of its own, as ONNX Runtime names them, and kept."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from harness.cli.silicon import kernel_list, kernels_of_run, kernels_on_this_machine
from harness.core.errors import DeviceError
from harness.core.spec import RuntimeSpec
from harness.exam.virtual import exam_spec
from harness.models.resolve import prepare_model, resolve_model


def event(name, op, ts, dur):
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": op}}


def run_of(begin, *kernels, dur):
    rows = [event(name, op, begin + ts, length) for name, op, ts, length in kernels]
    return [*rows, {"cat": "Session", "name": "model_run", "ts": begin, "dur": dur, "args": {}}]


def test_events_become_shares_without_what_the_profiler_adds():
    events = []
    for k in range(9):
        events += run_of(1000 * k, ("conv", "Conv", 100, 399), ("conv", "Conv", 600, 299), dur=1000)
    found = kernel_list(events, plain_s=850e-6)
    assert [(k.name, k.op) for k in found.kernels] == [("conv", "Conv"), ("conv#2", "Conv")]
    assert found.time_s == 850e-6 and found.given
    np.testing.assert_allclose((found.end - found.begin) * 850, [399.5, 299.5], rtol=2e-3)  # gaps gave way
    tight = kernel_list(events, plain_s=600e-6)
    assert 0.9 < (tight.end - tight.begin).sum() < 1  # but some of them is left


def test_of_control_flow_the_body_counts_and_strange_inferences_do_not():
    usual = (("loop", "Loop", 10, 500), ("inner", "Add", 20, 100), ("inner", "Add", 150, 100), ("end", "Relu", 600, 50))
    events = []
    for k in range(12):
        events += run_of(1000 * k, *(usual[3:] if k == 11 else usual), dur=800)
    found = kernel_list(events, plain_s=800e-6)
    assert [k.name for k in found.kernels] == ["inner", "inner#2", "end"]
    with pytest.raises(DeviceError, match="named no kernel"):
        kernel_list([], plain_s=1e-3)


def test_a_real_network_is_profiled_once(tmp_path):
    model = prepare_model(resolve_model("gen:lstm", 1, {"sequence": 8}, 0, Path.cwd()))
    found = kernels_on_this_machine(model, RuntimeSpec(), count=20, cache=tmp_path)
    assert sum(k.op == "LSTM" for k in found.kernels) == 2 and 1e-5 < found.time_s < 1
    lstm = [e - b for k, b, e in zip(found.kernels, found.begin, found.end, strict=True) if k.op == "LSTM"]
    assert sum(lstm) > 0.5
    (kept,) = tmp_path.glob("*.json")
    data = json.loads(kept.read_text())
    kept.write_text(json.dumps({**data, "time_s": 0.125}))
    assert kernels_on_this_machine(model, RuntimeSpec(), count=20, cache=tmp_path).time_s == 0.125
    broken = dataclasses.replace(model, path=tmp_path / "missing.onnx", sha256="0" * 64)
    with pytest.raises(DeviceError, match=r"missing\.onnx"):
        kernels_on_this_machine(broken, RuntimeSpec(), count=20, cache=tmp_path)


def test_a_runtime_without_kernels_says_so(tmp_path):
    spec = dataclasses.replace(exam_spec(1), runtime=RuntimeSpec(name="torch"))
    kernels, why = kernels_of_run(spec, cache=tmp_path)
    assert kernels is None and "torch" in why
