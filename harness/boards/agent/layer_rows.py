"""Kernels of single inferences, put into the stamped inferences they belong to, and those kept that ran alike."""

import array
import hashlib
import io
import json
import time

from .basics import now_ns

TOLERANCE_NS = 3000  # a profiler counts whole microseconds, and its clock is read at other moments than ours


class ModelRun:
    """An inference as a profiler saw it, in ns of its clock: `begin_ns`, `length_ns`, and its kernels in order.

    `events`: (begin, length, description); a description is (name, op, provider, inputs, outputs), tensors as
    (type, shape). `begins_ns`, `lengths_ns`: of the kernels.
    """

    def __init__(self, begin_ns, length_ns, events):
        self.begin_ns, self.length_ns = begin_ns, length_ns
        events.sort(key=lambda event: event[0])  # stable: those of the same microsecond stay as they were executed
        self.kernels = tuple(event[2] for event in events)
        self.begins_ns = array.array("q", [event[0] for event in events])
        self.lengths_ns = array.array("q", [event[1] for event in events])


class LayerRows:
    """Rows of kernel times. Inferences in which other kernels ran than in most are dropped, and counted."""

    def __init__(self):
        self._rows = []  # (index of the inference, kernels, begin, end): ns since the inference's begin
        self.unmatched = 0  # inferences whose events do not fit into their stamps
        self.centred = 0  # inferences placed in the middle of their stamps, since no clock placed them

    def add(self, index, kernels, begin_ns, end_ns):
        self._rows.append((index, kernels, begin_ns, end_ns))

    def majority(self):
        """(kernels, rows that ran them, how many others there were)."""
        counts = {}
        for _, kernels, _, _ in self._rows:
            counts[kernels] = counts.get(kernels, 0) + 1
        if not counts:
            return (), [], 0
        usual = max(counts, key=lambda kernels: (counts[kernels], len(kernels)))
        kept = [row for row in self._rows if row[1] == usual]
        return usual, kept, len(self._rows) - len(kept)

    def place(self, index, run, stamp, offset_ns, strict=False):
        """Puts a ModelRun into the stamped inference `stamp` (begin, end), and keeps it.

        `offset_ns`: CLOCK_MONOTONIC minus the profile's time, or None. The run must lie inside the stamps; if the clock
        says otherwise (it was set meanwhile), the run goes to their middle, or is no match if `strict`. A run longer
        than its stamps is no match.
        """
        begin, end = stamp
        length = run.length_ns
        if length > end - begin + TOLERANCE_NS:
            self.unmatched += 1
            return
        shift = (end - begin - length) // 2
        if offset_ns is not None:
            said = run.begin_ns + offset_ns - begin
            if -TOLERANCE_NS <= said and said + length <= end - begin + TOLERANCE_NS:
                shift = said
            elif strict:
                self.unmatched += 1
                return
            else:
                offset_ns = None
        self.centred += offset_ns is None
        begins, ends = array.array("q"), array.array("q")
        for begin_ns, length_ns in zip(run.begins_ns, run.lengths_ns):
            at = begin_ns - run.begin_ns + shift
            begins.append(min(max(at, 0), end - begin))
            ends.append(min(max(at + length_ns, 0), end - begin))
        self.add(index, run.kernels, begins, ends)


def _real_of_python_36():
    return int(time.time() * 1e9)


real_ns = getattr(time, "time_ns", _real_of_python_36)


class RealTime:
    """How far CLOCK_REALTIME is ahead of CLOCK_MONOTONIC, which NTP may change while something runs."""

    def __init__(self):
        self._pairs = []
        self.look()

    def look(self):
        """One more pair, the tightest of several."""
        best = None
        for _ in range(9):
            before = now_ns()
            real = real_ns()
            after = now_ns()
            if best is None or after - before < best[0]:
                best = (after - before, (before + after) // 2, real)
        self._pairs.append((best[1], best[2] - best[1]))

    def ahead_ns(self, t_ns):
        """At `t_ns` on CLOCK_MONOTONIC, on a line through the first and the last look."""
        (first_ns, first), (last_ns, last) = self._pairs[0], self._pairs[-1]
        if last_ns == first_ns:
            return first
        share = min(max((t_ns - first_ns) / (last_ns - first_ns), 0.0), 1.0)
        return first + int(round(share * (last - first)))


def described(numpy, kernels):
    """Kernels as an array of bytes: JSON, with names that are unique."""
    return numpy.frombuffer(json.dumps(unique_names(kernels)).encode("utf-8"), numpy.uint8)


def keep_arrays(name, arrays, numpy, write):
    """Keeps arrays as the result file `name`; its name and hash."""
    packed = io.BytesIO()
    numpy.savez_compressed(packed, **arrays)
    data = packed.getvalue()
    write(name, data)
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def unique_names(kernels):
    """Descriptions with names that are unique: what ran again is called NAME#2, NAME#3, ..."""
    counts, named, taken = {}, [], set(kernel[0] for kernel in kernels)
    for kernel in kernels:
        counts[kernel[0]] = number = counts.get(kernel[0], 0) + 1
        name = kernel[0]
        while number > 1:
            name = "{}#{}".format(kernel[0], number)
            if name not in taken:
                break
            counts[kernel[0]] = number = number + 1
        taken.add(name)
        named.append((name,) + tuple(kernel[1:]))
    return named
