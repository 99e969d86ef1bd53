"""Measured inferences that run with the profiler on, so that every kernel of each has stamps of its own."""

import os

from .basics import AgentError
from .layer_rows import described, keep_arrays
from .limits import MIB, memory_available
from .ort_events import model_runs
from .profile_onnx import ProfiledOnnxRuntime, remove

MOST_EVENTS = 1000000  # ONNX Runtime keeps no more, and says nothing
BESIDE = 2  # events of an inference beside its kernels
MARGIN = 1.3  # more inferences than the first ones let expect
EVENT_BYTES = 2500  # of one event in memory; on the disk it takes a third
FILE_BYTES = 900


class InstanceRuntime(ProfiledOnnxRuntime):
    """ONNX Runtime whose profiler runs from the load to the end of the first program with inferences.

    A runtime's profiler can be ended once; what follows (standby, outputs) is not stamped.
    """

    def __init__(self, job, directory, pin):
        self._ended = False
        kernels = _kernels_in_one(job, directory, pin)
        ProfiledOnnxRuntime.__init__(self, job, directory, pin, want_graph=False)
        self._refuse_too_many(kernels, job["instances"])

    def details(self):
        return dict(ProfiledOnnxRuntime.details(self), layers="instances")

    def _refuse_too_many(self, kernels, planned):
        """Events are kept in memory, and only so many: rather an error before than stamps that stop half-way."""
        inferences = MARGIN * planned["seconds"] / self.period_s + planned["count"] + self.calls
        events = inferences * (kernels + BESIDE)
        hint = "shorten measure_s (more starts make up for it), or write `layers: profile`"
        plan = "layers: instances of {}: {:.0f} inferences of {} kernels".format(self.name, inferences, kernels)
        if events > MOST_EVENTS:
            raise AgentError(
                "spec",
                "{} are {:.0f} events a start, and ONNX Runtime keeps {}".format(plan, events, MOST_EVENTS),
                hint,
            )
        free, disk = memory_available(), os.statvfs(self._directory)
        for room, wanted, what in (
            (None if free is None else free // 2, events * EVENT_BYTES, "half of the free memory"),
            (disk.f_bavail * disk.f_frsize, events * FILE_BYTES, "the free disk space"),
        ):
            if room is not None and wanted > room:
                raise AgentError(
                    "spec",
                    "{} take {:.0f} MiB, more than {} of the board, {:.0f} MiB".format(
                        plan, wanted / MIB, what, room / MIB
                    ),
                    hint,
                )

    def collect_instances(self, key, program, write):
        """Keeps the stamps of the measured inferences of `program`; None if there were none, or they had no profiler.

        KEY.layers.npz: `kernels` (JSON), `inference_begin_ns` (M,), `begin_ns`, `end_ns` (M, L) on CLOCK_MONOTONIC.
        """
        spans = [span for span in program.spans if span[0] != "marker" and span[4]]
        if self._ended or not spans:
            return None
        self._ended = True
        stamps, measured = [], set()
        for phase, _, _, first, count in spans:
            if phase == "measured":
                measured.update(range(len(stamps), len(stamps) + count))
            rows = range(first, first + count)
            stamps.extend((program.stamps.begin[k], program.stamps.end[k]) for k in rows)
        rows = self.collect(stamps, self.calls, wanted=measured)
        kernels, kept, dropped = rows.majority()
        facts = {"measured": len(measured), "stamped": len(kept), "dropped": dropped, "unmatched": rows.unmatched}
        if not kept:
            return facts
        numpy = self.numpy
        begin = numpy.array([stamps[row[0]][0] for row in kept], numpy.int64)
        arrays = {
            "kernels": described(numpy, kernels),
            "inference_begin_ns": begin,
            "begin_ns": numpy.array([row[2] for row in kept], numpy.int64) + begin[:, None],
            "end_ns": numpy.array([row[3] for row in kept], numpy.int64) + begin[:, None],
        }
        return dict(facts, **keep_arrays(key + ".layers.npz", arrays, numpy, write))


def _kernels_in_one(job, directory, pin):
    """How many kernels one inference runs, found by a session of its own, since a profile can be read only once."""
    runtime = ProfiledOnnxRuntime(job, directory, pin, want_graph=False)
    path = runtime.session.end_profiling()
    try:
        return max(len(run.kernels) for run in model_runs(path))
    finally:
        remove(path)
