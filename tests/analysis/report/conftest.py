"""Runs with and without layers for the tests of reports: a small world, with a profile and layers laid over it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.features.record import LayerFeatures, OpClass
from analysis.report.material import Material, load_material
from harness.core.layers import Kernel, LayerProfile, LayerStamps
from harness.core.result import LayerEnergy, LayerReport
from harness.core.timeline import Phase

OPS = ("Conv", "Relu", "MaxPool", "FusedConv", "Concat", "Gemm", "Unheard")
CLASSES = dict(
    zip(
        OPS,
        (OpClass.CONVOLUTION, OpClass.ACTIVATION, OpClass.POOLING, OpClass.CONVOLUTION, OpClass.MOVEMENT, OpClass.DENSE,
         OpClass.UNKNOWN),
        strict=True,
    )
)  # fmt: skip
MakeMaterial = Callable[..., Material]


def laid_over(material: Material, count: int, *, group: int = 0, stamped: bool = False) -> Material:
    """The same run with a profile of `count` kernels and a report of layers that closes; the first `group` as one."""
    rng = np.random.default_rng(count)
    length = rng.uniform(0.2, 2.0, count)
    edge = np.r_[0.02, 0.02 + 0.95 * np.cumsum(length) / length.sum()]
    whole = material.result.energy_per_inference_j or 1e-3
    ns = 10_000_000
    begin, end = (edge[:-1] * ns).astype(np.int64), (edge[1:] * ns).astype(np.int64)
    kernels = tuple(Kernel(f"layer_{k}/{OPS[k % len(OPS)]}", OPS[k % len(OPS)], (f"node_{k}",)) for k in range(count))
    inferences = np.full(5, ns, np.int64)
    profile = LayerProfile(kernels, np.tile(begin, (5, 1)), np.tile(end, (5, 1)), inferences, inferences, "a test")
    energy = whole * length * rng.uniform(0.5, 1.5, count) / length.sum()

    def layer(rows: range) -> LayerEnergy:
        e, u = float(energy[rows.start : rows.stop].sum()), 0.05 * whole / count**0.5
        names = tuple(kernels[k].name for k in rows)
        return LayerEnergy(
            names[0] if len(rows) == 1 else f"{names[0]} .. {names[-1]}",
            kernels[rows.start].op if len(rows) == 1 else "group",
            tuple(f"node_{k}" for k in rows), e, u, (e - 2 * u, e + 2 * u), names if len(rows) > 1 else None, 1.3 * e,
            float((end[rows.stop - 1] - begin[rows.start]) * 1e-9),
            whole * float(length[rows.start : rows.stop].sum() / length.sum()),
            tuple(rows),
        )  # fmt: skip

    rows = ([range(group)] if group else []) + [range(k, k + 1) for k in range(group, count)]
    layers = tuple(layer(r) for r in rows)
    total = sum(x.energy_j for x in layers)
    report = LayerReport(layers, total, total - whole, 0.02 * whole, True)
    primary = dataclasses.replace(material.result, layers=report)
    analysis = dataclasses.replace(material.analysis, results=(primary, *material.analysis.results[1:]))
    stamps = _stamps(material, profile) if stamped else None
    features = tuple(LayerFeatures(k.name, k.op, op_class=CLASSES[k.op], macs=10**6) for k in kernels)
    return dataclasses.replace(material, analysis=analysis, profile=profile, stamps=stamps, features=features)


def _stamps(material: Material, profile: LayerProfile) -> LayerStamps:
    assert material.view is not None
    timeline = material.view.timeline
    begin, end = timeline.rows(Phase.MEASURED)
    a, b = profile.shares
    busy = (end - begin)[:, None]
    starts = np.concatenate([np.full(len(timeline.rows(Phase.MEASURED, s)[0]), s) for s in timeline.starts])
    first, last = (begin[:, None] + (share * busy).astype(np.int64) for share in (a, b))
    return LayerStamps(profile.kernels, starts, begin, first, last)


@pytest.fixture(name="material")
def make_material(SmallWorld: Any, tmp_path: Path) -> MakeMaterial:
    """`material(layers=K, group=G, stamped=..., **settings of the world)`."""

    def make(layers: int = 0, group: int = 0, *, stamped: bool = False, **settings: Any) -> Material:
        root = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        found = load_material(SmallWorld(**settings).run(root).path)
        return laid_over(found, layers, group=group, stamped=stamped) if layers else found

    return make
