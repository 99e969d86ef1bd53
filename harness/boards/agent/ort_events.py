"""ONNX Runtime's profile: which kernels ran in each inference, and when, read line by line in little memory.

The file holds one event a line. `ts` (since the profile's start) and `dur` are whole microseconds, cut off: a kernel
is up to 1 us longer and later than it says, and one of less than 1 us may have no duration at all.
"""

import array
import json

KERNEL = "_kernel_time"
BODIES = ("If", "Loop", "Scan")  # their bodies' kernels are events of their own, inside the event of the whole


class ModelRun:
    """One inference: `begin_us`, `dur_us`; `kernels`: tuple of descriptions in order; `ts_us`, `durs_us`: theirs."""

    def __init__(self, begin_us, dur_us, events):
        self.begin_us, self.dur_us = begin_us, dur_us
        events.sort(key=lambda event: event[0])  # stable: those of the same microsecond stay as they were executed
        self.kernels = tuple(event[2] for event in events)
        self.ts_us = array.array("q", [event[0] for event in events])
        self.durs_us = array.array("q", [event[1] for event in events])


def model_runs(path):
    """Yields every inference of the profile at `path`, in order.

    A kernel's description is (name, op, provider, inputs, outputs), tensors as (type, shape); equal ones are shared.
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
                    yield ModelRun(int(run["ts"]), int(run["dur"]), events)
                    events = []


def _append(events, event, known):
    args = event.get("args", {})
    op, begin = args.get("op_name", ""), int(event["ts"])
    if op in BODIES and events and events[-1][0] >= begin:
        return  # its body is listed kernel by kernel; listing the whole as well would count the time twice
    described = (
        event["name"][: -len(KERNEL)], op, args.get("provider", ""),
        _tensors(args.get("input_type_shape")), _tensors(args.get("output_type_shape")),
    )  # fmt: skip
    events.append((begin, int(event["dur"]), known.setdefault(described, described)))


def _tensors(given):
    """((type, shape), ...); a missing optional input is left out."""
    return tuple((kind, tuple(shape)) for entry in given or () for kind, shape in entry.items())
