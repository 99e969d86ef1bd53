"""ONNX Runtime's profile: which kernels ran in each inference, and when, read line by line in little memory.

The file holds one event a line. `ts` (since the profile's start) and `dur` are whole microseconds, cut off: a kernel
is up to 1 us longer and later than it says, and one of less than 1 us may have no duration at all.
"""

import json

from .layer_rows import ModelRun

KERNEL = "_kernel_time"
US = 1000
BODIES = ("If", "Loop", "Scan")  # their bodies' kernels are events of their own, inside the event of the whole


def model_runs(path):
    """Yields every inference of the profile at `path`, in order.

    Equal descriptions are one object.
    """
    known, events = {}, []
    with open(path, encoding="utf-8", errors="replace") as profile:
        for line in profile:
            if KERNEL in line:
                event = json.loads(line.strip().rstrip(","))
                if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
                    _append(events, event, known)
            elif '"model_run"' in line:
                run = json.loads(line.strip().rstrip(","))
                if run["name"] == "model_run":
                    yield ModelRun(int(run["ts"]) * US, int(run["dur"]) * US, events)
                    events = []


def _append(events, event, known):
    args = event.get("args", {})
    op, begin = args.get("op_name", ""), int(event["ts"]) * US
    if op in BODIES and events and events[-1][0] >= begin:
        return  # its body is listed kernel by kernel; listing the whole as well would count the time twice
    described = (
        event["name"][: -len(KERNEL)], op, args.get("provider", ""),
        _tensors(args.get("input_type_shape")), _tensors(args.get("output_type_shape")),
    )  # fmt: skip
    events.append((begin, int(event["dur"]) * US, known.setdefault(described, described)))


def _tensors(given):
    """((type, shape), ...); a missing optional input is left out."""
    return tuple((kind, tuple(shape)) for entry in given or () for kind, shape in entry.items())
