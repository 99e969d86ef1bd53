"""Reductions over axes: one operation per input element, and what is done to each result."""

from __future__ import annotations

from analysis.features.node import Count, Node, Rule
from analysis.features.operators.elementwise import CONTROL_AFTER_FIRST
from analysis.features.record import OpClass

# operator -> (arithmetic per input, elementary functions per input, arithmetic per output, elementary per output)
COST = {
    "ReduceSum": (1, 0, 0, 0),
    "ReduceMean": (1, 0, 1, 0),
    "ReduceMax": (1, 0, 0, 0),
    "ReduceMin": (1, 0, 0, 0),
    "ReduceProd": (1, 0, 0, 0),
    "ReduceL1": (2, 0, 0, 0),
    "ReduceL2": (2, 0, 0, 1),
    "ReduceSumSquare": (2, 0, 0, 0),
    "ReduceLogSum": (1, 0, 0, 1),
    "ReduceLogSumExp": (3, 1, 0, 1),  # maximum, subtraction, sum; exponential; logarithm
    "ArgMax": (1, 0, 0, 0),
    "ArgMin": (1, 0, 0, 0),
}


def reduce(node: Node) -> Count:
    x, out = node.input(0).elements, node.output().elements
    each, each_special, final, final_special = COST[node.op]
    return Count(
        OpClass.REDUCTION,
        other_ops=each * x + final * out,
        special_ops=each_special * x + final_special * out,
        control=CONTROL_AFTER_FIRST,
    )


RULES: dict[str, Rule] = dict.fromkeys(COST, reduce)
