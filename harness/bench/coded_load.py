"""The coded load that tells a meter's kernel: busy and idle runs of many lengths, on a grid that no register keeps.

Maximum-length codes of chips from milliseconds to the longest memory that is looked for, then a square wave. All runs
are multiples of one short chip whose length is in no simple ratio to a millisecond, so that edges fall on all phases of
a register written every 1, 10, 20 or 100 ms. The power while busy is that of a spin: one level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.core.errors import SpecError
from harness.core.ports import Step
from harness.core.timeline import Phase

CHIP_S = 0.0047133
RATIO = 3.83  # between the chips of two codes, rounded to whole base chips
SQUARES = 12
REST_S = 2.0
LONGEST_S = 30.0
TAPS = {127: (7, 6), 63: (6, 5), 31: (5, 3), 15: (4, 3)}  # maximum-length feedback, S. Golomb, Shift Register Sequences


@dataclass(frozen=True)
class CodedLoad:
    """`bits`: each 1 a spin of `chip_s`, each 0 a sleep; `seconds` of it in all, with rest at both ends."""

    bits: str
    chip_s: float

    @property
    def seconds(self) -> float:
        return len(self.bits) * self.chip_s

    def steps(self) -> tuple[Step, ...]:
        return (Step("marker", Phase.MARKER, bits=self.bits, chip_s=self.chip_s),)

    def model_steps(self) -> tuple[Step, ...]:
        """The same with inferences for spins; each busy run lasts until the inference under way is over."""
        steps = []
        for run in self.bits.replace("10", "1 0").replace("01", "0 1").split():
            op, phase = ("infer", Phase.MEASURED) if run[0] == "1" else ("idle", Phase.MARKER)
            steps.append(Step(op, phase, seconds=len(run) * self.chip_s))
        return tuple(steps)


def coded_load(*, memory_s: float = 1.0, repeats: int = 1) -> CodedLoad:
    """The load for meters that remember up to `memory_s`. SpecError for what cannot be played."""
    if not 0.01 <= memory_s <= LONGEST_S:
        raise SpecError(
            f"a memory of {memory_s:g} s is looked for", hint=f"give a time from 0.01 to {LONGEST_S:g} s: --memory 1"
        )
    if repeats < 1:
        raise SpecError(f"a load played {repeats} times shows nothing", hint="give --repeats at least 1")
    chips = [1]
    while chips[-1] * CHIP_S < memory_s:
        chips.append(min(math.ceil(chips[-1] * RATIO), math.ceil(memory_s / CHIP_S)))
    rest = "0" * math.ceil(max(REST_S, memory_s) / CHIP_S)
    code = ""
    for k, chip in enumerate(chips):
        length = 127 if k <= 1 else 63 if k == 2 else 31 if k == 3 else 15
        code += "".join(bit * chip for bit in maximum_length(length)) + "0" * chip
    middle = chips[len(chips) // 2]
    code += ("1" * (middle + 1) + "0" * (middle + 2)) * SQUARES
    return CodedLoad(rest + code * repeats + rest, CHIP_S)


def maximum_length(length: int) -> str:
    """One period of a maximum-length code: every pattern of its register's bits but zeros, once."""
    taps = TAPS[length]
    register = [1] * taps[0]
    out = []
    for _ in range(length):
        out.append(str(register[-1]))
        register = [register[taps[0] - 1] ^ register[taps[1] - 1], *register[:-1]]
    return "".join(out)
