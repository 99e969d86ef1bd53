"""How well are samples that came in bursts laid out again?

    python benchmarks/bench_retime.py [--trials 40] [--seconds 40]

Simulated links with known truth: 200 to 5000 Hz, bursts of 1 to 32 ms of which 1 % last 50 to 500 ms, clocks off by up
to 5000 ppm with a warm-up of up to 0.2 % (time constant 30 to 300 s), delays with an exponential tail of 0.05 to 1 ms
(at most a third of a burst), up to 0.4 % of the bursts lost and as many handed over twice. Printed is the distribution
over trials of the RMS error in samples, apart from the link's least delay, which nobody can see; of the raw stamps
beside it; of what the result says of itself (`residual_ns`) over the true error; and what was lost, doubled and found.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis.readings.bursts.retime import NotSteady, retime
from drivers.simulated.bursts import Link, receive

RATES_HZ = (200, 500, 1000, 2000, 5000)
FIRST_SEED = 66_200


def drawn(seed: int, seconds: float) -> Link:
    """A link drawn from `seed`."""
    rng = np.random.default_rng(seed)
    burst_s = float(np.exp(rng.uniform(np.log(0.001), np.log(0.032))))
    warm_ppm = rng.uniform(-2000, 2000)
    return Link(
        rate_hz=float(rng.choice(RATES_HZ)), seconds=seconds, ppm=rng.uniform(-5000, 5000) - warm_ppm / 2,
        warm_ppm=warm_ppm, warm_s=float(np.exp(rng.uniform(np.log(30), np.log(300)))), burst_s=burst_s,
        tail_s=min(float(np.exp(rng.uniform(np.log(5e-5), np.log(1e-3)))), burst_s / 3), long=0.01,
        lost=rng.uniform(0, 0.004), doubled=rng.uniform(0, 0.004),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=40.0)
    asked = parser.parse_args()
    rows, refused, begun, samples = [], [], time.perf_counter(), 0
    for seed in range(FIRST_SEED, FIRST_SEED + asked.trials):
        link = drawn(seed, asked.seconds)
        got = receive(link, seed)
        samples += len(got.arrival_ns)
        try:
            out = retime(got.arrival_ns, period_ns=got.period_ns, content=got.content)
        except NotSteady as error:
            refused.append(f"seed {seed}: {error}")
            continue
        off = out.host_ns - got.true_ns[out.kept] - link.least_s * 1e9
        raw = got.arrival_ns - got.true_ns - link.least_s * 1e9
        rows.append([
            np.sqrt(np.mean(off**2)) / got.period_ns, np.sqrt(np.mean(raw**2)) / got.period_ns,
            out.residual_ns / got.period_ns, got.lost, sum(one.lost for one in out.lost), np.sum(got.again),
            sum(one.rows for one in out.repeats), np.sum(out.kept & got.again), sum(one.unplaced for one in out.lost),
            len(got.again), link.burst_s, link.rate_hz,
        ])  # fmt: skip
    print(f"simulated links: {len(rows)} laid out, {len(refused)} refused, {samples} samples, "
          f"{(time.perf_counter() - begun) / samples * 1e6:.1f} us a sample")  # fmt: skip
    for line in refused:
        print(f"  {line}")
    table = np.array(rows)
    _print("RMS error, samples", table[:, 0])
    _print("RMS error of the raw stamps, samples", table[:, 1])
    _print("residual as stated / true RMS error", table[:, 2] / table[:, 0])
    print(f"within one sample: {np.mean(table[:, 0] <= 1):.1%} of the trials; bursts above 4 ms: "
          f"{np.mean(table[table[:, 10] > 0.004, 0] <= 1):.1%}")  # fmt: skip
    lost, said, again, seen, left, unplaced, total = table[:, 3:10].sum(axis=0)
    print(f"lost: {lost:.0f} samples, {said:.0f} found; |difference| summed over trials "
          f"{np.abs(table[:, 3] - table[:, 4]).sum():.0f}")  # fmt: skip
    print(f"doubled: {again:.0f} samples, {seen:.0f} left out, {left:.0f} second copies stayed in")
    print(f"without a place (beside a loss) and left out: {unplaced / total:.2%} of the samples")


def _print(what: str, values: np.ndarray) -> None:
    q = np.quantile(values, [0.05, 0.5, 0.95, 1.0])
    print(f"{what}: 5 % {q[0]:.3f}, median {q[1]:.3f}, 95 % {q[2]:.3f}, largest {q[3]:.3f}")


if __name__ == "__main__":
    main()
