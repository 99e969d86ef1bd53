"""What an activation function costs per element: arithmetic operations, and elementary functions.

The counts are of the textbook expression; a runtime may use an approximation of its own.
"""

from __future__ import annotations

from analysis.features.node import Uncountable

COST: dict[str, tuple[int, int]] = {
    "": (0, 0),
    "Identity": (0, 0),
    "Relu": (1, 0),  # max(x, 0)
    "LeakyRelu": (2, 0),  # compare, multiply
    "PRelu": (2, 0),
    "ThresholdedRelu": (1, 0),
    "Clip": (2, 0),  # two comparisons
    "HardSigmoid": (4, 0),  # multiply, add, two comparisons
    "HardSwish": (5, 0),  # x HardSigmoid(x)
    "Sigmoid": (0, 1),
    "Tanh": (0, 1),
    "ScaledTanh": (2, 1),
    "Affine": (2, 0),
    "Elu": (3, 1),  # compare, alpha (exp(x) - 1)
    "Celu": (4, 1),
    "Selu": (4, 1),
    "Softplus": (1, 2),  # log(1 + exp(x))
    "Softsign": (3, 0),  # x / (1 + |x|)
    "Mish": (2, 3),  # x tanh(log(1 + exp(x)))
    "Gelu": (4, 1),  # x/2 (1 + erf(x / sqrt 2))
    "FastGelu": (7, 1),  # x/2 (1 + tanh(x (a + b x x)))
    "QuickGelu": (2, 1),  # x sigmoid(a x)
    "Swish": (1, 1),  # x sigmoid(x)
    "Silu": (1, 1),
}
"""Activation -> (arithmetic operations, elementary functions) per element."""


def cost_of(name: str) -> tuple[int, int]:
    """Cost per element of an activation by ONNX's name, in any case. Uncountable if it is not known."""
    for known, cost in COST.items():
        if known.lower() == name.lower():
            return cost
    raise Uncountable(f"the activation {name!r} is not known")
