"""Loops of a runtime that runs inside the agent: they hold nothing but the call and its two stamps."""

from .basics import NS, AgentError, now_ns, sleep_until


class InProcessRuntime:
    """A model that is called from Python. A subclass binds `_run` and `_argument`, then calls `_pace`.

    `_run(_argument)` is one inference: its outputs are there when it returns, and nothing of it goes on afterwards.
    """

    one_invocation = False
    optimised = None

    def __init__(self, pin):
        self._pin = pin
        self._run = self._argument = None

    def _pace(self):
        """Two inferences: how long the first takes, and how long one takes after that."""
        first = now_ns()
        self._run(self._argument)
        second = now_ns()
        self._run(self._argument)
        self.first_s = (second - first) / 1e9
        self.period_s = max((now_ns() - second) / 1e9, 1e-6)

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


def demand_version(runtime, found, wanted, install):
    """AgentError unless version `found` is `wanted` or one of its releases: "2.13" takes "2.13.0+cpu"."""
    parts, leading = found.split("+")[0].split("."), (wanted or "").split(".")
    if wanted and found != wanted and parts[: len(leading)] != leading:
        raise AgentError(
            "device",
            "the board has {} {}, the campaign asks for {}".format(runtime, found, wanted),
            "{} (or change `version` of the runtime in the campaign)".format(install),
        )
