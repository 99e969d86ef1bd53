"""Finished runs to make datasets of: a small network that ONNX Runtime optimised and profiled, with given results."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.core.layers import Kernel, LayerProfile, Tensor
from harness.core.result import BudgetPart, EnergyResult, LayerEnergy, LayerReport, Status
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.timeline import Phase, Span, Timeline
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.store.run_writer import RunWriter

PROTOCOL = ProtocolSpec(
    "quick", "back-to-back", 4, None, 2.0, 5.0, 1.0, 30.0, 1.0, 0.5, 0.3, 0.02, 20, 0.008, "1011", 0.02, 1e-3,
    layers="profile",
)  # fmt: skip
MakeRun = Callable[..., Path]


def small_network() -> bytes:
    """Conv 3 -> 4 (3 x 3) + ReLU on 8 x 8, 2 x 2 pooling, a dense layer of 36 -> 10."""
    rng = np.random.default_rng(1)
    weights = {"w": (4, 3, 3, 3), "b": (4,), "v": (36, 10), "c": (10,)}
    kept = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in weights.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv"),
        helper.make_node("Relu", ["y"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v", "c"], ["z"], "dense"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "small", [x], [z], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, LayerProfile]:
    """The optimised graph, and a profile of its kernels as they were executed."""
    folder = tmp_path_factory.mktemp("executed")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "graph.onnx")
    options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
    session = onnxruntime.InferenceSession(small_network(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.zeros((1, 3, 8, 8), np.float32)})
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    done = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    kernels = tuple(
        Kernel(e["name"].removesuffix("_kernel_time"), e["args"]["op_name"], ("conv",) if not k else (), "cpu",
               *(tuple(Tensor(t, tuple(s)) for row in e["args"][f"{way}_type_shape"] for t, s in row.items())
                 for way in ("input", "output")))
        for k, e in enumerate(done)
    )  # fmt: skip
    begin = np.arange(len(kernels), dtype=np.int64)[None, :] * 100 + np.zeros((5, 1), np.int64)
    inference = np.full(5, 100 * len(kernels), np.int64)
    profile = LayerProfile(kernels, begin, begin + 90, inference, inference - 10, "onnxruntime profiler")
    return (folder / "graph.onnx").read_bytes(), profile


def spec_of(**changes: Any) -> RunSpec:
    """A plain spec; `protocol`, `runtime`, `meter`, `board`: fields to change in those parts."""
    meter = MeterBinding("monsoon", "monsoon", (("main", "main"),), "dc_input", ("main",))
    parts: dict[str, Any] = {
        "board": dataclasses.replace(BoardSpec("pi"), **changes.pop("board", {})),
        "runtime": dataclasses.replace(RuntimeSpec(), **changes.pop("runtime", {})),
        "protocol": dataclasses.replace(PROTOCOL, **changes.pop("protocol", {})),
        "meters": (dataclasses.replace(meter, **changes.pop("meter", {})),),
    }
    plain: dict[str, Any] = {
        "campaign": "demo", "bench": "demo", "repetition": 0, "seed": 7, "simulated": False,
        "model": ModelSpec("small", "/somewhere/small.onnx", "ab" * 32, 1, (("batch", 1),)),
    }  # fmt: skip
    return RunSpec(**{**plain, **parts, **changes})


def result_of(
    kernels: tuple[Kernel, ...], *, simulated: bool = False, groups: bool = True, **changes: Any
) -> EnergyResult:
    """A valid result: the first two kernels in one group (or each alone), the others alone, the rest outside."""
    parts = [(0, 1), *((k,) for k in range(2, len(kernels)))] if groups else [(k,) for k in range(len(kernels))]
    rows = tuple(
        LayerEnergy(
            "+".join(kernels[k].name for k in part), kernels[part[0]].op, (), 1e-3 * (i + 1), 1e-4,
            (1e-3 * (i + 1) - 2e-4, 1e-3 * (i + 1) + 2e-4),
            tuple(kernels[k].name for k in part) if len(part) > 1 else None, 2e-3 * (i + 1), 1e-4, 1e-3, part,
        )
        for i, part in enumerate(parts)
    )  # fmt: skip
    outside = LayerEnergy("(outside kernels)", "outside", (), -1e-5, 1e-4, (-2e-4, 2e-4), None, 1e-5, 1e-5, 1e-5, ())
    total = sum(row.energy_j for row in rows) + outside.energy_j
    values: dict[str, Any] = {
        "status": Status.VALID, "reason": None, "measurand": "dynamic energy of one inference", "n": 400, "starts": 4,
        "energy_per_inference_j": total, "u_j": 2e-4, "interval_95_j": (total - 5e-4, total + 5e-4),
        "gross_energy_per_inference_j": 2 * total, "gross_u_j": 2e-4,
        "gross_interval_95_j": (2 * total - 5e-4, 2 * total + 5e-4), "gap_energy_per_inference_j": 1e-6,
        "standby_w": 1.5, "standby_u_w": 0.01, "coverage": 0.999, "largest_gap_ns": 200_000, "leverage": 0.5,
        "flags": ("inference_times_vary",), "budget": (BudgetPart("repeatability", "A", 2e-4, 2e-4, 12.0),),
        "simulated": simulated, "meter": "monsoon", "channel": "main",
        "details": {"mean_inference_s": 0.004, "accuracy": {"gain_rel": 0.01, "offset_w": 1e-3, "source": "datasheet"}},
        "layers": LayerReport((*rows, outside), total, 0.0, 1e-4, True),
    }  # fmt: skip
    return EnergyResult(**(values | changes))


@pytest.fixture
def make_run(tmp_path: Path, executed: tuple[bytes, LayerProfile]) -> MakeRun:
    """Writes a finished run with its result below `root`; see `spec_of` and `result_of`."""
    graph, profile = executed

    def make(
        root: str = "runs", result: dict[str, Any] | None = None, *, profiled: bool = True, graphed: bool = True,
        version: str = "1.20.0",
        **changes: Any,
    ) -> Path:  # fmt: skip
        spec = spec_of(**changes)
        writer = RunWriter.create(tmp_path / root, spec)
        reading = Reading(ReadingKind.MEAN, 200_000, 200_000)
        channel = ChannelSpec("main", "power_w", ("main",), reading, Accuracy(0.01, 1e-3, 1e-5, "datasheet"))
        info = MeterInfo("monsoon", "HVPM", "1", "32", "meter:1", (ColumnSpec("main", "A"),), (channel,),
                         simulated=spec.simulated)  # fmt: skip
        blocks = writer.block_writer("monsoon", info)
        t_ns = (np.arange(50) + 1) * 200_000
        calibration = [CalibrationPiece(0, "main", 0, 1e-3, 0.0)]
        blocks.append(Block(t_ns, {"main": np.ones(50, np.int16)}, calibration, [], np.empty((0, 2), np.int64), {}))
        begin = np.array([0, 100], np.int64)
        writer.put_timeline(
            Timeline("board:pi", (Span(0, Phase.MEASURED, 0, 300),), np.zeros(2, np.int64),
                     np.full(2, list(Phase).index(Phase.MEASURED), np.int64), begin, begin + 90)
        )  # fmt: skip
        state = {"cpu_model": "A72", "machine": "aarch64", "governor": {"policy0": "performance"},
                 "temperature_c": {"cpu": 41.5, "gpu": 40.0}}  # fmt: skip
        writer.put_json("board_state", {"before": state, "after": {**state, "temperature_c": {"cpu": 55.0}}})
        writer.put_json("runtime", {"version": version, "providers": ["CPUExecutionProvider"]})
        if profiled:
            writer.put_profile(profile)
        if profiled and graphed:
            writer.put_graph(graph)
        path = writer.finish()
        manifest = json.loads((path / "manifest.json").read_text("utf-8"))
        found = result_of(profile.kernels, simulated=spec.simulated, **(result or {})).to_json()
        found["provenance"] = {"manifest_sha256": manifest["manifest_sha256"]}
        (path / "derived").mkdir()
        (path / "derived" / "result.json").write_text(json.dumps(found), "utf-8")
        return path

    return make


@pytest.fixture(scope="session")
def source() -> bytes:
    """The small network as its author gave it."""
    return small_network()
