"""Runs the trials and keeps what came of them in results.json: the only source of docs/peers.md."""

from __future__ import annotations

import datetime
import json
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import bugs, costs, monsoon_trials, nvml_trials, powercap_trials
from benchmarks.peers.child import PeerSpec
from benchmarks.peers.outcome import Outcome
from harness.testing.fault_matrix import find_trials, judge_all

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results.json"
TRIALS: dict[str, Any] = {"powercap": powercap_trials, "nvml": nvml_trials, "monsoon": monsoon_trials}
METERS = {"powercap": "rapl", "nvml": "nvml", "monsoon": "monsoon"}


@dataclass(frozen=True)
class Runner:
    """Keeps in `results` what it runs; `faults`, `peers`: only these, if any. What is not run stays as it was."""

    results: Path = RESULTS
    faults: Sequence[str] = ()
    peers: Sequence[str] = ()

    def run(self, parts: Sequence[str]) -> None:
        """Some of __main__.PARTS."""
        for part in parts:
            if part == "bugs":
                chosen = [
                    bug for bug in bugs.BUGS if bug.peer.installed and (not self.faults or bug.issue in self.faults)
                ]
                self._keep(part, [_bug(bug) for bug in chosen], key=("issue", "version"))
            elif part == "matrix":
                self._keep(part, [row for name in TRIALS for row in _mirrored(name)], key=("part", "fault"))
            elif part == "costs":
                self._keep(part, costs.measure(), key=("what", "peer"))
            else:
                self._run_trials(part)

    def _run_trials(self, part: str) -> None:
        trials = TRIALS[part]
        peers = [peer for peer in trials.PEERS if peer.installed and (not self.peers or peer.name in self.peers)]
        usual: dict[str, list[str]] = {}
        for fault in trials.FAULTS:
            if not self.faults or fault.name in (*self.faults, "none"):
                rows = [_row(fault, outcome, peers) for outcome in trials.play(fault, peers, usual)]
                self._keep(part, rows, key=("fault", "peer"))

    def _keep(self, part: str, rows: list[dict[str, Any]], *, key: tuple[str, ...]) -> None:
        """Replace what the file says of these rows, each with its date."""
        results = json.loads(self.results.read_text("utf-8")) if self.results.exists() else {}
        now = datetime.datetime.now(datetime.UTC).date().isoformat()
        fresh = {tuple(row[name] for name in key): {**row, "date": now} for row in rows}
        kept = {tuple(row[name] for name in key): row for row in results.get(part, [])}
        results[part] = list({**kept, **fresh}.values())
        results["python"] = platform.python_version()
        text = json.dumps(results, indent=1, ensure_ascii=False).replace(f"{ROOT}/", "")
        self.results.write_text(re.sub(r"/tmp/[\w.-]+", "/tmp/...", text) + "\n", "utf-8")


def _row(fault: Any, outcome: Outcome, peers: Sequence[PeerSpec]) -> dict[str, Any]:
    print(f"{fault.name:20} {outcome.peer:15} {outcome.outcome:13} {outcome.energy_j} "
          f"[{outcome.low_j}, {outcome.high_j}] {outcome.detail[:120]} {outcome.words[:2]}", flush=True)  # fmt: skip
    spec = next((peer for peer in peers if peer.name == outcome.peer), None)
    return {"what": fault.what, **outcome.to_json(), "version": version_of(spec) if spec else ""}


def _mirrored(part: str) -> list[dict[str, Any]]:
    """What our own fault matrix says of the trials that mirror a part's faults, in virtual time."""
    names = sorted({fault.mirrors for fault in TRIALS[part].FAULTS})
    rows = []
    for name in names:
        trials = find_trials(meter=METERS[part], fault=name)
        assert trials, f"{METERS[part]} has no trial {name}"
        for judged in judge_all(trials):
            rows.append({"part": part, **judged.to_json()})
            print(f"{part:10} {name:24} {judged.outcome:13} {judged.detail[:100]}", flush=True)
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
