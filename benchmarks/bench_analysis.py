"""How long the analysis of a long run takes, how much memory, and how both grow.

    python benchmarks/bench_analysis.py [--hours 1.0]

Makes runs of an eighth, a quarter, a half and the whole of the given hours at 5 kHz (an inference every 14 ms) with
the real store, analyses each in a process of its own, and prints seconds, peak resident memory above the
reader's imports, and the exponent of growth (1 = linear) between the smallest and the largest.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.store.run_writer import RunWriter

PERIOD_NS, INFERENCE_NS, PAUSE_NS = 200_000, 14_000_000, 30_000
MARKER = "1110010110100011"
CHILD = """
import json, resource, sys, time
from pathlib import Path
from analysis.analyse import analyse_run
from harness.store.run_reader import RunReader
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reader = RunReader.open(Path(sys.argv[1]))
t0 = time.perf_counter(); reader.trace("main"); t1 = time.perf_counter()
read = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = analyse_run(reader).primary
t2 = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(dict(status=result.status, reason=result.details.get("invalid"), n=result.n, read_s=t1 - t0,
    analyse_s=t2 - t1, read_mb=(read - base) / 1024, peak_mb=(peak - base) / 1024,
    energy_j=result.energy_per_inference_j, u_j=result.u_j)))
"""


def timeline(seconds: float) -> Timeline:
    """One process start that measures for `seconds`."""
    second, now = 1_000_000_000, 0
    spans: list[Span] = []
    starts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    phases: list[np.ndarray] = []

    def stretch(phase: Phase, begin: np.ndarray, end: np.ndarray, until: int) -> None:
        nonlocal now
        starts.append(begin)
        ends.append(end)
        phases.append(np.full(len(begin), PHASE_CODE[phase]))
        spans.append(Span(0, phase, now, until))
        now = until

    def infer(phase: Phase, count: int, pause_ns: int) -> None:
        begin = now + np.arange(count, dtype=np.int64) * (INFERENCE_NS + pause_ns)
        stretch(phase, begin, begin + INFERENCE_NS, now + count * (INFERENCE_NS + pause_ns))

    def marker() -> None:
        at = now + np.flatnonzero([b == "1" for b in MARKER]).astype(np.int64) * 20_000_000
        stretch(Phase.MARKER, at, at + 19_990_000, now + len(MARKER) * 20_000_000 + 50_000_000)

    now = second
    spans.append(Span(0, Phase.STANDBY_BEFORE, now, now + 20 * second))
    now += 20 * second
    marker()
    infer(Phase.LEAD_IN, 70, PAUSE_NS)
    infer(Phase.MEASURED, int(seconds * 1e9 / (INFERENCE_NS + PAUSE_NS)), PAUSE_NS)
    infer(Phase.LEAD_OUT, 70, PAUSE_NS)
    infer(Phase.PROBE, 40, 25_000_000)
    marker()
    now += 3 * second
    spans.append(Span(0, Phase.STANDBY_AFTER, now, now + 20 * second))
    begin, end, phase = np.concatenate(starts), np.concatenate(ends), np.concatenate(phases)
    return Timeline("host", tuple(spans), np.zeros(len(begin), np.int64), phase.astype(np.int64), begin, end)


def make_run(root: Path, seconds: float) -> Path:
    """A run whose meter lags by 0.6 s and whose current follows the busy stretches, as uint16 columns."""
    line = timeline(seconds)
    protocol = ProtocolSpec(
        "standard", "back-to-back", 1, None, seconds, 20, 3, 9, 1, 1, 1, 0, 40, 0.025, MARKER, 0.02, 1
    )
    spec = RunSpec(
        "bench", "bench", BoardSpec("b"), (MeterBinding("main", "x", (("main", "main"),), "dc_input", ("main",)),),
        ModelSpec("net", "gen:net", "0" * 64, 1), RuntimeSpec(), protocol, 0, int(seconds), True,
    )  # fmt: skip
    reading = Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS)
    info = MeterInfo(
        "x", "x", "1", "1", "meter:1", (ColumnSpec("current", "A", "range"), ColumnSpec("voltage", "V")),
        (ChannelSpec("main", "power_w", ("current", "voltage"), reading, Accuracy(0.01, 1e-3, 1e-3, "made up")),),
        simulated=True,
    )  # fmt: skip
    writer = RunWriter.create(root, spec)
    blocks = writer.block_writer("main", info)
    rng = np.random.default_rng(1)
    rows, size = int((line.spans[-1].end_ns + 2_000_000_000) // PERIOD_NS), 500_000
    knot = np.stack([line.begin_ns, line.end_ns], axis=1).ravel().astype(float)
    busy = np.cumsum(line.end_ns - line.begin_ns).astype(float)
    level = np.stack([np.r_[0.0, busy[:-1]], busy], axis=1).ravel()
    for first in range(0, rows, size):
        edge = (np.arange(first, min(first + size, rows) + 1) * PERIOD_NS - 600_000_000).astype(float)
        share = np.diff(np.interp(edge, knot, level)) / PERIOD_NS
        current = 8000 + 12000 * share + 40 * rng.standard_normal(len(share))
        t = (np.arange(first, first + len(share)) + 1) * PERIOD_NS
        anchors = np.stack([t, t + rng.integers(200_000, 3_000_000, len(t))], axis=1)[::50].astype(np.int64)
        pieces = [CalibrationPiece(0, c, 0, s, 0.0) for c, s in (("current", 5e-5), ("voltage", 2.5e-4))]
        columns = {"current": current.astype(np.uint16), "voltage": np.full(len(t), 20_000, np.uint16),
                   "range": np.zeros(len(t), np.uint8)}  # fmt: skip
        blocks.append(Block(t.astype(np.int64), columns, pieces, anchors=anchors))
    writer.put_timeline(line)
    return writer.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    hours = parser.parse_args().hours
    print(
        f"{'hours':>6} {'readings':>11} {'inferences':>10} {'read s':>7} {'analyse s':>9} {'read MB':>8} {'peak MB':>8}"
    )
    found = []
    for part in (1 / 8, 1 / 4, 1 / 2, 1):
        with tempfile.TemporaryDirectory() as folder:
            run = make_run(Path(folder), hours * 3600 * part)
            done = subprocess.run([sys.executable, "-c", CHILD, str(run)], capture_output=True, text=True, check=True)
        row = json.loads(done.stdout)
        if row["status"] != "valid":
            raise SystemExit(f"the analysis refused the run: {row['reason']}")
        found.append(row)
        print(f"{hours * part:>6.3f} {hours * part * 18e6:>11,.0f} {row['n']:>10,} {row['read_s']:>7.2f} "
              f"{row['analyse_s']:>9.2f} {row['read_mb']:>8.0f} {row['peak_mb']:>8.0f}")  # fmt: skip
    first, last = found[0], found[-1]
    for key, what in (("analyse_s", "time"), ("peak_mb", "memory")):
        print(f"exponent of growth in {what}: {math.log(last[key] / first[key], 8):.2f}")
    print(f"energy {last['energy_j']:.6f} J +- {last['u_j']:.6f} J")


if __name__ == "__main__":
    main()
