"""Runs the trials and keeps what came of them in results.json: the only source of docs/peers.md."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import bugs, costs, monsoon_trials, nvml_trials, powercap_trials
from benchmarks.peers.child import PeerSpec
from benchmarks.peers.outcome import Outcome
from benchmarks.peers.playing import OURS
from harness.testing.fault_matrix import find_trials, judge_all

RESULTS = Path(__file__).parent / "results.json"
TRIALS: dict[str, Any] = {"powercap": powercap_trials, "nvml": nvml_trials, "monsoon": monsoon_trials}
METERS = {"powercap": "rapl", "nvml": "nvml", "monsoon": "monsoon"}


def run(parts: Sequence[str], faults: Sequence[str]) -> None:
    """Parts of PARTS; `faults`: only these of a part's faults. What was not run stays as it was."""
    for part in parts:
        if part == "bugs":
            chosen = [bug for bug in bugs.BUGS if bug.peer.installed and (not faults or bug.issue in faults)]
            _keep(part, [_bug(bug) for bug in chosen], key=("issue", "version"))
        elif part == "costs":
            _keep(part, costs.measure(), key=("what", "peer"))
        else:
            _run_trials(part, faults)


def _run_trials(part: str, only: Sequence[str]) -> None:
    trials = TRIALS[part]
    peers = [peer for peer in trials.PEERS if peer.installed]
    usual: dict[str, list[str]] = {}
    for fault in trials.FAULTS:
        if only and fault.name not in (*only, "none"):
            continue
        rows = [_row(fault, outcome, peers) for outcome in trials.play(fault, peers, usual)]
        rows += _mirrored(part, fault)
        _keep(part, rows, key=("fault", "peer"))


def _row(fault: Any, outcome: Outcome, peers: Sequence[PeerSpec]) -> dict[str, Any]:
    print(f"{fault.name:20} {outcome.peer:15} {outcome.outcome:13} {outcome.energy_j} "
          f"[{outcome.low_j}, {outcome.high_j}] {outcome.detail[:120]} {outcome.words[:2]}", flush=True)  # fmt: skip
    spec = next((peer for peer in peers if peer.name == outcome.peer), None)
    return {"what": fault.what, **outcome.to_json(), "version": version_of(spec) if spec else ""}


def _mirrored(part: str, fault: Any) -> list[dict[str, Any]]:
    """The same fault in our own fault matrix, in virtual time."""
    trials = find_trials(meter=METERS[part], fault=fault.mirrors)
    rows = []
    for judged in judge_all(trials):
        rows.append({"what": fault.what, "peer": f"{OURS}, matrix", "fault": fault.name, "outcome": judged.outcome,
                     "mirrors": fault.mirrors, "detail": judged.detail, "version": ""})  # fmt: skip
        print(f"{fault.name:20} {'(our matrix)':15} {judged.outcome:13} {judged.detail[:120]}", flush=True)
    return rows


def _bug(bug: bugs.Bug) -> dict[str, Any]:
    outcome = bugs.play(bug)
    seen = bug.check(outcome)
    print(f"{bug.issue:32} {'REPRODUCED' if seen else 'not seen':11} {outcome.outcome} {outcome.energy_j} "
          f"[{outcome.low_j}, {outcome.high_j}] {outcome.detail[:100]} {outcome.words[:2]}", flush=True)  # fmt: skip
    return {
        "issue": bug.issue,
        "reported": bug.reported,
        "version": version_of(bug.peer),
        "reproduced": seen,
        **outcome.to_json(),
    }


def version_of(spec: PeerSpec) -> str:
    """What pip says is installed: `name version`."""
    package = (Path(__file__).parent / "pins" / f"{spec.environment}.txt").read_text("utf-8").split("\n", 1)[0]
    name = package.lstrip("# ").split("==")[0]
    command = [str(spec.python), "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
    return f"{name} {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"


def _keep(part: str, rows: list[dict[str, Any]], *, key: tuple[str, ...]) -> None:
    """Replace what results.json says of these rows, each with its date."""
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    now = datetime.datetime.now(datetime.UTC).date().isoformat()
    fresh = {tuple(row[name] for name in key): {**row, "date": now} for row in rows}
    kept = {tuple(row[name] for name in key): row for row in results.get(part, [])}
    results[part] = list({**kept, **fresh}.values())
    results["python"] = platform.python_version()
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
