"""GPUs of a board over SSH: the library by its usual name and the program on the PATH, read there and judged here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import Feeder, GpuSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Errors
from harness.store.run_reader import RunReader
from tests.e2e.ssh.lab import Lab, laboratory, need_sshd, write_yaml

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(missing() != "", reason=f"needs {missing()}"),
]

POWER_W = 120.0
NVML = {"name": "nvml", "meter": "nvml", "rails": {"gpu0/energy": "gpu"}, "plane": "rail", "total": ["gpu"]}
SMI = {"name": "smi", "meter": "nvidia-smi", "rails": {"gpu0/instant": "gpu"}, "plane": "rail", "total": ["gpu"]}
SCATTER = ("below_standby", "standby_moved")  # what a busy machine may make of few short starts


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    need_sshd(networks=False)
    with laboratory(tmp_path) as lab:
        yield lab


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[NvidiaMachine]:
    """Two GPUs of a board; the second draws half as much."""
    noise = Errors(noise_mw=200.0)
    specs = [GpuSpec("a100", lambda t_s: POWER_W * t_s, noise), GpuSpec("t4", lambda t_s: 0.5 * POWER_W * t_s, noise)]
    made = NvidiaMachine(tmp_path / "gpus", specs)
    feeder = Feeder(made)
    yield made
    feeder.close()
    made.close()


def gpu_board(lab: Lab, machine: NvidiaMachine, *meters: dict[str, Any]) -> None:
    """A board whose sessions find the machine's library and program as any real board's do."""
    found = machine.environment()
    environment = {**found, "PATH": f"{found['PATH']}:{os.environ['PATH']}"}
    lab.board("gpus", network=False, environment=environment)
    write_yaml(lab.configs / "benches" / "gpus.yaml", {"board": "gpus", "meters": list(meters)})


def mean_w(lab: Lab, meter: str) -> float:
    done = lab.call("meters", "read", f"gpus/{meter}", "--seconds", "2", "--configs", lab.configs, "--json")
    assert done.returncode == 0, done.stderr
    (channel,) = json.loads(done.stdout)["channels"]
    return float(channel["mean_w"])


def test_both_drivers_read_a_board_and_say_what_befell_it(lab: Lab, machine: NvidiaMachine) -> None:
    other = {**NVML, "name": "other", "rails": {"gpu1/power": "gpu"}}
    gpu_board(lab, machine, NVML, SMI, other)
    assert mean_w(lab, "nvml") == pytest.approx(POWER_W, rel=0.1)
    assert mean_w(lab, "smi") == pytest.approx(POWER_W, rel=0.05)
    assert mean_w(lab, "other") == pytest.approx(POWER_W / 2, rel=0.05)
    machine.refuse_to_start(18)
    for meter in ("gpus/nvml", "gpus/smi"):
        done = lab.call("meters", "read", meter, "--configs", lab.configs)
        assert done.returncode != 0
        assert "device error" in done.stderr
        assert "reboot" in done.stderr


def test_a_campaign_on_a_board_finds_the_truth_by_both(lab: Lab) -> None:
    lab.board("gpus", network=False, clock_offset_s=5000 if os.geteuid() == 0 else 0)
    write_yaml(lab.configs / "benches" / "gpus.yaml", {"board": "gpus", "meters": [NVML, SMI]})
    campaign = lab.campaign("gpus", "gpus", protocol={"measure_s": 3.0, "standby_s": 3.0})
    root = lab.root_of(campaign)
    done = lab.call("run", "--sim", campaign, "--world", "gpu", "--configs", lab.configs, "--root", root)
    assert done.returncode == 0, done.stderr
    rows = {row["meter"]: row for row in lab.examined(root)}
    assert set(rows) == {"nvml", "smi"}
    for row in rows.values():
        assert row["status"] == "valid" or row["reason"] in SCATTER, row
        if row["status"] == "valid":
            (low, high), true_j = row["interval_j"], row["truth"]["realised_j"]
            assert low <= true_j <= high, row
    run = root / rows["nvml"]["run_id"]
    for meter in rows:
        assert RunReader.open(run).trace(meter).info.clock == "board:gpus"
