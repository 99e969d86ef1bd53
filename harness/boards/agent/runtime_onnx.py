"""The runtime ONNX Runtime: numpy and onnxruntime are imported only when a model is loaded."""

import os
import sys

from .basics import NS, AgentError, now_ns, sleep_until

OPTIMISATION = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


class OnnxRuntime:
    """A model in ONNX Runtime on the CPU, with inputs bound once so that the loop only calls and stamps."""

    one_invocation = False

    def __init__(self, job, directory, pin):
        try:
            import numpy
            import onnxruntime
        except ImportError as error:
            raise AgentError(
                "device",
                "the board's Python {} cannot run the runtime onnxruntime: {}".format(sys.executable, error),
                "{} -m pip install onnxruntime numpy".format(sys.executable),
            )
        self._numpy, self._ort, self._pin = numpy, onnxruntime, pin
        settings = job["runtime"]
        self._name = job.get("name", job["model"])
        self.options = self._session_options(settings)
        self.optimised = None
        if job.get("save_optimised"):
            self.optimised = os.path.join(directory, "results", "optimised.onnx")
            self.options.optimized_model_filepath = self.optimised
        try:
            self.session = onnxruntime.InferenceSession(
                job["model"], sess_options=self.options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise AgentError("spec", "onnxruntime cannot load {}: {}".format(self._name, error))
        with numpy.load(job["inputs"], allow_pickle=False) as given:
            self.feed = dict((name, given[name]) for name in given.files)
        self.settings = settings
        self.mode, self._run, self._argument = self._bind()
        first = now_ns()
        self._run(self._argument)
        second = now_ns()
        self._run(self._argument)
        self.first_s = (second - first) / 1e9
        self.period_s = max((now_ns() - second) / 1e9, 1e-6)

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

    def _bind(self):
        """IO binding where the model allows it; models with strings, maps or sequences are fed each time."""
        run, feed = self.session.run, self.feed
        try:
            run(None, feed)
        except Exception as error:
            raise AgentError("spec", "onnxruntime cannot run {}: {}".format(self._name, error))
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

    def infer(self, step, stamps, rng):
        """Inferences of one step. The loops without a pause hold nothing but the call and its two stamps."""
        count = step.get("count")
        until = now_ns() + int(step["seconds"] * NS) if count is None else 1 << 62
        last_row = stamps.rows + count if count is not None else 1 << 60
        if step.get("pause_max_s", 0.0) > 0.0:
            self._paused(step, stamps, rng, until, last_row)
            return
        loop = self._back_to_back_with_pin if self._pin.present else self._back_to_back
        over = False
        while not over and stamps.rows < last_row:
            if stamps.rows == len(stamps.begin):
                stamps.grow()
            over = loop(stamps, until, min(last_row, len(stamps.begin)))

    def _back_to_back(self, stamps, until, last_row):
        run, argument, clock, begins, ends = self._run, self._argument, now_ns, stamps.begin, stamps.end
        k = end = 0
        for k in range(stamps.rows, last_row):
            begins[k] = clock()
            run(argument)
            ends[k] = end = clock()
            if end >= until:
                break
        stamps.rows = k + 1
        return end >= until

    def _back_to_back_with_pin(self, stamps, until, last_row):
        run, argument, clock, begins, ends = self._run, self._argument, now_ns, stamps.begin, stamps.end
        write, high, low = self._pin.writer(), b"1", b"0"
        first = stamps.rows
        k = end = 0
        try:
            for k in range(first, last_row):
                write(high)
                begins[k] = clock()
                run(argument)
                ends[k] = end = clock()
                write(low)
                if end >= until:
                    break
        except OSError as error:
            raise self._pin.refused(error)
        stamps.rows = k + 1
        self._pin.writes += 2 * (k + 1 - first)
        return end >= until

    def _paused(self, step, stamps, rng, until, last_row):
        run, argument, clock, high, low = self._run, self._argument, now_ns, self._pin.high, self._pin.low
        shortest, longest = step.get("pause_min_s", 0.0), step["pause_max_s"]
        end = 0
        while stamps.rows < last_row and end < until:
            high()
            begin = clock()
            run(argument)
            end = clock()
            low()
            stamps.add(begin, end)
            sleep_until(end + int(rng.uniform(shortest, longest) * NS))

    def outputs(self, path):
        self._pin.high()
        try:
            values = self.session.run(None, self.feed)
        finally:
            self._pin.low()
        names = [v.name for v in self.session.get_outputs()]
        self._numpy.savez(path, **dict(zip(names, values)))
        return True
