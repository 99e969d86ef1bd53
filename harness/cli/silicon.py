"""What the silicon of a simulated bench executes: the kernels that this machine really runs for a model.

    python -m harness.cli.silicon < JOB      a process of its own, on the CPUs that the agents get; used by this module

A simulated board runs the model in earnest, so its power has to follow the kernels that are really executed. They are
looked up before the run, in a session that has nothing to do with the run's own profile pass: its shares differ from
the pipeline's, as those of a real board do.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.errors import BenchError, DeviceError
from harness.core.layers import Kernel
from harness.core.spec import RunSpec, RuntimeSpec

if TYPE_CHECKING:
    from drivers.simulated.rig.kernels import KernelList
    from harness.models.prepared import PreparedModel

LONGEST_S = 20.0  # spent on inferences, however many were asked for
LEAST = 5
_KERNEL, _LEVELS = "_kernel_time", {"disabled": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED"}
_SHORTEST_US = 0.1  # the profiler cuts microseconds off; nothing takes no time
_LEAST_OF_GAPS = 0.2  # that is left of the time between kernels when the profiler's cost is taken out


def kernels_of_run(spec: RunSpec, *, cache: Path, cpus: Sequence[int] = ()) -> tuple[KernelList | None, str]:
    """The kernels of a run's model, or None and why this machine cannot say."""
    from harness.models.resolve import prepare_model

    if spec.runtime.name != "onnxruntime":
        return None, f"the runtime {spec.runtime.name} does not say which kernels it runs"
    count = max(100, 2 * spec.protocol.profile_inferences)
    try:
        return kernels_on_this_machine(prepare_model(spec.model), spec.runtime, count=count, cache=cache, cpus=cpus), ""
    except BenchError as error:
        return None, error.message


def kernels_on_this_machine(
    model: PreparedModel, runtime: RuntimeSpec, *, count: int, cache: Path, cpus: Sequence[int] = ()
) -> KernelList:
    """Kernels of `model` in ONNX Runtime with these settings, shares as they are without a profiler.

    The list is kept in `cache` by model, inputs and settings. DeviceError if the model cannot be run.
    """
    from drivers.simulated.rig.kernels import KernelList

    settings = {"threads": runtime.threads, "optimisation": runtime.optimisation, "spinning": runtime.spinning}
    identity = [model.sha256, model.inputs_sha256, settings, count, list(cpus)]
    kept = cache / f"{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]}.json"
    if not kept.is_file():
        job = {"model": str(model.path), "inputs": str(model.inputs_path), "count": count, "cpus": list(cpus)}
        found = _in_another_process({**job, **settings})
        cache.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(found), encoding="utf-8")
        partial.replace(kept)
    return KernelList.from_json(json.loads(kept.read_text("utf-8")))


def _in_another_process(job: dict[str, Any]) -> dict[str, Any]:
    argv = [sys.executable, "-m", "harness.cli.silicon"]
    limit_s = 6 * LONGEST_S + 60
    try:
        done = subprocess.run(argv, input=json.dumps(job), capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"the kernels of {job['model']} were not found within {limit_s:g} s") from error
    if done.returncode != 0:
        raise DeviceError(f"the kernels of {job['model']} cannot be found: {done.stderr.strip()[-400:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- in the other process ---------------------------------------------------------------------------


def profiled(job: dict[str, Any]) -> KernelList:
    """Run the model with and without a profiler and put together what its inferences consist of."""
    import onnxruntime

    with np.load(job["inputs"], allow_pickle=False) as given:
        feed = {name: given[name] for name in given.files}

    def session(profile_to: str | None) -> Any:
        options = onnxruntime.SessionOptions()
        level = _LEVELS.get(job["optimisation"], "ENABLE_ALL")
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
        options.intra_op_num_threads, options.inter_op_num_threads = int(job["threads"]), 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if job["spinning"] == "on" else "0")
        if profile_to is not None:
            options.enable_profiling, options.profile_file_prefix = True, profile_to
        return onnxruntime.InferenceSession(job["model"], sess_options=options, providers=["CPUExecutionProvider"])

    plain_s = _timed(session(None), feed, job["count"])
    with tempfile.TemporaryDirectory(prefix="joulebench-silicon-") as folder:
        under = session(str(Path(folder) / "profile"))
        _timed(under, feed, job["count"])
        events = json.loads(Path(under.end_profiling()).read_text("utf-8", errors="replace"))
    return kernel_list(events, float(np.median(plain_s)))


def _timed(session: Any, feed: dict[str, Any], count: int) -> list[float]:
    """Durations (s) of `count` inferences after some that warm up; fewer if they take too long."""
    for _ in range(LEAST):
        session.run(None, feed)
    taken: list[float] = []
    begun = time.perf_counter()
    while len(taken) < count and (len(taken) < LEAST or time.perf_counter() - begun < LONGEST_S):
        begin = time.perf_counter()
        session.run(None, feed)
        taken.append(time.perf_counter() - begin)
    return taken


def kernel_list(events: Sequence[dict[str, Any]], plain_s: float) -> KernelList:
    """From the events of ONNX Runtime's profiler, several inferences; medians over those that ran alike.

    What the profiler adds is taken from the time between kernels, as far as there is some, so that an inference lasts
    `plain_s`. A kernel that runs again is called NAME#2. SpecError if kernels overlap.
    """
    from drivers.simulated.rig.kernels import KernelList

    runs = _runs(events)
    if not runs:
        raise DeviceError("the profiler named no kernel")
    kinds = [tuple((e["name"], e["args"].get("op_name", "")) for e in nodes) for _, nodes in runs]
    usual = max(set(kinds), key=kinds.count)
    alike = [run for run, kind in zip(runs, kinds, strict=True) if kind == usual][min(LEAST, len(runs) - 1) :]
    alike = alike or [run for run, kind in zip(runs, kinds, strict=True) if kind == usual]
    begin = np.array([[e["ts"] - run["ts"] for e in nodes] for run, nodes in alike], np.float64)
    taken = np.array([[e["dur"] for e in nodes] for _, nodes in alike], np.float64)
    length = np.array([run["dur"] for run, _ in alike], np.float64)
    kernels_us = np.maximum(np.median(taken, axis=0) + 0.5, _SHORTEST_US)  # whole microseconds were cut off
    after = np.concatenate([begin[:, 1:], length[:, None]], 1)
    gaps_us = np.maximum(np.median(after - begin - taken, axis=0) - 0.5, 0)
    pieces = np.concatenate([[np.median(begin[:, 0])], np.stack([kernels_us, gaps_us], 1).ravel()])
    between = pieces[0::2].sum()
    left = max(plain_s * 1e6 - kernels_us.sum(), _LEAST_OF_GAPS * between)
    pieces[0::2] *= min(1.0, left / between) if between > 0 else 1.0
    edges = np.clip(np.cumsum(pieces) / pieces.sum(), 0, 1)[:-1]
    kernels = tuple(Kernel(name, op) for name, op in _unique(usual))
    return KernelList(kernels, edges[0::2], edges[1::2], plain_s)


def _runs(events: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each inference with its kernels in order; of a control-flow node with a body the body only."""
    runs = sorted((e for e in events if e.get("name") == "model_run"), key=lambda e: int(e["ts"]))
    nodes = [e for e in events if e.get("cat") == "Node" and str(e.get("name", "")).endswith(_KERNEL)]
    nodes.sort(key=lambda e: int(e["ts"]))
    at = np.array([int(e["ts"]) for e in nodes])
    found = []
    for run in runs:
        first, last = np.searchsorted(at, [run["ts"], run["ts"] + run["dur"]], side="left")
        inside = [e for e in nodes[first:last] if not _holds_others(e, nodes[first:last])]
        if inside:
            found.append((run, inside))
    return found


def _holds_others(event: dict[str, Any], nodes: Sequence[dict[str, Any]]) -> bool:
    if event["args"].get("op_name") not in ("If", "Loop", "Scan"):
        return False
    end = event["ts"] + event["dur"]
    return any(e is not event and event["ts"] <= e["ts"] and e["ts"] + e["dur"] <= end for e in nodes)


def _unique(kinds: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    counts: dict[str, int] = {}
    named = []
    for event, op in kinds:
        name = event.removesuffix(_KERNEL)
        counts[name] = counts.get(name, 0) + 1
        named.append((name if counts[name] == 1 else f"{name}#{counts[name]}", op))
    return named


def main() -> None:
    job = json.load(sys.stdin)
    if job["cpus"]:
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setaffinity(0, set(job["cpus"]))
    print(json.dumps(profiled(job).to_json()))


if __name__ == "__main__":
    main()
