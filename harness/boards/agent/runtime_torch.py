"""The runtime torch: TorchScript files and torch.export archives; torch is imported only when a model is loaded."""

import os
import re
import sys

from .basics import AgentError
from .inference_loop import InProcessRuntime, demand_version
from .limits import limit_memory, out_of_memory, too_large

OPTIMISATION = ("disabled", "basic", "extended", "all")
# What idle workers of an OpenMP team do: libgomp (wheels from PyPI) reads the first two, libiomp (conda) the third.
WAITING = {
    "off": {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"},
    "on": {"OMP_WAIT_POLICY": "active", "GOMP_SPINCOUNT": "infinite", "KMP_BLOCKTIME": "infinite"},
}
POSITION = re.compile(r"^arr_(\d+)$")  # what numpy.savez calls arrays that were given without names


class TorchRuntime(InProcessRuntime):
    """A model in torch on the CPU, its input tensors made once so that the loop only calls and stamps."""

    def __init__(self, job, directory, pin):
        InProcessRuntime.__init__(self, pin)
        self.calls = 0  # inferences outside of programs, as far as anybody counts them
        self.settings, self._name = job["runtime"], job.get("name", job["model"])
        if self.settings["optimisation"] not in OPTIMISATION:
            raise AgentError(
                "spec", "optimisation {!r} is none of {}".format(self.settings["optimisation"], OPTIMISATION)
            )
        self._torch, self._numpy = import_torch(self.settings)
        limit_memory(job)
        try:
            self._given = self._tensors(job["inputs"])
            self._forward, self._arguments, self.form = self._load(job["model"])
            self._torch.inference_mode().__enter__()  # for good: this process does nothing else
            self._bind()
            for _ in range(2):  # the graph executor of TorchScript watches two calls before it specialises
                self._run(self._argument)
            self._pace()
            self._described = self._outputs_by_name()
        except AgentError:
            raise
        except Exception as error:
            if out_of_memory(error):
                raise too_large(job, error)
            raise AgentError("spec", "torch cannot run {}: {}".format(self._name, last_line(error)))

    def _load(self, path):
        """(callable, names of its arguments, what was done to it)."""
        level = self.settings["optimisation"]
        if path.endswith(".pt2"):
            program = self._torch.export.load(path)
            return program.module(), exported_arguments(program), "exported program, node by node"
        jit = self._torch.jit
        module = jit.load(path, map_location="cpu")
        names = [argument.name for argument in module.forward.schema.arguments[1:]]
        module.eval()
        if level == "disabled":
            self._torch._C._set_graph_executor_optimize(False)
            return module, names, "TorchScript, interpreted as it is"
        if level == "basic":
            return module, names, "TorchScript, optimised by its executor"
        if level == "extended":
            return jit.freeze(module), names, "TorchScript, frozen"
        return jit.optimize_for_inference(jit.freeze(module)), names, "TorchScript, frozen, optimised for inference"

    def _tensors(self, path):
        if path is None:
            raise AgentError("spec", "model {} has no inputs".format(self._name), "give an .npz file as `inputs`")
        with self._numpy.load(path, allow_pickle=False) as given:
            return dict((name, self._torch.from_numpy(given[name].copy())) for name in given.files)

    def _bind(self):
        ordered = in_order(self._given, self._arguments, self._name)
        self._inputs = [name for name, _ in ordered]
        values, forward = tuple(value for _, value in ordered), self._forward
        if len(values) == 1:
            self._run, self._argument = forward, values[0]
        else:
            self._run, self._argument = (lambda given: forward(*given)), values

    def details(self):
        torch = self._torch
        return {
            "runtime": "torch",
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "interop_threads": torch.get_num_interop_threads(),
            "spinning": self.settings["spinning"],
            "waiting": dict((name, os.environ.get(name)) for name in sorted(WAITING["off"])),
            "optimisation": self.settings["optimisation"],
            "form": self.form,
            "parallel": " ".join(torch.__config__.parallel_info().split()),
            "inputs": [[name, list(self._given[name].shape), dtype_of(self._given[name])] for name in self._inputs],
            "outputs": [[name, list(v.shape), dtype_of(v)] for name, v in self._described.items()],
            "optimised": None,
            "pauses": True,
            "has_outputs": True,
        }

    def _outputs_by_name(self):
        return named_tensors(self._run(self._argument), self._torch.Tensor)

    def outputs(self, path):
        self._pin.high()
        try:
            values = self._outputs_by_name()
        finally:
            self._pin.low()
        self._numpy.savez(path, **dict((name, to_array(value)) for name, value in values.items()))
        return True


def import_torch(settings):
    """(torch, numpy), with threads and spinning as the settings say. How workers wait is read once, when OpenMP
    comes up, so it is set before the import and cannot be changed later in the same process."""
    policy = WAITING[settings["spinning"]]
    if "torch" in sys.modules and any(os.environ.get(name) != value for name, value in policy.items()):
        raise AgentError("spec", "torch is loaded with another setting of spinning", "start a new agent")
    os.environ.update(policy)
    install = "{} -m pip install torch numpy".format(sys.executable)
    try:
        import numpy
        import torch
    except ImportError as error:
        raise AgentError(
            "device", "the board's Python {} cannot run the runtime torch: {}".format(sys.executable, error), install
        )
    wanted = settings.get("version")
    demand_version("torch", torch.__version__, wanted, install.replace("torch", "torch=={}".format(wanted)))
    torch.set_num_threads(int(settings["threads"]))
    if torch.get_num_interop_threads() != 1:
        torch.set_num_interop_threads(1)
    return torch, numpy


def exported_arguments(program):
    """Names of the arguments of an ExportedProgram's forward, in order."""
    return [spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]


def in_order(given, arguments, model):
    """[(name, tensor)] in the order of forward's arguments: by their names, by arr_0, arr_1..., or the only one."""
    if given and set(given) <= set(arguments) and arguments[: len(given)] == [a for a in arguments if a in given]:
        return [(name, given[name]) for name in arguments if name in given]
    if given and all(POSITION.match(name) for name in given) and len(given) <= len(arguments):
        return sorted(given.items(), key=lambda item: int(POSITION.match(item[0]).group(1)))
    if len(given) == 1 and arguments:
        return list(given.items())
    raise AgentError(
        "spec",
        "the inputs of model {} are called {}, its forward takes {}".format(
            model, ", ".join(sorted(given)) or "nothing", ", ".join(arguments) or "nothing"
        ),
        "write the .npz with these names, or without names in this order: numpy.savez(FILE, first, second)",
    )


def named_tensors(value, tensor_type, name=""):
    """All tensors in an output: `output`, `output_1` in a tuple or list, the key in a dict, joined by `.` if nested."""
    if isinstance(value, tensor_type):
        return {name or "output": value}
    if isinstance(value, dict):
        parts = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, (tuple, list)):
        parts = [("output_{}".format(k) if not name else str(k), part) for k, part in enumerate(value)]
    elif value is None:
        return {}
    else:
        raise AgentError("spec", "the model's output {} is a {}, not a tensor".format(name, type(value).__name__))
    found = {}
    for key, part in parts:
        found.update(named_tensors(part, tensor_type, name + "." + key if name else key))
    return found


def to_array(tensor):
    """As numpy; bfloat16, which numpy lacks, as float32."""
    if dtype_of(tensor) == "bfloat16":
        tensor = tensor.float()
    return tensor.detach().contiguous().numpy()


def dtype_of(tensor):
    return str(tensor.dtype).replace("torch.", "")


def last_line(error):
    """TorchScript's messages are whole tracebacks whose last line says what is wrong."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1][:400] if lines else type(error).__name__
