"""The profile pass: so many inferences without a profiler, as many with one, and what each kernel of those took."""

import gc
import os

from .basics import AgentError, sha256
from .layer_rows import described, keep_arrays
from .pins import NoPin
from .profile_onnx import ProfiledOnnxRuntime
from .profile_torch import ProfiledTorchRuntime
from .runtime_onnx import OnnxRuntime
from .runtime_torch import TorchRuntime
from .stamps import Stamps

LEAST_WARM_UP = 3
COVERED = 0.5  # of the inferences' time, or the profiler does not see what matters
RUNTIMES = {"onnxruntime": (OnnxRuntime, ProfiledOnnxRuntime), "torch": (TorchRuntime, ProfiledTorchRuntime)}


def profile(job, directory, write):
    """The outcome of a job `profile`. `write(name, data)` keeps a result file.

    First the runtime as it is measured runs half of the plain inferences, then the same with a profiler runs the
    profiled ones, and the other half once its profiler is off: what drifts meanwhile is no cost of the profiler.
    Never are both in memory at once.
    """
    if job["runtime"]["name"] not in RUNTIMES:
        raise AgentError(
            "spec",
            "the runtime {} does not say when its kernels run".format(job["runtime"]["name"]),
            "leave out `layers` of the protocol",
        )
    plain_runtime, profiled_runtime = RUNTIMES[job["runtime"]["name"]]
    later = job["count"] // 2
    runtime = plain_runtime(job, directory, NoPin())
    warm_up(runtime, {"seconds": job["warm_up_s"]})
    plain = stamped(runtime, job["count"] - later)
    runtime = None
    gc.collect()
    runtime = profiled_runtime(job, directory, NoPin())
    most = int(job["warm_up_s"] / runtime.period_s)  # the machine is warm, and events take memory
    warm_up(runtime, {"seconds": 0.0, "count": max(LEAST_WARM_UP, min(job["count"], most))})
    stamps = stamped(runtime, job["count"])
    rows = runtime.collect(stamps, runtime.calls)
    plain += stamped(runtime, later)
    graph = None
    if runtime.graph:
        graph = {"file": os.path.basename(runtime.graph), "sha256": sha256(runtime.graph)}
    outcome = pack(runtime, rows, stamps, plain, write)
    outcome["problems"] += [runtime.graph_problem] if runtime.graph_problem else []
    return dict(outcome, graph=graph)


def warm_up(runtime, step):
    """Inferences that nobody looks at; they are added to `runtime.calls`."""
    warming = Stamps(0)
    runtime.infer(step, warming, None)
    runtime.calls += warming.rows


def stamped(runtime, count):
    """Stamps [(begin, end)] of `count` inferences."""
    stamps = Stamps(count)
    gc.collect()
    gc.disable()
    try:
        runtime.infer({"seconds": 0.0, "count": count}, stamps, None)
    finally:
        gc.enable()
    return list(zip(stamps.begin[: stamps.rows], stamps.end[: stamps.rows]))


def pack(runtime, rows, stamps, plain, write):
    """Writes profile.npz: `kernels` (JSON), `begin_ns`, `end_ns` (R, L), `inference_ns` (R,), `plain_ns` (Q,)."""
    numpy = runtime.numpy
    kernels, kept, dropped = rows.majority()
    if not kernels:
        raise AgentError("device", "{} named no kernel of {}".format(runtime.profiler, runtime.name))
    arrays = {
        "kernels": described(numpy, kernels),
        "begin_ns": numpy.array([row[2] for row in kept], numpy.int64),
        "end_ns": numpy.array([row[3] for row in kept], numpy.int64),
        "inference_ns": numpy.array([stamps[row[0]][1] - stamps[row[0]][0] for row in kept], numpy.int64),
        "plain_ns": numpy.array([end - begin for begin, end in plain], numpy.int64),
    }
    return dict(
        keep_arrays("profile.npz", arrays, numpy, write),
        source=runtime.profiler, dropped=dropped + rows.unmatched, problems=doubts(runtime, rows, arrays),
    )  # fmt: skip


def doubts(runtime, rows, arrays):
    """What the host should know about a profile that is there, in words."""
    found = []
    if rows.centred:
        found.append(
            "{} profiled inferences lie in the middle of their stamps: the board's clock was set meanwhile, or {} does "
            "not say when it began".format(rows.centred, runtime.profiler)
        )
    covered = float((arrays["end_ns"] - arrays["begin_ns"]).sum()) / max(1.0, float(arrays["inference_ns"].sum()))
    if covered < COVERED:
        found.append("{} sees {:.0f} % of the inferences' time only".format(runtime.profiler, 100.0 * covered))
    return found
