"""Sums of features: of a group of layers that the meter cannot tell apart, and of a whole network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.features.record import LayerFeatures

SUMMED = (
    "macs", "other_ops", "special_ops", "weight_elements", "input_elements", "output_elements", "weight_bytes",
    "input_bytes", "output_bytes", "traffic_bytes",
)  # fmt: skip
"""What is added over layers. A sum with an unknown part is unknown."""


@dataclass(frozen=True)
class Total:
    """Sums over `layers` layers; each None if it is not known of one of them, which `uncounted` names.

    `parameters`: elements of all learned tensors, one that several layers share counted once.
    """

    layers: int
    macs: int | None
    other_ops: int | None
    special_ops: int | None
    parameters: int | None
    weight_elements: int | None
    input_elements: int | None
    output_elements: int | None
    weight_bytes: int | None
    input_bytes: int | None
    output_bytes: int | None
    traffic_bytes: int | None
    uncounted: tuple[str, ...]

    @property
    def flops(self) -> int | None:
        """2 x MACs."""
        return None if self.macs is None else 2 * self.macs


def total(layers: Sequence[LayerFeatures]) -> Total:
    """Sums of `layers`. No layers at all: nothing is known, so everything is None."""
    sums = {name: _sum([getattr(layer, name) for layer in layers]) for name in SUMMED}
    known = bool(layers) and all(layer.parameters is not None for layer in layers)
    shared = dict(weight for layer in layers for weight in layer.weights)
    return Total(
        layers=len(layers),
        parameters=sum(shared.values()) if known else None,
        uncounted=tuple(f"{layer.name} ({layer.op}): {layer.problem}" for layer in layers if not layer.counted),
        **sums,
    )


def _sum(values: Sequence[int | None]) -> int | None:
    return None if not values or None in values else sum(v for v in values if v is not None)
