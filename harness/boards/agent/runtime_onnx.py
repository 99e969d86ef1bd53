"""The runtime ONNX Runtime: numpy and onnxruntime are imported only when a model is loaded."""

import os
import sys

from .basics import AgentError
from .inference_loop import InProcessRuntime, demand_version
from .limits import limit_memory, out_of_memory, too_large

OPTIMISATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


class OnnxRuntime(InProcessRuntime):
    """A model in ONNX Runtime on the CPU, with inputs bound once so that the loop only calls and stamps."""

    def __init__(self, job, directory, pin):
        InProcessRuntime.__init__(self, pin)
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            raise AgentError(
                "device",
                "the board's Python {} cannot run the runtime onnxruntime: {}".format(sys.executable, error),
                "{} -m pip install onnxruntime numpy".format(sys.executable),
            )
        self.numpy, self._ort = numpy, onnxruntime
        settings = job["runtime"]
        wanted = settings.get("version")
        install = "{} -m pip install onnxruntime=={}".format(sys.executable, wanted)
        demand_version("onnxruntime", onnxruntime.__version__, wanted, install)
        self.name = job.get("name", job["model"])
        limit_memory(job)
        self.options = self._session_options(settings)
        if job.get("save_optimised"):
            self.optimised = os.path.join(directory, "results", "optimised.onnx")
            self.options.optimized_model_filepath = self.optimised
        self.calls = 0  # inferences outside of programs
        self._prepare_session()
        self.session = self.open_session(job)
        with numpy.load(job["inputs"], allow_pickle=False) as given:
            self.feed = dict((name, given[name]) for name in given.files)
        self.settings = settings
        self.mode, self._run, self._argument = self._bind(job)
        self._pace()
        self.calls += 2

    def _prepare_session(self):
        """For subclasses that add to `options`."""

    def open_session(self, job):
        try:
            return self._ort.InferenceSession(
                job["model"], sess_options=self.options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            if out_of_memory(error):
                raise too_large(job, error)
            raise AgentError("spec", "onnxruntime cannot load {}: {}".format(self.name, error))

    def _session_options(self, settings):
        options = self._ort.SessionOptions()
        level = settings["optimisation"]
        if level not in OPTIMISATION:
            raise AgentError("spec", "optimisation {!r} is none of {}".format(level, sorted(OPTIMISATION)))
        options.graph_optimization_level = getattr(self._ort.GraphOptimizationLevel, OPTIMISATION[level])
        options.intra_op_num_threads = int(settings["threads"])
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        spin = "1" if settings["spinning"] == "on" else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spin)
        options.add_session_config_entry("session.inter_op.allow_spinning", spin)
        return options

    def _bind(self, job):
        """IO binding where the model allows it; models with strings, maps or sequences are fed each time."""
        run, feed = self.session.run, self.feed
        self.calls += 1
        try:
            run(None, feed)
        except Exception as error:
            if out_of_memory(error):
                raise too_large(job, error)
            raise AgentError("spec", "onnxruntime cannot run {}: {}".format(self.name, error))
        kinds = [v.type for v in self.session.get_inputs() + self.session.get_outputs()]
        if not all(kind.startswith("tensor(") and kind != "tensor(string)" for kind in kinds):
            return "feed", lambda given: run(None, given), feed
        binding = self.session.io_binding()
        for name in feed:
            binding.bind_cpu_input(name, feed[name])
        for output in self.session.get_outputs():
            binding.bind_output(output.name, "cpu")
        return "io_binding", self.session.run_with_iobinding, binding

    def details(self):
        return {
            "runtime": "onnxruntime",
            "version": self._ort.__version__,
            "providers": self.session.get_providers(),
            "threads": int(self.settings["threads"]),
            "spinning": self.settings["spinning"],
            "optimisation": self.settings["optimisation"],
            "binding": self.mode,
            "inputs": [[v.name, list(v.shape), v.type] for v in self.session.get_inputs()],
            "outputs": [[v.name, list(v.shape), v.type] for v in self.session.get_outputs()],
            "optimised": self.optimised,
            "pauses": True,
            "has_outputs": True,
        }

    def outputs(self, path):
        self._pin.high()
        self.calls += 1
        try:
            values = self.session.run(None, self.feed)
        finally:
            self._pin.low()
        names = [v.name for v in self.session.get_outputs()]
        self.numpy.savez(path, **dict(zip(names, values)))
        return True
