"""The agent is one file that an old board can run: Python 3.6, standard library until a model is loaded."""

from __future__ import annotations

import ast
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.boards.remote_agent import AGENT_FILE
from harness.core.ports import Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import Phase


def test_vermin_finds_nothing_newer_than_python_36() -> None:
    vermin = Path(sys.executable).with_name("vermin")
    if not vermin.exists():
        pytest.skip("vermin is not installed")
    done = subprocess.run(
        [vermin, "-t=3.6-", "--no-tips", AGENT_FILE], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout


def test_only_the_standard_library_is_imported_before_a_model_is_loaded() -> None:
    tree = ast.parse(AGENT_FILE.read_text(encoding="utf-8"))
    names = {a.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert names <= sys.stdlib_module_names


def test_no_other_file_of_ours_is_imported() -> None:
    for node in ast.walk(ast.parse(AGENT_FILE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not str(node.module).startswith(("harness", "drivers", "analysis"))


def python_36() -> str:
    found = shutil.which("python3.6") or str(Path.home() / ".pyenv/versions/3.6.15/bin/python3.6")
    try:
        done = subprocess.run([found, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, timeout=20)
    except OSError:
        done = None
    if done is None or done.returncode != 0:
        found = str(Path.home() / ".pyenv/versions/3.6.15/bin/python3.6")
    if not Path(found).exists():
        pytest.skip("python3.6 is not installed")
    return found


def test_a_real_python_36_runs_a_program(board, make_spec, tmp_path: Path) -> None:
    """Everything but ONNX Runtime, which an old board may lack: the command runtime needs the standard library only."""
    script = tmp_path / "worker.sh"
    script.write_text('i=0; while [ $i -lt "$1" ]; do echo start; sleep 0.004; echo stop; i=$((i+1)); done\n')
    runtime = RuntimeSpec("command", command=("sh", str(script), "{n}"))
    spec = make_spec(runtime=runtime)
    spec = dataclasses.replace(spec, board=dataclasses.replace(spec.board, python=python_36()))
    session = board.start_agent(spec, 0)
    assert str(session.hello()["python"]).startswith("3.6.")
    assert session.ping(3).shape == (3, 3)
    session.load(spec, 0)
    timeline = session.perform(
        [Step("marker", Phase.MARKER, bits="101", chip_s=0.01), Step("infer", Phase.MEASURED, count=5)], 0, seed=1
    )
    assert timeline.n == 5
    assert len(timeline.rows(Phase.MARKER)[0]) == 2
    session.close()


def test_a_board_without_the_runtime_says_what_to_install(board, make_spec) -> None:
    from harness.core.errors import DeviceError

    spec = make_spec()
    spec = dataclasses.replace(spec, board=dataclasses.replace(spec.board, python=python_36()))
    session = board.start_agent(spec, 0)
    with pytest.raises(DeviceError, match="onnxruntime") as caught:
        session.load(spec, 0)
    assert "-m pip install onnxruntime" in caught.value.hint
    session.close()
