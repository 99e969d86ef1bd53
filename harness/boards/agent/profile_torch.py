"""torch with its profiler on: top-level operators are the kernels, in the order in which they ran."""

from .basics import AgentError
from .layer_rows import LayerRows, ModelRun, RealTime
from .runtime_torch import TorchRuntime

MARK = "joulebench inference"


class ProfiledTorchRuntime(TorchRuntime):
    """TorchRuntime whose inferences run below torch's profiler until `collect`.

    Kernels are the outermost operators below scopes such as `forward`; their parts belong to them. Operators have no
    names in torch: a kernel is called OP_PLACE. What oneDNN runs inside of TorchScript's optimised graphs
    (`optimisation: all`) is no operator of torch's profiler, and lies between kernels.
    """

    graph = graph_problem = None

    def __init__(self, job, directory, pin):
        TorchRuntime.__init__(self, job, directory, pin)
        profiler = self._torch.profiler
        plain, mark = self._run, profiler.record_function
        self._plain = plain

        def marked(argument):
            with mark(MARK):
                plain(argument)

        self._run = marked
        self.clock = RealTime()
        self._profiler = profiler.profile(activities=[profiler.ProfilerActivity.CPU], record_shapes=True)
        self._profiler.__enter__()

    @property
    def numpy(self):
        return self._numpy

    @property
    def name(self):
        return self._name

    @property
    def profiler(self):
        return "torch {} profiler".format(self._torch.__version__)

    def collect(self, stamps, before):
        """Ends the profiler, and gives the LayerRows of the stamped inferences [(begin, end)]: `before` came first."""
        self.clock.look()
        self._profiler.__exit__(None, None, None)
        self._run = self._plain
        rows = LayerRows()
        number = -1 - before
        try:
            runs = list(model_runs(self._profiler.profiler.kineto_results.events()))
        except AttributeError as error:
            raise AgentError(
                "device",
                "the profiler of torch {} cannot be read: {}".format(self._torch.__version__, error),
                "take a newer torch on the board, or leave out `layers` of the protocol",
            )
        for run in runs:
            number += 1
            if 0 <= number < len(stamps):
                rows.place(number, run, stamps[number], -self.clock.ahead_ns(stamps[number][0]))
        rows.unmatched += max(0, len(stamps) - 1 - number)
        return rows


def model_runs(events):
    """Yields the marked inferences of a list of kineto events, in order."""
    spans = sorted((Span(event) for event in events), key=Span.order)
    known, stacks = {}, {}
    for span in spans:
        stack = stacks.setdefault(span.thread, [])
        while stack and span.begin >= stack[-1].end:
            stack.pop()
        if stack:
            stack[-1].below.append(span)
        stack.append(span)
    for span in spans:
        if span.name == MARK:
            kernels = []
            for place, kernel in enumerate(outermost(span)):
                described = kernel.described(place)
                kernels.append((kernel.begin, kernel.end - kernel.begin, known.setdefault(described, described)))
            yield ModelRun(span.begin, span.end - span.begin, kernels)


def outermost(span):
    """Operators below a scope, but not below another operator."""
    for below in span.below:
        if "::" in below.name or not below.below:
            yield below
        else:
            for deeper in outermost(below):
                yield deeper


class Span:
    """An event of kineto: what ran, when, in which thread, and what it ran below itself."""

    def __init__(self, event):
        self.name, self.thread = event.name(), event.start_thread_id()
        self.begin = event.start_ns()
        self.end = self.begin + event.duration_ns()
        self.below = []
        self._event = event

    def order(self):
        return self.begin, -self.end

    def described(self, place):
        kinds, shapes = self._event.dtypes(), self._event.shapes()
        tensors = tuple((spelled(kind), tuple(shape)) for kind, shape in zip(kinds, shapes) if kind in SPELLED)
        return ("{}_{}".format(self.name, place), self.name, "cpu", tensors, ())


SPELLED = {
    "float": "float", "double": "double", "c10::Half": "float16", "c10::BFloat16": "bfloat16", "int": "int32",
    "long": "int64", "long int": "int64", "short": "int16", "signed char": "int8", "unsigned char": "uint8",
    "bool": "bool",
}  # fmt: skip


def spelled(kind):
    """A C++ type as ONNX spells it."""
    return SPELLED[kind]
