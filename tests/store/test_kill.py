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
from types import SimpleNamespace

import numpy as np
import pytest

from harness.core.trace import join_blocks
from harness.store.partial import read_trace_stream
from harness.store.recover import recover_partial
from harness.store.run_reader import RunReader
from harness.store.run_writer import RunWriter
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


FINISHER = textwrap.dedent(
    """
    import importlib.util, sys
    from pathlib import Path
    import numpy as np
    from harness.core.trace import Block
    from harness.store.run_writer import RunWriter

    spec = importlib.util.spec_from_file_location("samples", sys.argv[2])
    samples = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(samples)
    writer = RunWriter.create(Path(sys.argv[1]), samples.make_spec())
    samples.fill(writer, [samples.make_block(k, rows=20_000) for k in range(20)])
    print("finishing", flush=True)
    writer.finish()
    print("finished", flush=True)
    """
)


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15])
def test_kill_9_while_finishing_leaves_a_whole_run_or_all_its_streams(
    samples: SimpleNamespace, tmp_path: Path, delay_s: float
) -> None:
    conftest = Path(__file__).parent / "conftest.py"
    argv = [sys.executable, "-c", FINISHER, str(tmp_path), str(conftest)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "finishing\n"
        time.sleep(delay_s)
        child.kill()
        finished = child.stdout.read() == "finished\n"
    expected = join_blocks(samples.info(), [samples.block(k, rows=20_000) for k in range(20)])
    run_id = samples.spec().run_id
    if (tmp_path / run_id).exists():
        run = RunReader.open(tmp_path / run_id, verify="hashes")
    else:
        assert not finished
        run = recover_partial(tmp_path / f"{run_id}.partial")
    trace = run.trace("monsoon")
    np.testing.assert_array_equal(trace.t_ns, expected.t_ns)
    assert trace.calibration == expected.calibration
    assert run.timeline().n == 6
    assert len(run.pings()[1]) == 3
    if not (tmp_path / run_id).exists():  # and the same run can be measured again
        RunWriter.create(tmp_path, samples.spec()).finish()
        assert recover_partial(tmp_path / f"{run_id}.aborted-1").trace("monsoon").counts == expected.counts
