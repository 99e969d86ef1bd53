"""Published Monsoon recordings, whose stamps come in USB bursts: how well they are laid out, and what that shows.

What depends on right timing is the contrast at the marks: mean power inside what the marks call work less the power
outside. It is printed at the offset found beside 20 wrong ones, and so is the finer contrast between inferences and the
pauses between them. Nothing is claimed where they do not differ. Skips without the recordings, which are not ours.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.readings.bursts.retime import retime
from harness.core.clock import FloatArray, Int64Array
from harness.imports.monsoon_csv import PERIOD_NS, parse_inferences, parse_power
from harness.imports.source import read_source

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "platformx-monsoon-traces"
NAMES = ("EnergyNet_uid15582_cfg125_nhwc", "EnergyNet_uid8723_cfg181_nhwc", "mnv2_cifar10_fp32")
FOUND_S = (0.15, 0.5)  # where the phone's clock is looked for behind the host's
WRONG = 20
AWAY_S = 0.1


def contrast_w(t_ns: Int64Array, power_w: FloatArray, begin: Int64Array, end: Int64Array) -> float:
    """Mean power inside [begin, end) less that outside of all of it."""
    inside = (t_ns >= begin[0]) & (t_ns < end[-1])
    return float(power_w[inside].mean() - power_w[~inside].mean())


def fine_w(t_ns: Int64Array, power_w: FloatArray, begin: Int64Array, end: Int64Array) -> float:
    """Mean power inside inferences less that in the pauses between them; NaN if no sample is stamped in a pause."""
    k = np.clip(np.searchsorted(begin, t_ns, side="right") - 1, 0, len(begin) - 1)
    span = (t_ns >= begin[0]) & (t_ns < end[-1])
    inside = span & (t_ns >= begin[k]) & (t_ns < end[k])
    pause = span & ~inside
    return float(power_w[inside].mean() - power_w[pause].mean()) if inside.any() and pause.any() else float("nan")


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared is not here")
@pytest.mark.parametrize("name", NAMES)
def test_bursts_of_published_recordings_are_laid_out_and_marks_show_it(name: str) -> None:
    log = parse_power(read_source(REAL / f"live_runs__{name}_power.csv.gz"))
    begin, end = parse_inferences(read_source(REAL / f"live_runs__{name}_inference_time.csv.gz"))
    content = np.stack([np.rint(log.current_ma * 1e6), np.rint(log.voltage_v * 1e6)], axis=1).astype(np.int64)
    out = retime(log.host_ns, period_ns=PERIOD_NS, content=content)
    raw_late = log.host_ns[out.kept] - out.host_ns
    print(
        f"\n{name}: residual {out.residual_ns * 1e-3:.0f} us, worst {out.worst_ns * 1e-3:.0f} us; their own stamps "
        f"are late by {np.sqrt(np.mean(raw_late.astype(float) ** 2)) * 1e-6:.1f} ms (rms); "
        f"lost before row: {[(one.row, one.lost) for one in out.lost]}; doubled: {len(out.repeats)}"
    )
    assert out.residual_ns < PERIOD_NS / 2 and out.worst_ns < PERIOD_NS
    assert [one.row for one in out.lost] == [678] and 5 <= out.lost[0].lost <= 25  # all three: 0.15 s after the start
    assert out.repeats == ()

    power = log.power_w[out.kept]
    times = {"laid out": out.host_ns, "own stamps": log.host_ns[out.kept]}
    offsets = np.arange(FOUND_S[0], FOUND_S[1], 0.001) * 1e9
    coarse = [contrast_w(out.host_ns, power, begin + round(o), end + round(o)) for o in offsets]
    found = float(offsets[int(np.argmax(coarse))])
    rng = np.random.default_rng(66_900)
    wrong = found + rng.choice([-1, 1], WRONG) * rng.uniform(AWAY_S, 0.8, WRONG) * 1e9
    for label, t_ns in times.items():
        for what, figure in (("work less rest", contrast_w), ("inferences less pauses", fine_w)):
            at = figure(t_ns, power, begin + round(found), end + round(found))
            others = np.array([figure(t_ns, power, begin + round(o), end + round(o)) for o in wrong])
            better = int(np.sum(others >= at))
            print(
                f"  {label}, {what}: {at:+.3f} W at {found * 1e-9:.3f} s; at {WRONG} wrong offsets "
                f"{np.nanmin(others):+.3f} to {np.nanmax(others):+.3f} W, {better} of them larger"
            )
            if what == "work less rest":
                assert better == 0, "the work is not where it was found"
