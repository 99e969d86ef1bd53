"""The profiler of a virtual board: what it says of kernels, what it costs, and stamps of single instances.

A profiler adds the same time to every kernel, some of it within the kernel's own stamps, so the shares of a profiled
inference are not those of a plain one, and short kernels look longer than they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.simulated.rig.clocks import NS, BoardClock
from drivers.simulated.rig.durations import Durations
from drivers.simulated.rig.kernels import KernelList
from drivers.simulated.rig.physics_load import Laid
from drivers.simulated.rig.workload import Workload, workload
from drivers.simulated.rig.world import World
from harness.core.clock import Int64Array
from harness.core.layers import LayerProfile, LayerStamps

SOURCE = "virtual profiler"


@dataclass(frozen=True)
class Profiler:
    """`plain`, `profiled`: the kernels of an inference without and with the profiler, and the workloads they make."""

    world: World
    plain: KernelList
    profiled: KernelList
    plain_work: Workload
    profiled_work: Workload

    @classmethod
    def of(cls, world: World, plain: KernelList, spec: dict[str, Any]) -> Profiler:
        """`spec`: a RunSpec in JSON form that asks for layers."""
        plain = dataclasses.replace(plain, time_s=workload(world, spec, plain).time_s)
        profiled = plain.with_overhead(world.board.profiler_cost, world.board.profiler_inside)
        return cls(world, plain, profiled, workload(world, spec, plain), workload(world, spec, profiled))

    def profile(self, count: int, rng: np.random.Generator) -> LayerProfile:
        """A profile pass of `count` inferences, with as many plain ones beside."""
        course = self.profiled_work.course
        assert course is not None, "a workload of a kernel list has a course"
        plain_s = Durations(self.world.board, self.plain_work.time_s, rng).draw(count)
        stalls_s = course.stalls_s(rng, count)
        total_s = Durations(self.world.board, self.profiled_work.time_s, rng).draw(count) + stalls_s.sum(1)
        z = np.clip(rng.standard_normal((count, 2 * len(course) + 1)), -4, 4)
        edges_s = np.cumsum(course.pieces_s(total_s, stalls_s, z), 1)[:, :-1]
        inference_ns = np.rint(total_s * NS).astype(np.int64)
        edges_ns = _stamped(np.rint(edges_s * NS).astype(np.int64), self.world.board.kernel_stamp_s, rng)
        edges_ns = np.clip(edges_ns, 0, inference_ns[:, None])
        plain_ns = np.rint(plain_s * NS).astype(np.int64)
        return LayerProfile(self.plain.kernels, edges_ns[:, 0::2], edges_ns[:, 1::2], inference_ns, plain_ns, SOURCE)


class StampedKernels:
    """Collects the kernels of measured inferences as the board's runtime stamps them."""

    def __init__(self, clock: BoardClock, error_s: float, seed: Sequence[int], *, start: int) -> None:
        self._clock, self._error_s, self._start = clock, error_s, start
        self._rng = np.random.default_rng(seed)
        self._parts: list[LayerStamps] = []

    def add(self, begin_ns: Int64Array, end_ns: Int64Array, laid: Laid) -> None:
        """Inferences with these edges (n,), host time."""
        drawn = laid.drawn
        assert drawn is not None, "inferences of a workload with a course have kernels"
        first, last = drawn.stamps_ns(begin_ns, end_ns, laid.own_begin_s, laid.own_end_s)
        edges = np.stack([first, last], 2).reshape(len(first), -1)
        edges = np.clip(_stamped(edges, self._error_s, self._rng), begin_ns[:, None], end_ns[:, None])
        on_board = self._clock.stamp(edges.ravel()).reshape(edges.shape)
        self._parts.append(
            LayerStamps(
                drawn.course.kernels.kernels, np.full(len(first), self._start, np.int64), self._clock.stamp(begin_ns),
                on_board[:, 0::2], on_board[:, 1::2],
            )
        )  # fmt: skip

    def stamps(self) -> LayerStamps | None:
        """All of them so far; None if nothing was measured."""
        if not self._parts:
            return None
        columns = ("start", "inference_begin_ns", "begin_ns", "end_ns")
        joined = (np.concatenate([getattr(part, name) for part in self._parts]) for name in columns)
        return LayerStamps(self._parts[0].kernels, *joined)


def _stamped(edges_ns: Int64Array, error_s: float, rng: np.random.Generator) -> Int64Array:
    """Edges (n, 2L) in order of time as they are stamped: with an error each, never before the one before."""
    wrong = edges_ns + np.rint(error_s * NS * rng.standard_normal(edges_ns.shape)).astype(np.int64)
    return np.asarray(np.maximum.accumulate(wrong, axis=1), np.int64)
