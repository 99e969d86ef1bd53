"""Programs: steps that the agent carries out alone, in one go, without traffic on the link."""

import gc
import random

from .basics import NS, AgentError, now_ns, sleep_until
from .stamps import Stamps


class Program:
    """Carries out steps alone and stamps them; nothing is written or sent before the last step is over."""

    def __init__(self, runtime, pin, seed):
        self._runtime, self._pin = runtime, pin
        self._rng = random.Random(seed)
        self.spans = []  # [phase, begin_ns, end_ns, first row, rows]
        self.notes = []

    def perform(self, steps):
        self.stamps = Stamps(self._rows_needed(steps))
        gc.collect()
        gc.disable()
        try:
            self._pin.low()
            k = 0
            while k < len(steps):
                k += self._one(steps, k)
        finally:
            gc.enable()

    def _rows_needed(self, steps):
        period = getattr(self._runtime, "period_s", 0.001)
        rows = 64
        for step in steps:
            counted = step.get("count")
            rows += counted if counted is not None else int(3 * step.get("seconds", 0.0) / period)
            rows += len(step.get("bits", ""))
        return min(rows + 1024, 1 << 23)

    def _one(self, steps, k):
        step = steps[k]
        if step["op"] == "infer":
            if self._runtime is None:
                raise AgentError("spec", "no model is loaded")
            if self._runtime.one_invocation:
                return self._by_one_invocation(steps, k)
            self._spanned(step, lambda: self._runtime.infer(step, self.stamps, self._rng))
        elif step["op"] == "idle":
            self._spanned(step, lambda: sleep_until(now_ns() + int(step["seconds"] * NS)))
        elif step["op"] == "marker":
            self._spanned(step, lambda: self._marker(step["bits"], int(step["chip_s"] * NS)))
        else:
            raise AgentError("spec", "unknown op {!r} in a program; known: infer, idle, marker".format(step["op"]))
        return 1

    def _spanned(self, step, act):
        first, begin = self.stamps.rows, now_ns()
        act()
        self.spans.append([step["phase"], begin, now_ns(), first, self.stamps.rows - first])

    def _marker(self, bits, chip_ns):
        """Each 1 a spin and each 0 a sleep, on a grid, so that a late chip does not delay the rest."""
        edge = now_ns()
        for bit in bits:
            edge += chip_ns
            if bit == "1":
                self._pin.high()
                begin = now_ns()
                while now_ns() < edge:
                    pass
                end = now_ns()
                self._pin.low()
                self.stamps.add(begin, end)
            else:
                sleep_until(edge)

    def _by_one_invocation(self, steps, k):
        group = [steps[k]]
        pauses = [steps[k].get(name, 0.0) for name in ("pause_min_s", "pause_max_s")]
        for following in steps[k + 1 :]:
            alike = pauses == [following.get(name, 0.0) for name in ("pause_min_s", "pause_max_s")]
            if following["op"] != "infer" or not alike:
                break
            group.append(following)
        if pauses[1] > 0.0 and steps[k]["phase"] == "probe" and not self._runtime.can_pause:
            self.notes.append("probe left out: the command cannot pause between inferences")
            return 1
        row = self.stamps.rows
        self.stamps.add(0, 0)  # the command's own start-up is a busy stretch of phase load
        taken, start_up = self._runtime.infer_group(group, self.stamps)
        self.stamps.begin[row], self.stamps.end[row] = start_up
        self.spans.append(["load", start_up[0], start_up[1], row, 1])
        row += 1
        for step, rows in zip(group, taken):
            begin, end = self.stamps.begin[row], self.stamps.end[row + rows - 1]
            self.spans.append([step["phase"], begin, end, row, rows])
            row += rows
        return len(group)
