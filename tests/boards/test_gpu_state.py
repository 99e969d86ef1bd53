"""GPUs of a board: read from nvidia-smi's log, set on request, put back also after a crash; on a simulated machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.verdict.throttling import gpu_clocks_free
from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import GpuSpec, NvidiaMachine
from harness.boards.agent_command import AgentCommand
from harness.boards.agent_file import agent_file
from harness.boards.local import LocalTransport
from harness.boards.state.board_state import BoardState
from harness.boards.state.files import AgentFiles, LocalFiles
from harness.boards.state.gpu import QUESTION, changes_of, gpus_of
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import BoardFiles
from harness.core.spec import BoardSpec, GpuSettings

JOURNAL = "/home/me/.cache/joulebench/restore.json"
LOGS = Path(__file__).parents[1] / "drivers/nvidia-smi/data"
Files = Callable[[Path], BoardFiles]
PINNED = GpuSettings(persistence=True, clocks_mhz=(1200, 1200), power_limit_w=200.0)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NvidiaMachine]:
    """An A100 and a T4 at rest, whose nvidia-smi is on the PATH."""
    if lacking := missing():
        pytest.skip(f"{lacking} is not installed")
    made = NvidiaMachine(tmp_path / "machine", [GpuSpec("a100"), GpuSpec("t4")], seed=3)
    made.state.smi_first_ms = 0
    made.advance(1.0)
    for gpu in made.gpus:
        gpu.now.settings.persistence = 0
    monkeypatch.setenv("PATH", f"{made.program.parent}:{os.environ['PATH']}")
    yield made
    made.close()


def agent_files(root: Path) -> AgentFiles:
    agent = AgentCommand(LocalTransport(), board="pi", python=sys.executable, script=str(agent_file()))
    return AgentFiles(agent, root=str(root))


@pytest.fixture(params=["direct", "agent"])
def board(request: pytest.FixtureRequest, tmp_path: Path) -> BoardState:
    """The board's state, its small files below a tree of its own."""
    files: Files = LocalFiles if request.param == "direct" else agent_files
    (tmp_path / "root").mkdir()
    return BoardState(files(tmp_path / "root"), journal_path=JOURNAL, board="gpus")


def direct(tmp_path: Path) -> BoardState:
    (tmp_path / "root").mkdir(exist_ok=True)
    return BoardState(LocalFiles(tmp_path / "root"), journal_path=JOURNAL, board="gpus")


def settings(machine: NvidiaMachine) -> list[dict[str, int]]:
    names = ("persistence", "limit_mw", "lock_min", "lock_max", "compute_mode", "app_sm")
    return [{name: int(getattr(gpu.now.settings, name)) for name in names} for gpu in machine.gpus]


def spec(**gpu: Any) -> BoardSpec:
    return BoardSpec("gpus", gpu=GpuSettings(**gpu))


def test_state_holds_what_decides_a_gpus_power(board: BoardState, machine: NvidiaMachine) -> None:
    first, second = board.read()["gpus"]
    assert (first["index"], first["uuid"], first["name"]) == (0, machine.gpus[0].uuid, "NVIDIA A100-SXM4-40GB")
    assert (first["persistence"], first["mig"], first["compute_mode"]) == ("Disabled", "Disabled", "Default")
    assert first["power_limit_w"] == 400.0
    assert second["power_limit_w"] == 70.0
    assert second["mig"] is None
    assert first["max_clocks_hz"]["graphics"] == 1_410_000_000
    assert "gpus" not in board.read()["not_available"]


def test_settings_are_made_and_put_back(board: BoardState, machine: NvidiaMachine) -> None:
    before = settings(machine)
    said = board.configure(spec(which=("0",), persistence=True, clocks_mhz=(1200, 1200), power_limit_w=250.0))
    (first, second) = settings(machine)
    assert (first["persistence"], first["lock_min"], first["lock_max"], first["limit_mw"]) == (1, 1200, 1200, 250_000)
    assert second == before[1]
    assert said["gpu"]["clocks_locked"] is True
    assert said["gpu"]["gpus"][0]["power_limit_w"] == 250.0
    uuid = machine.gpus[0].uuid
    assert said["gpu"]["set"] == {f"persistence {uuid}": "1", f"power_limit_w {uuid}": "250.00",
                                  f"clocks_mhz {uuid}": "1200,1200"}  # fmt: skip
    assert len(board.restore()) == 3
    assert settings(machine) == before
    assert board.restore() == ()


def test_a_crash_leaves_a_journal_that_the_next_run_obeys(machine: NvidiaMachine, tmp_path: Path) -> None:
    """The clock is locked and the harness dies: another one, which knows nothing of it, puts all back."""
    before = settings(machine)
    direct(tmp_path).configure(spec(which=("1",), persistence=True, clocks_mhz=(900, 900), compute_mode="Prohibited"))
    assert settings(machine) != before
    record = json.loads((tmp_path / "root" / JOURNAL[1:]).read_text())
    assert [change["before"] for change in record["changes"]] == ["0", "Default", "default"]  # undone from the end
    assert len(direct(tmp_path).restore()) == 3
    assert settings(machine) == before


def test_what_is_refused_halfway_is_put_back(machine: NvidiaMachine, tmp_path: Path) -> None:
    """The limit is beyond what the board takes; persistence was set by then."""
    before = settings(machine)
    with pytest.raises(
        DeviceError, match=r"power_limit_w of GPU-.* cannot be set to '9000\.00'.*not a valid power limit"
    ):
        direct(tmp_path).configure(spec(which=("0",), persistence=True, power_limit_w=9000.0))
    assert settings(machine) == before
    assert not (tmp_path / "root" / JOURNAL[1:]).exists()


def test_a_warning_with_exit_status_0_is_no_success(machine: NvidiaMachine, tmp_path: Path) -> None:
    machine.gpus[0].fail("settings", 3)
    with pytest.raises(DeviceError, match="is not supported for GPU"):
        direct(tmp_path).configure(spec(which=("0",), clocks_mhz=(900, 900)))


def test_without_permission_the_mend_is_what_to_type(machine: NvidiaMachine, tmp_path: Path) -> None:
    machine.gpus[1].fail("settings", 4)
    with pytest.raises(DeviceError, match="does not have permission") as caught:
        direct(tmp_path).configure(spec(which=("1",), clocks_mhz=(900, 900)))
    assert f"nvidia-smi -i {machine.gpus[1].uuid} -lgc 900,900" in caught.value.hint
    assert "sudoers.d" in caught.value.hint


def test_what_a_gpu_does_not_offer_is_a_spec_error(machine: NvidiaMachine, tmp_path: Path) -> None:
    state = direct(tmp_path)
    with pytest.raises(SpecError, match="has no GPU '7'") as caught:
        state.configure(spec(which=("7",), persistence=True))
    assert machine.gpus[0].uuid in caught.value.hint
    with pytest.raises(DeviceError, match=r"MIG mode of .* is Disabled, its file says enabled") as mig:
        state.configure(spec(which=("0",), mig=True))
    assert "-mig 1" in mig.value.hint
    machine.gpus[0].fail("limits", 3)
    with pytest.raises(SpecError, match="does not offer power_limit_w"):
        state.configure(spec(which=("0",), power_limit_w=200.0))


def test_a_lock_that_the_driver_may_forget_and_another_gpus_are_no_lock(machine: NvidiaMachine, tmp_path: Path) -> None:
    state = direct(tmp_path)

    def free(channel: str, **gpu: Any) -> bool:
        told = {"before": state.read(), "configured": state.configure(spec(clocks_mhz=(900, 900), **gpu))}
        return gpu_clocks_free(told, channel)

    assert free("gpu0/power")  # its persistence mode is off
    assert not free("gpu0/power", persistence=True)
    assert free("gpu1/power", persistence=True, which=("0",))
    assert not free("wall", persistence=True, which=("0",))
    state.restore()


@pytest.mark.parametrize("node", ["mem_clock", "graphics_clock"])
def test_half_a_pair_of_clocks_cannot_be_put_back_and_is_not_changed(node: str) -> None:
    kinds = {"graphics_clock": "1410 MHz", "mem_clock": "1215 MHz", node: "N/A"}
    clocks = "".join(f"<{name}>{value}</{name}>" for name, value in kinds.items())
    log = f"<nvidia_smi_log><gpu id='0'><uuid>GPU-a</uuid><applications_clocks>{clocks}</applications_clocks></gpu>"
    with pytest.raises(SpecError, match="does not offer applications_clocks_mhz"):
        changes_of(spec(applications_clocks_mhz=(1215, 1000)), {QUESTION: f"{log}</nvidia_smi_log>".encode()})


def test_a_gpu_that_is_gone_does_not_keep_the_others_from_being_put_back(
    machine: NvidiaMachine, tmp_path: Path
) -> None:
    before = settings(machine)
    direct(tmp_path).configure(spec(persistence=True, clocks_mhz=(900, 900)))
    machine.gpus[1].fail("settings", 15)
    with pytest.raises(DeviceError, match=machine.gpus[1].uuid):
        direct(tmp_path).restore()
    assert settings(machine)[0] == before[0]
    machine.gpus[1].mend("settings")
    direct(tmp_path).restore()  # the journal was kept
    assert settings(machine) == before


def test_check_says_what_is_found_and_what_to_type(machine: NvidiaMachine, tmp_path: Path) -> None:
    found = {item.name: item for item in direct(tmp_path).check(None)}
    assert "persistence Disabled, limit 400 W" in found["gpu 0"].found
    assert "persistence: true" in found["gpu 0"].mend
    wrong = [item for item in direct(tmp_path).check(spec(which=("3",), persistence=True)) if item.name == "gpu"]
    assert [(item.ok, item.found) for item in wrong] == [(False, "board gpus has no GPU '3'")]
    locked = [i for i in direct(tmp_path).check(BoardSpec("gpus", gpu=PINNED)) if i.name == "gpu 1"]
    assert [(item.ok, item.mend) for item in locked] == [(True, "")]


def test_a_machine_without_a_driver_says_so(machine: NvidiaMachine, tmp_path: Path) -> None:
    machine.state.init_ret = 18
    state = direct(tmp_path)
    assert state.read()["gpus"] is None
    (item,) = [item for item in state.check(None) if item.name == "gpu"]
    assert item.found == "Failed to initialize NVML: Driver/library version mismatch"
    with pytest.raises(SpecError, match="Driver/library version mismatch"):
        state.configure(spec(persistence=True))


@pytest.mark.parametrize(
    ("name", "limit_w", "persistence"),
    [
        ("rtx-3080-v12-536.40", 336.0, None),
        ("rtx-3080-v13-595.58.03", 320.0, "Disabled"),
        ("tesla-t4-v11-515.105.01", 70.0, "Disabled"),
        ("a10g-v11-515.105.01", 300.0, "Disabled"),
        ("quadro-p400-418.43", None, "Disabled"),
        ("gtx-1070-ti-v10", None, None),
    ],
)
def test_real_logs_of_three_schemas(name: str, limit_w: float | None, persistence: str | None) -> None:
    """Excerpts of captures: what a log does not say is None, never 0 and never "Disabled"."""
    (gpu,) = gpus_of({QUESTION: (LOGS / f"{name}.xml").read_bytes()}) or []
    assert (gpu["power_limit_w"], gpu["persistence"], gpu["mig"]) == (limit_w, persistence, None)
