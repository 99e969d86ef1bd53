"""The section `gpu` of a board's file: what it becomes, and what it may not say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.config.bench import load_board
from harness.config.profiles import PROFILES
from harness.core.errors import SpecError
from harness.core.spec import BoardSpec, GpuSettings, MeterBinding, ModelSpec, RunSpec, RuntimeSpec


def board(tmp_path: Path, gpu: str) -> BoardSpec:
    path = tmp_path / "station.yaml"
    path.write_text(f"transport: local\n{gpu}", "utf-8")
    return load_board(path, [tmp_path])


def test_what_is_left_out_stays_as_found(tmp_path: Path) -> None:
    assert board(tmp_path, "").gpu is None
    section = "gpu: {which: [0, GPU-1234], persistence: true, clocks_mhz: [1200, 1410]}\n"
    assert board(tmp_path, section).gpu == GpuSettings(("0", "GPU-1234"), persistence=True, clocks_mhz=(1200, 1410))


def test_a_run_carries_it_and_older_runs_keep_their_identity(tmp_path: Path) -> None:
    def run(gpu: GpuSettings | None) -> RunSpec:
        return RunSpec(
            "c", "b", BoardSpec("station", gpu=gpu), (MeterBinding("m", "rapl", (), "dc_input", ()),),
            ModelSpec("net", "file:net.onnx", "0" * 64, 1), RuntimeSpec("onnxruntime"), PROFILES["quick"], 0, 1, True,
        )  # fmt: skip

    pinned = GpuSettings(("0",), persistence=True, clocks_mhz=(1200, 1200), mig=False)
    assert RunSpec.from_json(json.loads(run(pinned).canonical())) == run(pinned)
    assert "gpu" not in run(None).to_json()["board"]
    assert run(None).run_id != run(pinned).run_id


@pytest.mark.parametrize(("clocks", "locked"), [("[1200, 1200]", True), ("[900, 1200]", False)])
def test_only_one_frequency_is_a_lock(tmp_path: Path, clocks: str, *, locked: bool) -> None:
    found = board(tmp_path, f"gpu: {{clocks_mhz: {clocks}}}\n").gpu
    assert found is not None
    assert found.locked is locked


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{clocks_mhz: [1410, 1200]}", "the least clock comes first"),
        ("{clocks_mhz: 1200}", "clocks_mhz"),
        ("{clock_mhz: [1200, 1200]}", "clock_mhz"),
        ("{power_limit_w: 0}", "power_limit_w"),
        ("{compute_mode: Exclusive}", "compute_mode"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, section: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        board(tmp_path, f"gpu: {section}\n")
    assert "station.yaml:2" in str(caught.value)
