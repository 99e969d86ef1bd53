"""Counting rules, one module for each kind of operator; `RULES` has them all by operator type."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.features.node import Rule
from analysis.features.operators import (
    attention,
    convolution,
    dense,
    elementwise,
    movement,
    normalisation,
    pooling,
    quantised,
    recurrent,
    reduction,
)

DOMAINS = frozenset({"", "ai.onnx", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc", "org.pytorch.aten"})
"""Whose operators these are: a name of another domain means something else."""

RULES: Mapping[str, Rule] = {
    **dense.RULES,
    **convolution.RULES,
    **pooling.RULES,
    **normalisation.RULES,
    **elementwise.RULES,
    **reduction.RULES,
    **recurrent.RULES,
    **attention.RULES,
    **movement.RULES,
    **quantised.RULES,
}
