"""ONNX Runtime with its profiler on: the runtime of the profile pass, and of measured inferences that stamp kernels."""

import os

from .basics import AgentError
from .layer_rows import LayerRows, RealTime
from .ort_events import model_runs
from .runtime_onnx import OnnxRuntime

WEIGHTS = "optimised.weights"
WEIGHTS_FROM_BYTES = "1024"  # larger tensors are no part of the graph that is sent home


class ProfiledOnnxRuntime(OnnxRuntime):
    """The same session with a profiler. `graph`: path of the optimised graph without weights, if it was asked for;
    `graph_problem`: why there is none."""

    def __init__(self, job, directory, pin, want_graph=True):
        self._directory, self._want_graph = os.path.join(directory, "results"), want_graph
        self.graph = self.graph_problem = self.clock = None
        OnnxRuntime.__init__(self, job, directory, pin)

    @property
    def profiler(self):
        return "onnxruntime {} profiler".format(self._ort.__version__)

    def _prepare_session(self):
        self.options.enable_profiling = True
        self.options.profile_file_prefix = os.path.join(self._directory, "profile")
        self.clock = RealTime()
        if self._want_graph:
            self._weights = os.path.join(self._directory, WEIGHTS)
            self.graph = os.path.join(self._directory, "layers.onnx")

    def open_session(self, job):
        if not self.graph:
            return OnnxRuntime.open_session(self, job)
        try:
            try:
                os.symlink(os.devnull, self._weights)  # the weights are there already: nothing is written twice
                self.options.optimized_model_filepath = self.graph
                entry = self.options.add_session_config_entry
                entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
                entry("session.optimized_model_external_initializers_min_size_in_bytes", WEIGHTS_FROM_BYTES)
                session = OnnxRuntime.open_session(self, job)
            except (AgentError, OSError) as error:
                self.graph, self.graph_problem = None, "the optimised graph cannot be saved: {}".format(error)
                self.options = self._session_options(job["runtime"])
                self._prepare_profiling_only()
                return OnnxRuntime.open_session(self, job)
            if not os.path.exists(self.graph):
                self.graph, self.graph_problem = None, "this ONNX Runtime saved no optimised graph"
            return session
        finally:
            remove(self._weights)

    def _prepare_profiling_only(self):
        self._want_graph = False
        self._prepare_session()

    def offset_ns(self, stamp_ns):
        """CLOCK_MONOTONIC at the profile's own zero, as it is at `stamp_ns`; None if this runtime does not say.

        On Linux its clock is CLOCK_REALTIME (std::chrono::high_resolution_clock of libstdc++).
        """
        begun = getattr(self.session, "get_profiling_start_time_ns", None)
        return begun() - self.clock.ahead_ns(stamp_ns) if begun else None

    def collect(self, stamps, before, wanted=None):
        """Ends the profiler, and gives the LayerRows of the stamped inferences [(begin, end)]: `before` came first.

        `wanted`: indices of those to keep, which the clock must find where they were stamped; all by default.
        """
        self.clock.look()
        path = self.session.end_profiling()
        rows = LayerRows()
        try:
            number = -1 - before
            for run in model_runs(path):
                number += 1
                if 0 <= number < len(stamps) and (wanted is None or number in wanted):
                    rows.place(
                        number, run, stamps[number], self.offset_ns(stamps[number][0]), strict=wanted is not None
                    )
        finally:
            remove(path)
        missing = range(number + 1, len(stamps))
        rows.unmatched += len(missing if wanted is None else wanted.intersection(missing))
        return rows


def remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass
