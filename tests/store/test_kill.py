"""kill -9 of the process that writes, at random moments: everything up to the last whole batch is readable."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from harness.store.partial import read_trace_stream
from harness.store.stream import StreamReader

ROOT = Path(__file__).parents[2]

WRITER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import numpy as np
    from harness.core.trace import Block, CalibrationPiece, ColumnSpec, MeterInfo
    from harness.store.block_writer import BlockWriter

    info = MeterInfo("d", "m", "1", "0", "meter:1", (ColumnSpec("a", "A"),), (), True, {})
    writer = BlockWriter(Path(sys.argv[1]), info)
    rows, k = 3000, 0
    while True:
        t = np.arange(k * rows, (k + 1) * rows)
        writer.append(Block(t, {"a": (t % 1000).astype(np.int16)}, [CalibrationPiece(0, "a", 0, k + 1.0, 0.0)],
                            anchors=np.array([[k, -k]]), counts={"n": 1}))
        k += 1
        if k % 10 == 0:
            print(k, flush=True)
    """
)


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_leaves_every_batch_that_was_appended(tmp_path: Path, seed: int) -> None:
    stream = tmp_path / "x.arrows"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(stream)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )  # fmt: skip
    assert child.stdout is not None
    with child, child.stdout:
        promised = int(child.stdout.readline())
        time.sleep(random.Random(seed).uniform(0, 0.05))
        os.kill(child.pid, signal.SIGKILL)
        for line in child.stdout:
            if line.endswith("\n"):
                promised = int(line)
    run = tmp_path / "run"
    (run / "raw").mkdir(parents=True)
    stream.rename(run / "raw" / "m.arrows")
    (tmp_path / "x.meter.json").rename(run / "raw" / "m.meter.json")
    check_prefix(run, at_least=promised)


def check_prefix(run: Path, *, at_least: int) -> None:
    """The trace is exactly the first `k` blocks for some k >= at_least, each with what belongs to it."""
    trace = read_trace_stream(run, "m")
    k = trace.counts.get("n", 0)
    assert k >= at_least
    np.testing.assert_array_equal(trace.t_ns, np.arange(3000 * k))
    np.testing.assert_array_equal(trace.columns["a"], np.arange(3000 * k) % 1000)
    assert [p.scale for p in trace.calibration] == [i + 1.0 for i in range(k)]
    assert len(trace.anchors) == k


def test_cut_at_any_byte_gives_a_whole_number_of_blocks(tmp_path: Path) -> None:
    """What a kill can do to the file, exhaustively: every length from nothing to all of it."""
    from harness.core.trace import Block, ColumnSpec, MeterInfo
    from harness.store.block_writer import BlockWriter

    whole = tmp_path / "w.arrows"
    writer = BlockWriter(whole, MeterInfo("d", "m", "1", "0", "meter:1", (ColumnSpec("a", "A"),), (), True))
    ends = []
    for k in range(3):
        writer.append(Block(np.array([k]), {"a": np.array([k], np.int16)}, counts={"n": 1}))
        ends.append(whole.stat().st_size)  # each append is with the kernel when it returns
    writer.close()
    content = whole.read_bytes()
    assert sorted(set(ends)) == ends
    cut = tmp_path / "c.arrows"
    for length in range(len(content) + 1):
        cut.write_bytes(content[:length])
        reader = StreamReader(cut)
        batches = list(reader)
        assert len(batches) == sum(end <= length for end in ends), length
        assert [b.column("t_ns").to_pylist() for b, _ in batches] == [[k] for k in range(len(batches))]
        assert reader.closed == (length == len(content))
