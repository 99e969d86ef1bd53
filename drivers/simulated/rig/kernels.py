"""Which kernels an inference consists of, when each of them runs, and what it draws, instance by instance.

A KernelList says what is executed and in which share of the inference's time. A Course gives each kernel its power in
a world: by operator type (so that features of a layer tell something of its energy), then by the kernel itself.
Between kernels the load draws the framework's own power. The mean over the nominal inference is 1.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.simulated.rig.world import LoadWorld, World
from harness.core.clock import FloatArray, Int64Array
from harness.core.errors import SpecError
from harness.core.layers import Kernel

OUTSIDE = "(outside kernels)"
STALLS_AT_MOST = 0.3  # of an inference's time, where that is given and not drawn
_RANDOM_OPS = (
    ("Conv", 0.45), ("Relu", 0.1), ("Add", 0.12), ("MatMul", 0.12), ("MaxPool", 0.06), ("BatchNormalization", 0.05),
    ("Gemm", 0.04), ("Softmax", 0.03), ("Transpose", 0.03),
)  # fmt: skip
_SHORTEST_S, _LONGEST_S = 10e-6, 2e-3


@dataclass(frozen=True)
class KernelList:
    """Kernels in order of execution. `begin`, `end`: (L,) shares 0..1 of an inference; they may not overlap.

    `time_s`: typical duration of an inference, None: the world's own; `given`: they are those of a real model.
    """

    kernels: tuple[Kernel, ...]
    begin: FloatArray
    end: FloatArray
    time_s: float | None = None
    given: bool = True

    def __post_init__(self) -> None:
        edges = np.stack([self.begin, self.end], 1).ravel()
        if not self.kernels or len(edges) != 2 * len(self.kernels):
            raise SpecError("a kernel list needs at least one kernel, and a begin and an end for each")
        if not np.isfinite(edges).all() or edges[0] < 0 or edges[-1] > 1 or np.any(np.diff(edges) < 0):
            raise SpecError("kernels of a list must follow each other between 0 and 1 of the inference's time")

    def __len__(self) -> int:
        return len(self.kernels)

    @property
    def pieces(self) -> FloatArray:
        """(2L + 1,) shares of gaps and kernels in turn; their sum is 1."""
        edges = np.stack([self.begin, self.end], 1).ravel()
        return np.diff(np.concatenate([[0.0], edges, [1.0]]))

    @property
    def digest(self) -> str:
        """12 hex digits of the names, operators and shares."""
        named = [(k.name, k.op) for k in self.kernels]
        return hashlib.sha256(repr(named).encode() + self.pieces.tobytes()).hexdigest()[:12]

    def with_overhead(self, cost: float, inside: float) -> KernelList:
        """The same inference under a profiler that costs `cost` of its time, `inside` of it within kernels' stamps."""
        pieces = self.pieces.copy()
        each = cost / len(self)
        pieces[1::2] += inside * each
        pieces[2::2] += (1 - inside) * each
        edges = np.clip(np.cumsum(pieces) / pieces.sum(), 0, 1)[:-1]
        time_s = None if self.time_s is None else self.time_s * (1 + cost)
        return KernelList(self.kernels, edges[0::2], edges[1::2], time_s, given=self.given)

    def to_json(self) -> dict[str, Any]:
        rows = [
            {"name": k.name, "op": k.op, "begin": b, "end": e}
            for k, b, e in zip(self.kernels, self.begin.tolist(), self.end.tolist(), strict=True)
        ]
        return {"kernels": rows, "time_s": self.time_s, "given": self.given}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KernelList:
        """Inverse of `to_json`, as far as the rig needs it: tensors and source nodes are not carried."""
        rows = data["kernels"]
        kernels = tuple(Kernel(str(r["name"]), str(r["op"])) for r in rows)
        begin, end = (np.array([r[key] for r in rows], np.float64) for key in ("begin", "end"))
        return cls(kernels, begin, end, data.get("time_s"), given=bool(data.get("given", True)))


def rng_of(world: World, *words: str) -> np.random.Generator:
    """A random stream of the world for this name alone."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return np.random.default_rng([world.seed, *np.frombuffer(digest[:16], np.uint32)])


def random_kernels(world: World, identity: str, time_s: float) -> KernelList:
    """A made-up network for an inference of `time_s`: at least three kernels, log-uniform over 10 us to 2 ms."""
    rng = rng_of(world, identity, "kernels")
    outside = float(rng.uniform(0.02, 0.1))
    ops, weights = zip(*_RANDOM_OPS, strict=True)
    longest_s = min(_LONGEST_S, time_s / 3)
    shortest_s = min(_SHORTEST_S, longest_s / 10)
    durations: list[float] = []
    while len(durations) < 3 or sum(durations) < time_s * (1 - outside):
        durations.append(shortest_s * (longest_s / shortest_s) ** float(rng.random()))
    parts = np.array(durations) / sum(durations) * (1 - outside)
    gaps = rng.exponential(size=len(parts) + 1) + 0.2
    pieces = np.empty(2 * len(parts) + 1)
    pieces[0::2], pieces[1::2] = gaps / gaps.sum() * outside, parts
    edges = np.clip(np.cumsum(pieces), 0, 1)[:-1]
    kernels = []
    for k in range(len(parts)):
        op = str(rng.choice(ops, p=np.array(weights) / sum(weights)))
        kernels.append(Kernel(f"/block{k // 4}/{op.lower()}{k}/{op}", op, provider="virtual"))
    return KernelList(tuple(kernels), edges[0::2], edges[1::2], time_s, given=False)


@dataclass(frozen=True)
class Course:
    """A kernel list with its power in a world. `power_rel`: (2L + 1,) of gaps and kernels in turn; its mean is 1."""

    kernels: KernelList
    power_rel: FloatArray
    ramp: float
    time_cv: float
    power_cv: float
    stall_p: float
    stall_s: float

    @classmethod
    def of(cls, world: World, kernels: KernelList, identity: str) -> Course:
        load: LoadWorld = world.load
        power = np.full(2 * len(kernels) + 1, load.kernel_gap_w_rel)
        own = rng_of(world, identity, "kernel power").standard_normal(len(kernels))
        by_op = {op: float(rng_of(world, "op", op).standard_normal()) for op in {k.op for k in kernels.kernels}}
        level = np.array([load.op_sd * by_op[k.op] for k in kernels.kernels]) + load.layer_sd * own
        power[1::2] = np.exp(level)
        share = kernels.pieces
        rest = 1 - load.kernel_gap_w_rel * share[0::2].sum()  # for the kernels, so that the mean is 1
        power[1::2] *= rest / float(power[1::2] @ share[1::2])
        return cls(
            kernels, power, load.kernel_ramp, load.kernel_time_cv, load.kernel_power_cv, load.stall_p, load.stall_s
        )

    def __len__(self) -> int:
        return len(self.kernels)

    @functools.cached_property
    def fine_power_rel(self) -> FloatArray:
        """(3L + 1,): of gaps, and of the first quarter and the rest of each kernel."""
        fine = np.empty(3 * len(self) + 1)
        fine[0::3] = self.power_rel[0::2]
        fine[1::3] = self.power_rel[1::2] * (1 - self.ramp)
        fine[2::3] = self.power_rel[1::2] * (1 + self.ramp / 3)
        return fine

    @functools.cached_property
    def nominal(self) -> tuple[FloatArray, FloatArray]:
        """(K + 1,) knots 0..1 of time, and of energy, of an inference without any scatter."""
        pieces = _fine(self.kernels.pieces[None])[0]
        there = pieces > 1e-9
        time = np.concatenate([[0.0], np.cumsum(pieces[there])])
        energy = np.concatenate([[0.0], np.cumsum((pieces * self.fine_power_rel)[there])])
        return time / time[-1], energy / energy[-1]

    @property
    def mean_stall_s(self) -> float:
        """By how much stalls lengthen an inference on average."""
        return self.stall_p * self.stall_s * len(self)

    def stalls_s(self, rng: np.random.Generator, n: int) -> FloatArray:
        """(n, L) by how much each instance of a kernel is stretched; nearly all are 0."""
        hit, size = np.moveaxis(rng.random((n, len(self), 2)), 2, 0)
        return np.asarray(np.where(hit < self.stall_p, self.stall_s * (0.2 + 1.6 * size), 0.0), np.float64)

    def pieces_s(self, total_s: FloatArray, stalls_s: FloatArray, z: FloatArray) -> FloatArray:
        """(n, 2L + 1) durations of gaps and kernels of n instances that last `total_s` (n,); `z`: standard normal."""
        stalled = stalls_s.sum(1)
        kept = np.minimum(1.0, STALLS_AT_MOST * total_s / np.maximum(stalled, 1e-12))
        weight = self.kernels.pieces * np.exp(self.time_cv * z)
        pieces = weight / weight.sum(1, keepdims=True) * (total_s - kept * stalled)[:, None]
        pieces[:, 1::2] += kept[:, None] * stalls_s
        return np.asarray(pieces, np.float64)


def _fine(pieces: FloatArray) -> FloatArray:
    """(n, 2L + 1) gaps and kernels -> (n, 3L + 1) gaps, first quarters and rests of kernels."""
    n, count = pieces.shape
    fine = np.empty((n, 3 * (count // 2) + 1))
    fine[:, 0::3] = pieces[:, 0::2]
    fine[:, 1::3] = 0.25 * pieces[:, 1::2]
    fine[:, 2::3] = 0.75 * pieces[:, 1::2]
    return fine


@dataclass(frozen=True)
class Instances:
    """Kernels of n inferences as they were laid; times in seconds of the rig, energies in J.

    `begin_s`, `end_s`: (n, L), true times of the work. `knot_s`, `realised_j`, `expected_j`: (n, 3L + 2) course of the
    energy from the begin of each inference's own time, without the transient at its onset.
    """

    course: Course
    begin_s: FloatArray
    end_s: FloatArray
    knot_s: FloatArray
    realised_j: FloatArray
    expected_j: FloatArray

    @classmethod
    def drawn(
        cls, course: Course, own_begin_s: FloatArray, own_end_s: FloatArray, level_w: FloatArray,
        expected_w: FloatArray, stalls_s: FloatArray, rng: np.random.Generator,
    ) -> Instances:  # fmt: skip
        """`level_w`, `expected_w`: (n,) mean power of each inference as it is, and with all scatter at its mean."""
        n, count = len(own_begin_s), len(course)
        z = np.clip(rng.standard_normal((n, 3 * count + 1)), -4, 4)
        pieces = course.pieces_s(own_end_s - own_begin_s, stalls_s, z[:, : 2 * count + 1])
        edges = own_begin_s[:, None] + np.cumsum(pieces, 1)
        fine = _fine(pieces)
        knots = np.empty((n, fine.shape[1] + 1))
        knots[:, 0] = own_begin_s
        knots[:, 1:] = own_begin_s[:, None] + np.cumsum(fine, 1)
        knots[:, 1::3], knots[:, 3::3] = edges[:, 0::2], edges[:, 1::2]  # the very same numbers
        knots[:, -1] = own_end_s
        energy = np.diff(knots, axis=1) * course.fine_power_rel
        noise = np.ones_like(energy)
        noise[:, 1::3] = noise[:, 2::3] = 1 + course.power_cv * z[:, 2 * count + 1 :]
        realised, expected = np.zeros_like(knots), np.zeros_like(knots)
        np.cumsum(energy * noise * level_w[:, None], axis=1, out=realised[:, 1:])
        np.cumsum(energy * expected_w[:, None], axis=1, out=expected[:, 1:])
        return cls(course, edges[:, 0:-1:2], edges[:, 1::2], knots, realised, expected)

    def realised_at(self, t_s: FloatArray) -> FloatArray:
        """Energy (n, M) by times (n, M), each from the begin of its own inference."""
        return self._at(t_s, self.realised_j)

    def expected_at(self, t_s: FloatArray) -> FloatArray:
        return self._at(t_s, self.expected_j)

    def _at(self, t_s: FloatArray, energy_j: FloatArray) -> FloatArray:
        before = np.concatenate([[0.0], np.cumsum(energy_j[:-1, -1])])
        curve = (energy_j + before[:, None]).ravel()
        at = np.interp(t_s.ravel(), self.knot_s.ravel(), curve).reshape(t_s.shape)
        return np.asarray(at - before[:, None], np.float64)

    def stamps_ns(
        self, begin_ns: Int64Array, end_ns: Int64Array, own_begin_s: FloatArray, own_end_s: FloatArray
    ) -> tuple[Int64Array, Int64Array]:
        """Begins and ends (n, L) as the board's runtime sees them: within the edges, also where work ends late."""
        scale = (end_ns - begin_ns) / (own_end_s - own_begin_s)
        first, last = (
            begin_ns[:, None] + np.rint((x - own_begin_s[:, None]) * scale[:, None]).astype(np.int64)
            for x in (self.begin_s, self.end_s)
        )
        return first, last
