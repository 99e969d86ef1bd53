"""A dark run costs what a connected one does, and not one packet crosses the link while its programs run.

JOULEBENCH_TRIALS=20 pytest tests/e2e/ssh/test_dark_run.py -s     prints each trial's two energies
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path

import pytest

from tests.e2e.ssh.lab import Lab

TRIALS = int(os.environ.get("JOULEBENCH_TRIALS", "1"))
FIRST_SEED = int(os.environ.get("JOULEBENCH_SEED", "1"))

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(3600)]


class PacketLog(threading.Thread):
    """Notes when the count of packets on a board's cable changes, as seen from this side of it."""

    def __init__(self, board) -> None:
        super().__init__(daemon=True)
        self._board, self._over = board, threading.Event()
        self.seen_ns: list[int] = []

    def run(self) -> None:
        last = self._board.packets()
        while not self._over.wait(0.005):
            count = self._board.packets()
            if count != last:
                self.seen_ns.append(time.monotonic_ns())
            last = count

    def stop(self) -> None:
        self._over.set()
        self.join()


def spans_of(run: Path) -> list[tuple[str, int, int]]:
    import pyarrow.parquet as pq

    rows = pq.read_table(run / "raw" / "timeline.spans.parquet").to_pylist()
    return [(str(row["phase"]), row["begin_ns"], row["end_ns"]) for row in rows]


def test_no_packet_while_a_dark_run_measures_and_the_same_energy(lab: Lab) -> None:
    board = lab.board("left")
    protocol = {"starts": 3, "measure_s": 1.0, "standby_s": 1.5, "settle_min_s": 1.6, "settle_max_s": 4.0}
    agreed = compared = 0
    for trial in range(TRIALS):
        results = {}
        for dark in (False, True):
            name = f"{'dark' if dark else 'lit'}{trial}"
            campaign = lab.campaign(name, "left", seed=FIRST_SEED + trial, protocol={**protocol, "dark": dark})
            packets = PacketLog(board)
            packets.start()
            outcome = lab.measure(campaign)
            packets.stop()
            assert outcome.status == 0, outcome.stderr
            outcome.assert_honest()
            (run,) = [p.parent for p in lab.root_of(campaign).glob("*/manifest.json")]
            results[dark] = outcome.rows[0]
            if dark:  # the board of this test stamps this machine's clock
                measured = [(b, e) for phase, b, e in spans_of(run) if phase in ("measured", "standby_before")]
                inside = [t for t in packets.seen_ns for begin, end in measured if begin <= t - 10**7 and t <= end]
                assert not inside and len(packets.seen_ns) > 10
                link = json.loads((run / "raw" / "link.json").read_text("utf-8"))["data"]
                assert len(link) == 5 and all(entry["dark"] and not entry["contacts_ns"] for entry in link)
                assert all(not any(entry["packets"].values()) for entry in link), link
        lit, unlit = results[False], results[True]
        if None in (lit["truth"], unlit["truth"]) or "invalid" in (lit["status"], unlit["status"]):
            print(f"trial {trial}: refused or not graded ({lit['reason']}, {unlit['reason']})")
            continue
        compared += 1
        apart_j = abs(lit["measured_j"] - unlit["measured_j"])
        joint_j = math.hypot(*((row["interval_j"][1] - row["interval_j"][0]) / 2 for row in (lit, unlit)))
        agreed += apart_j <= joint_j
        print(f"trial {trial}: {lit['measured_j']:.4g} J, dark {unlit['measured_j']:.4g} J, joint {joint_j:.2g} J")
    print(f"{agreed} of {compared} trials agree within the joint interval")
    assert compared - agreed <= max(1, compared // 20)
