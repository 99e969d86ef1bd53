"""RNN, GRU and LSTM: T steps, b directions, N sequences, input I, hidden H.

MACs b T N gates H (I + H); gates 1, 3, 4. Beside them, per step, sequence, direction and hidden unit:
LSTM 5 elementary functions and 4 operations, GRU 3 and 5, RNN 1 and 0; a bias adds one operation per gate (GRU with
linear_before_reset: one more).
"""

from __future__ import annotations

from analysis.features.node import Count, Node, Uncountable
from analysis.features.operators.activations import cost_of
from analysis.features.record import OpClass

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4, "DynamicQuantizeLSTM": 4}
FUNCTIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
APPLIED = {"RNN": (1,), "GRU": (2, 1), "LSTM": (3, 1, 1)}  # how often each function is applied per hidden unit
COMBINED = {"RNN": 0, "GRU": 5, "LSTM": 4}


def recurrent(node: Node) -> Count:
    """W [b, gates H, I] and R [b, gates H, H] (quantised LSTM: transposed). `layout` 1 puts the batch first."""
    kind = "LSTM" if node.op == "DynamicQuantizeLSTM" else node.op
    gates, x, r = GATES[node.op], node.input(0).dims, node.input(2).dims
    if len(x) != 3 or len(r) != 3:
        raise Uncountable(f"{node.op} with input {x} and recurrence {r}")
    steps, sequences = (x[1], x[0]) if node.number("layout", 0) else (x[0], x[1])
    directions, hidden = r[0], node.number("hidden_size", 0) or r[2]
    if r[1] * r[2] != gates * hidden * hidden:
        raise Uncountable(f"{node.op} with recurrence {r} and hidden size {hidden}")
    units = directions * steps * sequences * hidden
    names = [a.decode() if isinstance(a, bytes) else str(a) for a in node.attributes.get("activations", ())]
    other, special = 0, 0
    for function, times in zip(names[: len(FUNCTIONS[kind])] or FUNCTIONS[kind], APPLIED[kind], strict=True):
        arithmetic, elementary = cost_of(function)
        other, special = other + times * arithmetic, special + times * elementary
    biases = (gates + (kind == "GRU" and node.number("linear_before_reset", 0) == 1)) if node.has(3) else 0
    return Count(
        OpClass.RECURRENT,
        macs=units * gates * (x[2] + hidden),
        other_ops=units * (COMBINED[kind] + other + biases),
        special_ops=units * special,
        control=frozenset({4, *range(8, 12)}) if node.op == "DynamicQuantizeLSTM" else frozenset({4}),
        shape={
            "sequence_length": steps, "directions": directions, "hidden": hidden, "in_channels": x[2],
            "out_channels": directions * hidden,
        },
    )  # fmt: skip


RULES = dict.fromkeys(GATES, recurrent)
