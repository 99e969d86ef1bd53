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
WRONG_S = 0.02  # a lag off by more is at another place, not at another part of a slow edge
WRONG_FIT_S = 0.005
SEARCHED_S = 0.1  # the same without the fit: where the load rises in 40 ms, the middle of a step is no nearer


def wrong(trial: ClockTrial, away_s: float) -> bool:
    if len(trial.error_ns):
        return bool(np.max(np.abs(trial.error_ns)) > WRONG_FIT_S * 1e9)
    return trial.away_s > away_s


def row(name: str, trials: list[ClockTrial], *, searched: bool) -> str:
    """One line: how many trials have no lag, how many no offset, and how far off those are that are said."""
    locked = [t for t in trials if not t.reason]
    text = f"{name:36s} {len(trials):5d} trials, no lag {len(trials) - len(locked):4d}"
    off = [sum(wrong(t, s) for t in locked) for s in (WRONG_S, SEARCHED_S)]
    if searched:
        return f"{text}, off by 20 ms {off[0]}, by 100 ms {off[1]}"
    said = [t for t in locked if len(t.error_ns)]
    text += f", no offset {len(locked) - len(said):4d}"
    if not said:
        return text
    error = np.concatenate([np.abs(t.error_ns) for t in said]) * 1e-3
    z = np.concatenate([np.abs(t.error_ns) / t.u_ns for t in said])
    middle, high, highest = np.quantile(error, (0.5, 0.9, 0.95))
    bound = 1.96 * 1e-3 * np.array([t.bound_ns for t in locked if np.isfinite(t.bound_ns)])
    return (
        f"{text}  |error| us: p50 {middle:.1f}  p90 {high:.1f}  p95 {highest:.1f}  max {error.max():.1f}  within 2 u "
        f"{np.mean(z < 2):.3f}  wrong {off[0]}  1.96 x bound us, all: p50 {np.median(bound):.1f}  "
        f"p95 {np.quantile(bound, 0.95):.1f}"
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
        low = [t for t in trials if t.contrast_w < LEAST_W]
        for name, some in (
            (f"contrast >= {LEAST_W} W", clear),
            ("no slewed clock", [t for t in clear if not t.slewed]),
            ("less contrast", low),
        ):
            print(row(f"{rate} Hz, {name}", some, searched=args.search), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
