"""What the agent adds to an inference, with and without a marker pin, against the bare loop of the runtime.

    python benchmarks/bench_agent.py [--seconds 0.4] [--rounds 15] [--models gen:lstm gen:transformer zoo:squeezenet]

The bare loop is `session.run(None, feed)` in a process of its own, timed as a whole, as people write it. The agent's
figures come from its own stamps: the inference, and the gap from the end of one to the begin of the next. The three
take turns in short slices, and the median over the rounds is printed (of the ratio: of each round's own ratio), since
a shared machine drifts by more than the agent costs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.boards.local import LocalBoard
from harness.core.ports import AgentSession, Step
from harness.core.spec import BoardSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.timeline import Phase
from harness.models.resolve import prepare_model, resolve_model

BARE = """
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
with np.load(sys.argv[2]) as given:
    feed = {name: given[name] for name in given.files}
for _ in range(3):
    session.run(None, feed)
for line in sys.stdin:
    n, begin = 0, time.monotonic_ns()
    until = begin + int(float(line) * 1e9)
    while time.monotonic_ns() < until:
        session.run(None, feed)
        n += 1
    print(json.dumps((time.monotonic_ns() - begin) / n / 1e3), flush=True)
"""


def agent_us(session: AgentSession, seconds: float) -> tuple[float, float, float, float]:
    """(whole period, inference, median gap, 99th percentile of the gap), microseconds."""
    begin, end = session.perform([Step("infer", Phase.MEASURED, seconds=seconds)], 0, seed=0).rows(Phase.MEASURED)
    gaps = (begin[1:] - end[:-1]) / 1e3
    period = (begin[-1] - begin[0]) / 1e3 / (len(begin) - 1)
    return period, float(np.mean((end - begin) / 1e3)), float(np.median(gaps)), float(np.quantile(gaps, 0.99))


def drain(path: Path, stop: threading.Event) -> None:
    """Reads the FIFO as a rig does, asleep in between."""
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    while not stop.is_set():
        try:
            os.read(fd, 1 << 16)
        except BlockingIOError:
            time.sleep(0.01)
    os.close(fd)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", default=["gen:lstm", "gen:transformer", "zoo:squeezenet"])
    options = parser.parse_args()
    protocol = ProtocolSpec("bench", "back-to-back", 1, None, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, "", 0, 1e-3)
    with tempfile.TemporaryDirectory() as scratch:
        fifo, stop = Path(scratch) / "pin", threading.Event()
        os.mkfifo(fifo)
        reader = threading.Thread(target=drain, args=(fifo, stop))
        reader.start()
        board = LocalBoard("local", lambda spec: prepare_model(spec.model), directory=Path(scratch) / "board")
        print(f"{'model':<18}{'what':<16}{'period us':>11}{'inference us':>14}{'gap us':>9}{'gap p99':>9}{'/ bare':>9}")
        try:
            for reference in options.models:
                model = resolve_model(reference, 1, {}, 0, Path())
                plain = RunSpec("b", "b", BoardSpec("local"), (), model, RuntimeSpec(), protocol, 0, 0, True)
                pinned = dataclasses.replace(plain, board=BoardSpec("local", marker_pin=str(fifo)))
                report(board, reference, plain, pinned, options)
        finally:
            stop.set()
            reader.join()
            board.close()


def report(board: LocalBoard, reference: str, plain: RunSpec, pinned: RunSpec, options: argparse.Namespace) -> None:
    prepared = prepare_model(plain.model)
    argv = [sys.executable, "-c", BARE, str(prepared.path), str(prepared.inputs_path)]
    bare: list[float] = []
    rows: dict[str, list[tuple[float, float, float, float]]] = {"agent": [], "agent with pin": []}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as loop:
        assert loop.stdin is not None and loop.stdout is not None
        sessions = {"agent": board.start_agent(plain, 0), "agent with pin": board.start_agent(pinned, 0)}
        for session in sessions.values():
            session.load(plain, 0)
        for _ in range(options.rounds):
            print(options.seconds, file=loop.stdin)
            bare.append(json.loads(loop.stdout.readline()))
            for what, session in sessions.items():
                rows[what].append(agent_us(session, options.seconds))
        for session in sessions.values():
            session.close()
        loop.stdin.close()
    print(f"{reference:<18}{'bare loop':<16}{np.median(bare):>11.1f}{'':>14}{'':>9}{'':>9}{1.0:>9.4f}")
    for what, taken in rows.items():
        table = np.array(taken)
        period, inference, gap, p99 = np.median(table, axis=0)
        ratio = float(np.median(table[:, 0] / np.array(bare)))
        print(f"{reference:<18}{what:<16}{period:>11.1f}{inference:>14.1f}{gap:>9.2f}{p99:>9.2f}{ratio:>9.4f}")


if __name__ == "__main__":
    main()
