"""The processor's own counters of a board over SSH: read there by a sampler, held here against the hidden truth."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.store.run_reader import RunReader
from tests.e2e.ssh.lab import Lab, laboratory, need_sshd, write_yaml

pytestmark = [pytest.mark.realtime, pytest.mark.slow, pytest.mark.timeout(300)]

RAPL = {
    "name": "cpu", "meter": "rapl", "rails": {"package-0": "package-0"}, "plane": "package", "total": ["package-0"],
}  # fmt: skip
SCATTER = ("below_standby", "standby_moved")  # what a busy machine may make of few short starts


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    need_sshd(networks=False)
    with laboratory(tmp_path) as lab:
        yield lab


def bench_with_rapl(lab: Lab, name: str) -> None:
    write_yaml(lab.configs / "benches" / f"{name}.yaml", {"board": name, "meters": [RAPL]})


@pytest.mark.parametrize("dark", [False, True])
def test_rapl_of_a_remote_board_finds_the_truth(lab: Lab, *, dark: bool) -> None:
    lab.board("pi", network=False, clock_offset_s=5000 if os.geteuid() == 0 else 0)
    bench_with_rapl(lab, "pi")
    protocol = {"measure_s": 1.5, "starts": 3, "dark": dark, "standby_s": 2.0}
    outcome = lab.measure(lab.campaign("rapl", "pi", protocol=protocol))
    assert outcome.status == 0, outcome.stderr
    outcome.assert_honest()
    (row,) = outcome.rows
    assert row["status"] == "valid" or row["reason"] in SCATTER, row
    run = lab.root_of(lab.folder / "rapl.yaml") / row["run_id"]
    trace = RunReader.open(run).trace("cpu")
    assert trace.info.clock == "board:pi" == RunReader.open(run).timeline().clock
    said = json.loads((run / "raw/cpu.sampler.json").read_text("utf-8"))
    assert 0 < said["cost"]["cpu_s"] < 0.05 * said["cost"]["wall_s"]
    on_board = lab.folder / "on" / "pi" / "agents"
    assert not list(on_board.iterdir())  # nobody is left


def test_a_board_without_the_channel_is_one_error_that_names_it(lab: Lab) -> None:
    lab.board("pi", network=False)
    wrong = {**RAPL, "rails": {"package-9": "package-9"}, "total": ["package-9"]}
    write_yaml(lab.configs / "benches" / "pi.yaml", {"board": "pi", "meters": [wrong]})
    outcome = lab.measure(lab.campaign("rapl", "pi"))
    assert outcome.status in (2, 3)
    assert "package-9" in outcome.stderr
