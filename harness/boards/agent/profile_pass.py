"""The profile pass: so many inferences without a profiler, as many with one, and what each kernel of those took."""

import gc
import hashlib
import io
import json
import os

from .basics import AgentError, sha256
from .layer_rows import unique_names
from .pins import NoPin
from .profile_onnx import ProfiledOnnxRuntime
from .runtime_onnx import OnnxRuntime
from .stamps import Stamps

LEAST_WARM_UP = 3


def profile(job, directory, write):
    """The outcome of a job `profile`. `write(name, data)` keeps a result file.

    First the runtime as it is measured runs half of the plain inferences, then the same with a profiler runs the
    profiled ones, and the other half once its profiler is off: what drifts meanwhile is no cost of the profiler.
    Never are both in memory at once.
    """
    if job["runtime"]["name"] != "onnxruntime":
        raise AgentError(
            "spec",
            "the runtime {} does not say when its kernels run".format(job["runtime"]["name"]),
            "leave out `layers` of the protocol",
        )
    later = job["count"] // 2
    plain = warmed_up(OnnxRuntime(job, directory, NoPin()), job, job["count"] - later)
    gc.collect()
    runtime = ProfiledOnnxRuntime(job, directory, NoPin())
    stamps = warmed_up(runtime, job, job["count"])
    rows = runtime.collect(stamps, runtime.calls)
    plain += stamped(runtime, later)
    graph = None
    if runtime.graph:
        graph = {"file": os.path.basename(runtime.graph), "sha256": sha256(runtime.graph)}
    outcome = pack(runtime, rows, stamps, plain, write)
    return dict(outcome, graph=graph, graph_problem=runtime.graph_problem)


def warmed_up(runtime, job, count):
    """Stamps [(begin, end)] of `count` inferences after a warm-up, which is added to `runtime.calls`."""
    warming = Stamps(0)
    runtime.infer({"seconds": job["warm_up_s"]}, warming, None)
    runtime.infer({"seconds": 0.0, "count": LEAST_WARM_UP}, warming, None)
    runtime.calls += warming.rows
    return stamped(runtime, count)


def stamped(runtime, count):
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
        "kernels": numpy.frombuffer(json.dumps(unique_names(kernels)).encode("utf-8"), numpy.uint8),
        "begin_ns": numpy.array([row[2] for row in kept], numpy.int64),
        "end_ns": numpy.array([row[3] for row in kept], numpy.int64),
        "inference_ns": numpy.array([stamps[row[0]][1] - stamps[row[0]][0] for row in kept], numpy.int64),
        "plain_ns": numpy.array([end - begin for begin, end in plain], numpy.int64),
    }
    packed = io.BytesIO()
    numpy.savez_compressed(packed, **arrays)
    data = packed.getvalue()
    write("profile.npz", data)
    return {
        "file": "profile.npz",
        "sha256": hashlib.sha256(data).hexdigest(),
        "source": runtime.profiler,
        "dropped": dropped + rows.unmatched,
        "centred": rows.centred,
    }
