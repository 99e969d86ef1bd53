"""How long energies of layers take, and how that grows with readings and with kernels.

    python benchmarks/bench_layers.py [--seconds 24]

Makes the power of one process start at 5 kHz (an inference every 14 ms, 60 kernels, no noise of a store or a disk),
attributes it, and prints seconds for a half, the whole and twice the readings, and for 30, 60 and 120 kernels, with the
exponents of growth (1 = linear). The search for shift and filter takes the same time however long the run is.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from bench_analysis import INFERENCE_NS, PERIOD_NS, timeline

from analysis.attribute.layers import Recorded, layer_report
from analysis.energy.solve import solve
from analysis.energy.standby import find_standby
from analysis.readings.curve import ChannelCurve
from analysis.timing.lag import find_lag
from analysis.timing.windows import start_windows
from harness.core.curve import EnergyCurve
from harness.core.layers import Kernel, LayerProfile
from harness.core.trace import Reading, ReadingKind


def attributed(seconds: float, kernels: int) -> tuple[float, int]:
    """(seconds it took, rows) for one start of `seconds`."""
    rng = np.random.default_rng(1)
    line = timeline(seconds)
    length = rng.exponential(size=kernels) + 0.05
    share = np.r_[0.0, np.cumsum(length) / length.sum()]
    power_w = rng.uniform(3.0, 9.0, kernels)
    busy = (line.end_ns - line.begin_ns).astype(np.float64)
    knot = (line.begin_ns[:, None] + share[None, :] * busy[:, None]).ravel()
    drawn = np.zeros((len(busy), kernels + 1))
    drawn[:, 1:] = power_w * np.diff(share) * busy[:, None] * 1e-9
    total = np.cumsum(drawn.ravel())
    edge = np.arange(0, line.spans[-1].end_ns, PERIOD_NS, dtype=np.int64)
    energy = np.interp(edge - 1_000_000.0, knot, total) + 2.0e-9 * edge
    energy += np.r_[0.0, np.cumsum(0.02 * PERIOD_NS * 1e-9 * rng.standard_normal(len(edge) - 1))]
    curve = EnergyCurve("host", edge, energy, edge.astype(np.float64))
    channel = ChannelCurve("main", curve, Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS), PERIOD_NS, len(edge))
    names = tuple(Kernel(f"k{i}", "Conv") for i in range(kernels))
    at = np.rint(np.tile(share, (20, 1)) * INFERENCE_NS).astype(np.int64)
    profile = LayerProfile(names, at[:, :-1], at[:, 1:], np.full(20, INFERENCE_NS, np.int64))
    lag = find_lag(channel, line)
    windows = start_windows(line, period_ns=PERIOD_NS)
    solution = solve(channel, line, lag, find_standby(channel, line, 0), windows)
    if solution is None:
        raise SystemExit("the run could not be solved")
    began = time.perf_counter()
    report = layer_report(Recorded(profile, None), channel, line, lag, solution, ())
    took = time.perf_counter() - began
    if report.problem:
        raise SystemExit(f"no layers: {report.problem}")
    return took, len(report.layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=24.0)
    seconds = parser.parse_args().seconds
    print(f"{'seconds':>8} {'readings':>10} {'kernels':>8} {'took s':>8} {'rows':>5}")
    by: dict[tuple[float, int], float] = {}
    for length, kernels in ((0.5, 60), (1.0, 60), (2.0, 60), (1.0, 30), (1.0, 120)):
        took, rows = attributed(seconds * length, kernels)
        by[length, kernels] = took
        print(f"{seconds * length:>8.1f} {seconds * length * 5000:>10,.0f} {kernels:>8} {took:>8.2f} {rows:>5}")
    print(f"exponent of growth in readings: {math.log(by[2.0, 60] / by[0.5, 60], 4):.2f}")
    print(f"exponent of growth in kernels: {math.log(by[1.0, 120] / by[1.0, 30], 4):.2f}")


if __name__ == "__main__":
    main()
