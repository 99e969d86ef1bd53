"""How well are the clocks of meter and board tied together, net of a load's onset, and is a lock ever wrong?

    python benchmarks/stat_clocks.py                            # 40 trials at 5 kHz and at 1 kHz
    python benchmarks/stat_clocks.py --trials 1000 --search     # locks only: which are refused, which are wrong

Meters of up to 5000 ppm whose clocks bend while they warm up, behind USB bursts and an offset of up to 10 s, see the
loads of simulated boards (`harness.exam.clock_trials`): onset, rise, fall, hold, supply filter, daemons, ripple. Errors
are those of the mapped time of a load's edge within the measured stretches. Statistical efficiency: nothing is timed.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from harness.exam.clock_trials import ClockTrial, run_trial

LEAST_W = 0.5  # contrast below which nothing is promised
WRONG_S = 0.1  # a lag off by more is at another place; where the load rises in 40 ms, the middle of a step is no nearer
WRONG_FIT_S = 0.005


def wrong(trial: ClockTrial) -> bool:
    if len(trial.error_ns):
        return bool(np.max(np.abs(trial.error_ns)) > WRONG_FIT_S * 1e9)
    return trial.away_s > WRONG_S


def row(name: str, trials: list[ClockTrial]) -> str:
    fitted = [t for t in trials if len(t.error_ns)]
    text = f"{name:34s} {len(trials):5d} refused {sum(bool(t.reason) for t in trials):3d}"
    text += f"  wrong lock {sum(map(wrong, trials)):2d}"
    if not fitted:
        return text
    error = np.concatenate([np.abs(t.error_ns) for t in fitted]) * 1e-3
    z = np.concatenate([np.abs(t.error_ns) / t.u_ns for t in fitted])
    middle, high, highest = np.quantile(error, (0.5, 0.9, 0.95))
    return (
        f"{text}  unfitted {len(trials) - len(fitted):3d}  |error| us: p50 {middle:6.1f}  p90 {high:6.1f}  "
        f"p95 {highest:6.1f}  within 2 u {np.mean(z < 2):.3f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rates", type=int, nargs="+", default=[5000, 1000], help="readings per second")
    parser.add_argument("--search", action="store_true", help="find locks only, without the fit over markers")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no further trial after this time")
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    for rate in args.rates:
        trials = []
        for seed in range(args.seed, args.seed + args.trials):
            if time.monotonic() > until:
                break
            trials.append(run_trial(seed, period_ns=1_000_000_000 // rate, fit=not args.search))
        clear = [t for t in trials if t.contrast_w >= LEAST_W]
        print(row(f"{rate} Hz, contrast >= {LEAST_W} W", clear))
        print(row("  of these, no slewed clock", [t for t in clear if not t.slewed]))
        print(row("  of these, filter below 1 ms", [t for t in clear if not t.slewed and t.filter_s < 1e-3]))
        print(row(f"{rate} Hz, below", [t for t in trials if t.contrast_w < LEAST_W]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
