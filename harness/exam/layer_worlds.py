"""Measures networks with layers in virtual worlds, and grades what the analysis says of their kernels."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

from analysis.analyse import Analysis, analyse_run
from analysis.verdict.judge import PowerJudge
from drivers.simulated.rig.kernels import KernelList
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import draw
from harness.bench.runner import execute_run
from harness.core.events import EventStream
from harness.core.spec import ProtocolSpec, RunSpec
from harness.exam.layers import LayerExam, examine_layers, kernel_truth
from harness.exam.virtual import exam_protocol, exam_spec, virtual_bench
from harness.store.run_reader import RunReader

PROFILED = 100


def layer_spec(
    seed: int, how: str, *, kernels: KernelList | None = None, name: str = "net", protocol: ProtocolSpec | None = None
) -> RunSpec:
    """The RunSpec of a network with layers in world `seed`; `how`: "profile" or "instances"."""
    protocol = protocol if protocol is not None else exam_protocol()
    spec = exam_spec(seed, protocol=dataclasses.replace(protocol, layers=how, profile_inferences=PROFILED))
    if kernels is None:
        return spec
    sha256 = (kernels.digest * 6)[:64]  # another network is another model, with other kernels' powers
    return dataclasses.replace(spec, model=dataclasses.replace(spec.model, name=name, sha256=sha256))


def layer_world(
    seed: int,
    how: str = "profile",
    *,
    kernels: KernelList | None = None,
    name: str = "net",
    world_file: Path | str | None = None,
    protocol: ProtocolSpec | None = None,
    keep: Path | None = None,
    analyse: Callable[[RunReader], Analysis] = analyse_run,
) -> LayerExam | None:
    """One network in one world: measured, analysed, graded; None if the analysis says nothing of layers.

    `kernels`: what it executes, None: made up; `keep`: a folder for the run directory (default: thrown away).
    """
    world = draw(seed, load_ranges(world_file))
    spec = layer_spec(seed, how, kernels=kernels, name=name, protocol=protocol)
    bench = virtual_bench(world, spec)
    bench.board.kernels = kernels
    with tempfile.TemporaryDirectory(prefix="joulebench-exam-") as scratch:
        path = execute_run(
            spec, root=keep or Path(scratch), board=bench.board, meters=bench.meters, judge=PowerJudge(),
            clock=bench.clock, events=EventStream(),
        )  # fmt: skip
        run = RunReader.open(path)
        bench.rig.flush()
        truth = kernel_truth(
            run, bench.truth.records(), bench.truth.layers.truths(), to_host=bench.board.host_ns
        )  # fmt: skip
        return examine_layers(run, analyse(run).primary, truth, world=f"{world.ranges.name}/{seed}")
