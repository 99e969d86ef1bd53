"""The profile pass in real agents: kernels, their times, the graph, and what the board is left with."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness.boards.agent.layer_rows import LayerRows, ModelRun, unique_names
from harness.boards.agent.ort_events import model_runs
from harness.core.errors import SpecError
from harness.core.ports import ProfilingSession
from harness.core.spec import RuntimeSpec
from harness.models import torch_zoo
from harness.models.resolve import prepare_model

LOOP = Path(__file__).parent / "data" / "onnxruntime_1.31_loop_profile.json"  # Relu, Loop of 3 x 3 nodes, Relu; 4 runs


def profiled(board, spec, count: int = 12):
    session = board.start_agent(spec, 0)
    assert isinstance(session, ProfilingSession)
    try:
        report = session.profile(spec, count=count)
        (directory,) = (Path(board.agents.root) / "agents").iterdir()
        return report, sorted(path.name for path in (directory / "results").iterdir())
    finally:
        session.close()


@pytest.mark.parametrize("model", ["gen:lstm", "zoo:squeezenet", "gen:transformer"])
def test_kernels_are_those_of_the_graph_and_lie_in_their_inferences(board, make_spec, model: str) -> None:
    report, left = profiled(board, make_spec(model))
    profile = report.profile
    assert profile.begin_ns.shape == profile.end_ns.shape == (12, len(profile.kernels)) and profile.dropped == 0
    assert len(profile.inference_ns) == len(profile.plain_ns) == 12 and report.problem == ""
    assert profile.source.startswith("onnxruntime ") and np.isfinite(profile.cost_rel)

    assert np.all(profile.begin_ns[:, 1:] >= profile.end_ns[:, :-1])  # one after another
    assert np.all(profile.begin_ns[:, 0] > 0) and np.all(profile.end_ns[:, -1] < profile.inference_ns)
    covered = np.sum(profile.end_ns - profile.begin_ns, axis=1) / profile.inference_ns
    assert 0.5 < np.median(covered) < 1.0

    assert report.graph is not None
    graph = onnx.load_model_from_string(report.graph).graph
    assert [node.name for node in graph.node] == [kernel.name for kernel in profile.kernels]
    assert [node.op_type for node in graph.node] == [kernel.op for kernel in profile.kernels]
    assert len({kernel.name for kernel in profile.kernels}) == len(profile.kernels)
    assert all(kernel.inputs and kernel.outputs and kernel.provider for kernel in profile.kernels)
    sizes = [np.prod(t.dims) for t in graph.initializer if t.data_location != onnx.TensorProto.EXTERNAL]
    assert not sizes or max(sizes) < 1024  # weights stay on the board ...
    assert not any("weights" in name or name.startswith("profile_") for name in left)  # ... and are not written there


def test_nodes_without_a_name_are_called_by_operator_and_place(board, make_spec, cache, tmp_path) -> None:
    model = onnx.load(prepare_model(make_spec("gen:lstm").model, cache).path)
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, tmp_path / "unnamed.onnx")
    report, _ = profiled(board, make_spec(str(tmp_path / "unnamed.onnx"), axes={"sequence": 8}))
    names = [kernel.name for kernel in report.profile.kernels]
    assert "LSTM_1" in names and all(names)
    assert report.graph is not None
    assert [node.name for node in onnx.load_model_from_string(report.graph).graph.node] == names
    assert [kernel.source_nodes for kernel in report.profile.kernels] == [(name,) for name in names]


def test_the_pin_is_high_for_the_whole_pass_and_once(board, make_spec, tmp_path) -> None:
    pin = tmp_path / "pin"
    os.mkfifo(pin)
    reader = os.open(pin, os.O_RDWR | os.O_NONBLOCK)
    profiled(board, make_spec(marker_pin=str(pin)))
    levels = os.read(reader, 1 << 16)
    assert levels.strip(b"0") == b"1" and levels.endswith(b"0")
    os.close(reader)


def test_a_program_cannot_be_profiled_and_the_agent_lives_on(board, make_spec) -> None:
    command = RuntimeSpec("command", command=(sys.executable, "-c", "pass", "{n}"))
    spec = make_spec(runtime=command)
    session = board.start_agent(spec, 0)
    with pytest.raises(SpecError, match="the runtime command does not say when its kernels run"):
        session.profile(spec, count=3)
    assert len(session.ping(1)) == 1
    session.close()


def test_what_was_loaded_is_measured_again_only_after_a_load(board, make_spec) -> None:
    spec = make_spec()
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    session.profile(spec, count=3)
    assert session.describe() is None
    session.close()


@pytest.mark.skipif(torch_zoo.torch_version() is None, reason="needs the extra torch: pip install 'joulebench[torch]'")
@pytest.mark.parametrize(("optimisation", "seen"), [("extended", True), ("all", False)])
def test_operators_of_torch(board, make_spec, optimisation: str, seen: bool) -> None:
    report, _ = profiled(board, make_spec("torch:convnet", runtime=RuntimeSpec("torch", optimisation=optimisation)))
    profile, ops = report.profile, [kernel.op for kernel in report.profile.kernels]
    assert profile.begin_ns.shape[0] == len(profile.plain_ns) == 12 and report.graph is None
    assert np.all(profile.begin_ns[:, 1:] >= profile.end_ns[:, :-1])
    assert profile.kernels[0].name == f"{ops[0]}_0" and all(op.startswith(("aten::", "mkldnn")) for op in ops)
    assert any("conv" in op for op in ops) is seen
    assert ("sees" in report.problem) is not seen  # oneDNN's convolutions are no operators of torch's profiler
    if seen:
        convolution = next(kernel for kernel in profile.kernels if "conv" in kernel.op)
        assert convolution.inputs[0].shape == (1, 3, 64, 64) and convolution.inputs[0].dtype == "float"


# --- the profile's file --------------------------------------------------------------------------------------------


def test_a_loop_is_its_bodies_kernels_and_what_runs_again_is_numbered() -> None:
    runs = list(model_runs(LOOP))
    assert len(runs) == 4 and [run.length_ns for run in runs] == [222000, 129000, 92000, 83000]
    names = [kernel[0] for kernel in unique_names(runs[1].kernels)]
    assert names == [
        "Relu_0", "Identity_2", "Add_0", "Mul_1", "Identity_2#2", "Add_0#2", "Mul_1#2", "Identity_2#3", "Add_0#3",
        "Mul_1#3", "Relu_2",
    ]  # fmt: skip
    first = runs[0]
    assert first.begins_ns[0] == 5234_000 and first.lengths_ns[0] == 75_000
    assert first.kernels[0][1:] == ("Relu", "CPUExecutionProvider", (("float", (1, 64)),), (("float", (1, 64)),))
    assert runs[1].kernels == first.kernels


def test_names_that_are_numbered_already_stay_unique() -> None:
    kernels = [(name, "Add", "", (), ()) for name in ("a", "a#2", "a", "a")]
    names = [kernel[0] for kernel in unique_names(kernels)]
    assert len(set(names)) == 4 and names[:2] == ["a", "a#2"]


def placed(said_ns: int | None, *, strict: bool = False) -> LayerRows:
    """A run of 80 us with a kernel from 10 to 40 us, in stamps of 100 us; the clock says it begins `said_ns` after."""
    run = ModelRun(7_000_000, 80_000, [(7_010_000, 30_000, ("k", "Add", "", (), ()))])
    rows = LayerRows()
    rows.place(0, run, (50_000, 150_000), None if said_ns is None else 50_000 + said_ns - 7_000_000, strict)
    return rows


@pytest.mark.parametrize(
    ("said_ns", "begin_ns", "centred"), [(15_000, 25_000, 0), (None, 20_000, 1), (900_000, 20_000, 1)]
)
def test_the_clock_places_a_run_unless_it_lies(said_ns: int | None, begin_ns: int, centred: int) -> None:
    rows = placed(said_ns)
    _, kept, dropped = rows.majority()
    assert (list(kept[0][2]), list(kept[0][3])) == ([begin_ns], [begin_ns + 30_000])
    assert (rows.centred, rows.unmatched, dropped) == (centred, 0, 0)


def test_where_it_counts_a_run_that_the_clock_puts_elsewhere_is_left_out() -> None:
    rows = placed(900_000, strict=True)
    assert rows.majority() == ((), [], 0) and rows.unmatched == 1


def test_a_run_longer_than_its_stamps_is_another_one() -> None:
    rows = LayerRows()
    rows.place(0, ModelRun(0, 200_000, []), (0, 100_000), None)
    assert rows.unmatched == 1


def test_inferences_that_ran_other_kernels_are_dropped_and_counted() -> None:
    rows = LayerRows()
    usual, other = ("a", "b"), ("a", "c")
    for index, kernels in enumerate((usual, other, usual, usual)):
        rows.add(index, kernels, [0, 1], [1, 2])
    kernels, kept, dropped = rows.majority()
    assert kernels == usual and [row[0] for row in kept] == [0, 2, 3] and dropped == 1


def test_a_graph_that_cannot_be_traced_costs_nothing_but_the_names(board, make_spec, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such operator")

    spec = make_spec()
    session = board.start_agent(spec, 0)
    monkeypatch.setattr(session, "_trace", broken)
    report = session.profile(replace(spec), count=3)
    session.close()
    assert len(report.profile.kernels) == 7 and "no such operator" in report.problem
