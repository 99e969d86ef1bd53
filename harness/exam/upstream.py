"""The truth at the wall: the bench's own truth at the DC input, seen through the converter that only it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.exam.row import Truth


@dataclass(frozen=True)
class Converter:
    """P_upstream = P_downstream / efficiency + constant_w."""

    efficiency: float
    constant_w: float

    def seen(self, truth: Truth, seconds: float) -> Truth:
        """The truth of an inference of `seconds` on its other side; its own standby pays the constant."""
        constant_j = self.constant_w * seconds
        return replace(
            truth,
            realised_j=truth.realised_j / self.efficiency,
            expected_j=truth.expected_j / self.efficiency,
            gross_realised_j=truth.gross_realised_j / self.efficiency + constant_j,
            gross_expected_j=truth.gross_expected_j / self.efficiency + constant_j * truth.longer,
        )


def converter_of(facts: Mapping[str, Any]) -> Converter | None:
    """What lies between the DC input and this meter of the bench; None: nothing."""
    return Converter(float(facts["efficiency"]), float(facts["constant_w"])) if facts["plane"] == "wall" else None
